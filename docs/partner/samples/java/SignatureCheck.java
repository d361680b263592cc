package example.inventory;

import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Clock;
import java.time.Duration;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * Tells whether a webhook came from us: the signature of Standard Webhooks, over the body's bytes.
 *
 * <p>Copy this file as it is; the receiver of the JDK and the Spring controller both use it. Safe
 * for use by several threads.
 */
public final class SignatureCheck {

  /** How far a webhook's time may be from our clock. An older one may be a recording. */
  public static final Duration TOLERANCE = Duration.ofMinutes(5);

  private static final String SECRET_PREFIX = "whsec_";
  private static final String SECRET_RULE =
      "a webhook secret is whsec_ and base64 of 24 to 64 bytes,"
          + " or other text of 16 to 128 characters";
  private static final String SIGNATURE_PREFIX = "v1,";

  private final Clock clock;
  private final List<SecretKeySpec> keys;

  /** The webhook is not genuine: answer 401 and believe nothing in it. */
  public static final class RefusedException extends Exception {
    RefusedException(String reason) {
      super(reason);
    }
  }

  /**
   * Takes the secrets that are valid: one, or two while you change from one to the other.
   *
   * @throws IllegalArgumentException if there is none, or one is empty or too short: anybody could
   *     sign with it
   */
  public SignatureCheck(Clock clock, String... secrets) {
    if (secrets.length == 0) {
      throw new IllegalArgumentException(SECRET_RULE);
    }
    this.clock = clock;
    this.keys = Arrays.stream(secrets).map(SignatureCheck::keyOf).toList();
  }

  /**
   * Returns if the webhook is genuine.
   *
   * @param id the header webhook-id, or null
   * @param timestamp the header webhook-timestamp, or null
   * @param signatures the header webhook-signature, or null
   * @param body the bytes as they came; never a text that was read and written again
   */
  public void check(String id, String timestamp, String signatures, byte[] body)
      throws RefusedException {
    if (id == null || timestamp == null || signatures == null) {
      throw new RefusedException("a header of the signature is missing");
    }
    if (!timestamp.matches("[0-9]{1,12}")) {
      throw new RefusedException("webhook-timestamp is not a number");
    }
    long age = clock.instant().getEpochSecond() - Long.parseLong(timestamp);
    if (Math.abs(age) > TOLERANCE.toSeconds()) {
      throw new RefusedException("webhook-timestamp is " + age + " s old");
    }
    if (!matches(id + "." + timestamp + ".", signatures, body)) {
      throw new RefusedException("no signature matches");
    }
  }

  /** While a secret is rotated there are two signatures: one that matches is enough. */
  private boolean matches(String prefix, String signatures, byte[] body) {
    boolean found = false;
    for (SecretKeySpec key : keys) {
      byte[] ours = utf8(SIGNATURE_PREFIX + base64(hmac(key, utf8(prefix), body)));
      for (String theirs : signatures.split(" ")) {
        found |= MessageDigest.isEqual(ours, utf8(theirs)); // in constant time
      }
    }
    return found;
  }

  private static byte[] hmac(SecretKeySpec key, byte[] prefix, byte[] body) {
    try {
      Mac mac = Mac.getInstance("HmacSHA256");
      mac.init(key);
      mac.update(prefix);
      return mac.doFinal(body);
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException(e); // every Java has HmacSHA256
    }
  }

  private static SecretKeySpec keyOf(String secret) {
    boolean encoded = secret.startsWith(SECRET_PREFIX);
    byte[] key = encoded ? decoded(secret.substring(SECRET_PREFIX.length())) : utf8(secret);
    int length = encoded ? key.length : secret.codePointCount(0, secret.length());
    if (length < (encoded ? 24 : 16) || length > (encoded ? 64 : 128)) {
      throw new IllegalArgumentException(SECRET_RULE);
    }
    return new SecretKeySpec(key, "HmacSHA256");
  }

  private static byte[] decoded(String base64) {
    try {
      return Base64.getDecoder().decode(base64);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(SECRET_RULE, e);
    }
  }

  private static String base64(byte[] bytes) {
    return Base64.getEncoder().encodeToString(bytes);
  }

  private static byte[] utf8(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }
}
