// Opens a page in an installed Chromium and tells what a visitor and the network saw of it.
// arguments: the browser's path, the address, a text to wait for, a selector to click then or "",
// a text to wait for after that, a file for a screenshot or "".
// stdout: {text, errors: [console errors and exceptions], requests: [urls], refused: ["status url"],
//   drawings: [{width, height, lines: [[x from, x to] of each line of two points and more], words}]}.
import { chromium } from "playwright-core";

const WITHIN = 20_000; // milliseconds for each step; it takes a second
const [executablePath, address, awaited, clicked, shown, screenshot] = process.argv.slice(2);
// Chromium has no sandbox for root, which CI is; the pages are our own.
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const found = { text: "", errors: [], requests: [], refused: [], drawings: [] };
try {
  const page = await browser.newPage({ viewport: { width: 1200, height: 1600 } });
  page.setDefaultTimeout(WITHIN);
  page.on("console", (message) => {
    if (message.type() === "error") found.errors.push(message.text());
  });
  page.on("pageerror", (error) => found.errors.push(String(error)));
  page.on("request", (request) => found.requests.push(request.url()));
  page.on("requestfailed", (request) =>
    found.refused.push(`${request.failure()?.errorText} ${request.url()}`),
  );
  page.on("response", (response) => {
    if (response.status() >= 400) found.refused.push(`${response.status()} ${response.url()}`);
  });
  const sees = (text) =>
    page.waitForFunction((wanted) => document.body.innerText.includes(wanted), text);
  await page.goto(address, { waitUntil: "networkidle", timeout: WITHIN });
  await sees(awaited);
  if (clicked) {
    await page.locator(clicked).first().click();
    await sees(shown);
  }
  found.text = await page.evaluate(() => document.body.innerText);
  found.drawings = await page.evaluate(() =>
    [...document.querySelectorAll("svg")].map((svg) => {
      const { width, height } = svg.getBoundingClientRect();
      const lines = [...svg.querySelectorAll("polyline")]
        .filter((line) => line.points.numberOfItems > 1 && getComputedStyle(line).stroke !== "none")
        .map((line) => line.getBoundingClientRect())
        .map(({ left, right }) => [left, right]);
      const words = [...svg.querySelectorAll("text")].map((text) => text.textContent);
      return { width, height, lines, words };
    }),
  );
  if (screenshot) await page.screenshot({ path: screenshot, fullPage: true });
} catch (error) {
  found.errors.push(String(error));
} finally {
  await browser.close();
}
process.stdout.write(JSON.stringify(found));
