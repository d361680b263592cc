package example.inventory;

import java.nio.charset.StandardCharsets;
import java.time.Clock;
import java.time.Instant;
import java.time.ZoneOffset;

/** Holds SignatureCheck against messages: now, secret, id, timestamp, signatures, body, and so on. */
final class SignatureVectors {
  private static final int FIELDS = 6;

  /** Prints a line for each message: "genuine", or why it was refused. */
  public static void main(String[] given) {
    for (int at = 0; at < given.length; at += FIELDS) {
      Instant now = Instant.ofEpochSecond(Long.parseLong(given[at]));
      var check = new SignatureCheck(Clock.fixed(now, ZoneOffset.UTC), given[at + 1]);
      byte[] body = given[at + 5].getBytes(StandardCharsets.UTF_8);
      try {
        check.check(given[at + 2], given[at + 3], given[at + 4], body);
        System.out.println("genuine");
      } catch (SignatureCheck.RefusedException e) {
        System.out.println(e.getMessage());
      }
    }
  }
}
