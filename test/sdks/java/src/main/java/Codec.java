import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import io.temporal.api.common.v1.Payload;
import io.temporal.common.converter.DataConverterException;
import io.temporal.payload.codec.PayloadCodec;
import java.util.List;
import java.util.stream.Collectors;

/** Reads what is encrypted, and encrypts if it is told to. It is no cipher worth the name. */
class Codec implements PayloadCodec {
  private static final ByteString ENCRYPTED = ByteString.copyFromUtf8("binary/encrypted");
  private final boolean encrypting;

  Codec(boolean encrypting) {
    this.encrypting = encrypting;
  }

  private static byte[] veil(byte[] data) {
    byte[] veiled = new byte[data.length];
    for (int i = 0; i < data.length; i++) {
      veiled[i] = (byte) (data[i] ^ 0x5a);
    }
    return veiled;
  }

  @Override
  public List<Payload> encode(List<Payload> payloads) {
    return encrypting ? payloads.stream().map(Codec::encrypt).collect(Collectors.toList()) : payloads;
  }

  private static Payload encrypt(Payload p) {
    return Payload.newBuilder()
        .putMetadata("encoding", ENCRYPTED)
        .putMetadata("encryption-key-id", ByteString.copyFromUtf8("k1"))
        .setData(ByteString.copyFrom(veil(p.toByteArray())))
        .build();
  }

  @Override
  public List<Payload> decode(List<Payload> payloads) {
    return payloads.stream().map(Codec::decrypt).collect(Collectors.toList());
  }

  private static Payload decrypt(Payload p) {
    if (!ENCRYPTED.equals(p.getMetadataMap().get("encoding"))) {
      return p;
    }
    try {
      return Payload.parseFrom(veil(p.getData().toByteArray()));
    } catch (InvalidProtocolBufferException e) {
      throw new DataConverterException(e);
    }
  }
}
