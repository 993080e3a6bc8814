import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.OffsetDateTime;
import java.util.Map;

/** The types that the workflow asks for. */
public class Results {
  public static class Order {
    public long id;
    public String item;
    public boolean approved;
  }

  public static class OptionalItem {
    public long id;
    public String item;
  }

  public static class Named {
    public String customerName;
  }

  public static class Priced {
    public double price;
  }

  public static class Timed {
    public OffsetDateTime at;
  }

  public static class Local {
    public LocalDateTime at;
  }

  public static class Dated {
    public LocalDate at;
  }

  public static class Blob {
    public byte[] data;
  }

  static final Map<String, Class<?>> TYPES =
      Map.ofEntries(
          Map.entry("any", Object.class),
          Map.entry("string", String.class),
          Map.entry("integer", Long.class),
          Map.entry("float", Double.class),
          Map.entry("bytes", byte[].class),
          Map.entry("order", Order.class),
          Map.entry("optional", OptionalItem.class),
          Map.entry("named", Named.class),
          Map.entry("priced", Priced.class),
          Map.entry("timestamp", Timed.class),
          Map.entry("local", Local.class),
          Map.entry("date", Dated.class),
          Map.entry("blob", Blob.class));

  /** A value as JSON has it. */
  static Object shown(Object v) {
    return v instanceof byte[] ? Map.of("base64", v) : v;
  }
}
