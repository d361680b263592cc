// Lints an OpenAPI document with Redocly's linter and redocly.yaml.
// argument: the document's path; stdout: [{rule, severity, place, message}].
import { fileURLToPath } from "node:url";
import { lint, loadConfig } from "@redocly/openapi-core";

const configPath = fileURLToPath(new URL("redocly.yaml", import.meta.url));
const problems = await lint({ ref: process.argv[2], config: await loadConfig({ configPath }) });
const told = problems.map(({ ruleId, severity, location, message }) => ({
  rule: ruleId,
  severity,
  place: location[0]?.pointer ?? "",
  message,
}));
process.stdout.write(JSON.stringify(told));
