import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.temporal.client.ActivityCompletionClient;
import io.temporal.client.WorkflowClient;
import io.temporal.client.WorkflowClientOptions;
import io.temporal.common.converter.CodecDataConverter;
import io.temporal.common.converter.DefaultDataConverter;
import io.temporal.failure.ApplicationErrorCategory;
import io.temporal.failure.ApplicationFailure;
import io.temporal.serviceclient.Version;
import io.temporal.serviceclient.WorkflowServiceStubs;
import io.temporal.serviceclient.WorkflowServiceStubsOptions;
import io.temporal.worker.WorkerFactory;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** A worker of the Java SDK whose activities are finished by someone else; see ../../../../README.md. */
public class SdkWorker {
  private static final ObjectMapper JSON = new ObjectMapper();

  /** Values as a user of Java has them. */
  private static Object value(String name) {
    switch (name) {
      case "string":
        return "straße \"1\" 中\n\t<&>";
      case "number":
        return 12.5;
      case "integer":
        return 42;
      case "big number":
        return 9007199254740993L;
      case "object":
        return Map.of(
            "sku", 17, "missing", List.of(1, 2), "deep", Collections.singletonMap("er", null));
      case "bytes":
        return new byte[] {0, (byte) 255, 16};
      case "class":
        Results.Order order = new Results.Order();
        order.id = 7;
        order.item = "a book";
        order.approved = true;
        return order;
      case "encrypted":
        return "secret";
    }
    return null;
  }

  private static ApplicationFailure failure(String name) {
    ApplicationFailure.Builder failure = ApplicationFailure.newBuilder().setMessage("no more stock, señor");
    if (name.equals("message")) {
      // without a type it cannot be sent
      return failure.setType("").build();
    }
    if (name.equals("causes")) {
      ApplicationFailure cut =
          ApplicationFailure.newBuilder().setMessage("the cable is cut").setType("Broken").build();
      ApplicationFailure silent =
          ApplicationFailure.newBuilder()
              .setMessage("no answer from shelf 7 中")
              .setType("Timeout")
              .setDetails(Map.of("after", List.of(5, "s")))
              .setNonRetryable(true)
              .setCause(cut)
              .build();
      return failure.setType("OutOfStock").setCause(silent).build();
    }
    if (!name.equals("none")) {
      failure.setDetails(new Object[] {value(name)});
    }
    return failure
        .setType("OutOfStock")
        .setNonRetryable(true)
        .setNextRetryDelay(Duration.ofSeconds(90))
        .setCategory(ApplicationErrorCategory.BENIGN)
        .build();
  }

  /** Do what a command says by the SDK's own client. */
  private static void carryOut(ActivityCompletionClient client, JsonNode command) throws Exception {
    String name = command.get("value").asText();
    Object value = value(name);
    if (command.has("token")) {
      byte[] token = command.get("token").binaryValue();
      switch (command.get("verb").asText()) {
        case "complete" -> client.complete(token, value);
        case "cancel" -> client.reportCancellation(token, value);
        case "heartbeat" -> client.heartbeat(token, value);
        default -> client.completeExceptionally(token, failure(name));
      }
      return;
    }
    String workflow = command.get("workflow_id").asText();
    String activity = command.get("activity_id").asText();
    switch (command.get("verb").asText()) {
      case "complete" -> client.complete(workflow, Optional.empty(), activity, value);
      case "cancel" -> client.reportCancellation(workflow, Optional.empty(), activity, value);
      case "heartbeat" -> client.heartbeat(workflow, Optional.empty(), activity, value);
      default -> client.completeExceptionally(workflow, Optional.empty(), activity, failure(name));
    }
  }

  private static WorkflowClient client(WorkflowServiceStubs service, boolean encrypting) {
    return WorkflowClient.newInstance(
        service,
        WorkflowClientOptions.newBuilder()
            .setDataConverter(
                new CodecDataConverter(DefaultDataConverter.newDefaultInstance(), List.of(new Codec(encrypting))))
            .build());
  }

  public static void main(String[] arguments) throws Exception {
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    WorkflowServiceStubs service =
        WorkflowServiceStubs.newServiceStubs(
            WorkflowServiceStubsOptions.newBuilder().setTarget(System.getenv("TEMPORAL_ADDRESS")).build());
    WorkflowClient client = client(service, false);
    WorkflowClient encrypting = client(service, true);
    WorkerFactory factory = WorkerFactory.newInstance(client);
    io.temporal.worker.Worker worker = factory.newWorker(System.getenv("TASK_QUEUE"));
    worker.registerWorkflowImplementationTypes(Wait.Flow.class);
    worker.registerActivitiesImplementations(
        new Activities.Implementation(
            "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/"
                + System.getenv("PGDATABASE") + "?user=" + System.getenv("PGUSER")));
    factory.start();
    out.println(JSON.writeValueAsString(Map.of("ok", "ready", "version", Version.LIBRARY_VERSION)));

    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      JsonNode command = JSON.readTree(line);
      boolean secret = command.get("value").asText().equals("encrypted");
      try {
        carryOut((secret ? encrypting : client).newActivityCompletionClient(), command);
        out.println(JSON.writeValueAsString(Map.of("ok", "done")));
      } catch (Exception e) {
        out.println(JSON.writeValueAsString(Map.of("error", e.toString())));
      }
    }
    System.exit(0);
  }
}
