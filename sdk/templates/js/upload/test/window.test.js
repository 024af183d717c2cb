// The window in a real host: run by `hms test`, which says where it is.
import assert from "node:assert/strict";
import { test } from "node:test";

const url = `${process.env.HMS_URL}/{{name}}`;
const authorization = `Bearer ${process.env.HMS_TOKEN}`;
const upload = (body, type) => fetch(url, { method: "POST", headers: { authorization, "content-type": type }, body });
const get = (location) => fetch(new URL(location, url), { headers: { authorization } });

test("file comes back as it was sent", async () => {
  const sent = Uint8Array.from({ length: 3_000_000 }, (_, at) => at % 251);
  const made = await upload(sent, "image/png");
  assert.equal(made.status, 201);
  assert.equal((await made.json()).bytes, sent.length);
  const got = await get(made.headers.get("location"));
  assert.equal(got.headers.get("content-type"), "image/png");
  assert.equal(got.headers.get("content-length"), "3000000");
  assert.ok(Buffer.from(await got.arrayBuffer()).equals(Buffer.from(sent)));
  const { files } = await (await get(url)).json();
  assert.deepEqual(files.at(-1).bytes, sent.length);
});

test("empty file is a file", async () => {
  const made = await upload("", "text/plain");
  const got = await get(made.headers.get("location"));
  assert.deepEqual([got.status, await got.text()], [200, ""]);
});

test("unknown file is not found, and other methods are refused", async () => {
  assert.equal((await get(`${url}/none`)).status, 404);
  assert.equal((await fetch(url, { method: "DELETE", headers: { authorization } })).status, 405);
});
