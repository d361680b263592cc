// Verifies messages with the JavaScript reference library of Standard Webhooks.
// stdin: [{secret, body, headers}], stdout: [null where it verifies, otherwise the error's message].
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";

const answers = JSON.parse(readFileSync(0, "utf8")).map(({ secret, body, headers }) => {
  try {
    new Webhook(secret).verify(body, headers);
    return null;
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
});
process.stdout.write(JSON.stringify(answers));
