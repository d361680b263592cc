import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

/** Sends a body of known length, a chunked one and a DELETE; prints the status of each. */
class UpgradingClient {
  public static void main(String[] arguments) throws Exception {
    var json = HttpRequest.newBuilder(URI.create(arguments[0] + "/bodies"))
        .header("Content-Type", "application/json");
    var chunks = new ByteArrayInputStream("{\"chunked\":1}".getBytes());
    send(json.copy().POST(BodyPublishers.ofString("{\"fixed\":1}")).build());
    send(json.copy().POST(BodyPublishers.ofInputStream(() -> chunks)).build());
    send(HttpRequest.newBuilder(URI.create(arguments[0] + "/things")).DELETE().build());
  }

  /** Sends on a connection of its own, whose first request asks for an upgrade to h2c. */
  private static void send(HttpRequest request) throws Exception {
    System.out.println(
        HttpClient.newHttpClient().send(request, BodyHandlers.ofString()).statusCode());
  }
}
