// The window in a real host: run by `hms test`, which says where it is.
import assert from "node:assert/strict";
import { test } from "node:test";

const url = `${process.env.HMS_URL}/{{name}}`;

test("greets whoever is named", async () => {
  assert.equal(await (await fetch(url)).text(), "hello from {{name}}\n");
  assert.equal(await (await fetch(`${url}?name=alice`)).text(), "hello alice\n");
});

test("tells the time", async () => {
  const { milliseconds } = await (await fetch(`${url}/time`)).json();
  assert.ok(Math.abs(milliseconds - Date.now()) < 60_000);
});

test("other methods and paths are refused", async () => {
  const refused = await fetch(url, { method: "POST", body: "hello" });
  assert.deepEqual([refused.status, refused.headers.get("allow")], [405, "GET, HEAD"]);
  const { type } = await (await fetch(`${url}/other`)).json();
  assert.equal(type, "urn:hms:problem:not-found");
});
