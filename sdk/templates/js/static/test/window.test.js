// The window in a real host: run by `hms test`, which says where it is.
import assert from "node:assert/strict";
import { test } from "node:test";

const get = (path, headers = {}) => fetch(process.env.HMS_URL + path, { headers });

test("page comes with its policy and is not sent twice", async () => {
  const page = await get("/");
  assert.equal(page.headers.get("content-type"), "text/html; charset=utf-8");
  assert.match(await page.text(), /<h1>{{name}}<\/h1>/);
  assert.match(page.headers.get("content-security-policy"), /default-src 'self'/);
  assert.equal((await get("/", { "if-none-match": page.headers.get("etag") })).status, 304);
});

test("files are compressed when the client accepts it", async () => {
  const style = await get("/assets/style.css", { "accept-encoding": "br" });
  assert.equal(style.headers.get("content-encoding"), "br");
  const part = await get("/assets/style.css", { range: "bytes=0-3" });
  assert.deepEqual([part.status, (await part.arrayBuffer()).byteLength], [206, 4]);
});

test("other paths are not found", async () => {
  const missing = await get("/none");
  assert.equal(missing.status, 404);
  assert.match(await missing.text(), /There is no page here/);
  assert.equal((await fetch(`${process.env.HMS_URL}/`, { method: "POST", body: "x" })).status, 405);
});
