// The window in a real host: run by `hms test`, which says where it is.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { after, before, test } from "node:test";

const calls = [];
const service = createServer((request, response) => {
  calls.push(request.url);
  if (request.url.endsWith("/CHF")) return response.end('{"rate": 0.94}');
  response.statusCode = request.url.endsWith("/XXX") ? 404 : 500;
  response.end("the database is on fire");
});
const get = (currency) =>
  fetch(`${process.env.HMS_URL}/{{name}}-tested${currency && `/${currency}`}`, {
    headers: { authorization: `Bearer ${process.env.HMS_TOKEN}` },
  });

const admin = async (path, body) => {
  const headers = { authorization: `Bearer ${process.env.HMS_ADMIN_TOKEN}` };
  const made = await fetch(`http://${process.env.HMS_ADMIN}${path}`, { method: "PUT", headers, body });
  assert.ok(made.ok, await made.text());
};

// The same window under another name, with grants of the tests' own: for a service of theirs.
before(async () => {
  await new Promise((done) => service.listen(0, "127.0.0.1", done));
  const url = `http://127.0.0.1:${service.address().port}`;
  await admin(
    "/windows/{{name}}-tested?yes=true",
    await readFile(new URL("../dist/{{name}}.wasm", import.meta.url)),
  );
  await admin(
    "/windows/{{name}}-tested/grants?yes=true",
    `outbound:
  - to: ${url}
    methods: [GET]
    private: [127.0.0.0/8]
config:
  rates-url: ${url}
`,
  );
  await admin(
    "/routes/{{name}}-tested",
    "uri: /{{name}}-tested/**\nupstream: http://hms-svc-{{name}}-tested\nplugins:\n  - auth\n",
  );
});
after(() => service.close());

test("rate is asked for once and kept", async () => {
  for (const _ of [1, 2]) {
    const answer = await get("CHF");
    assert.equal(answer.status, 200);
    assert.equal((await answer.json()).rate, 0.94);
  }
  const { rates } = await (await get("")).json();
  assert.deepEqual(rates.map(({ currency }) => currency), ["CHF"]);
  assert.deepEqual(calls.filter((path) => path.endsWith("/CHF")), ["/v1/rates/CHF"]);
});

test("what the service does not know is not found, and what it fails at a 502", async () => {
  assert.equal((await get("XXX")).status, 404);
  const failed = await get("EUR");
  assert.equal(failed.status, 502);
  assert.doesNotMatch(await failed.text(), /fire/);
});

test("what is no currency is refused", async () => {
  for (const currency of ["chf", "CH"]) assert.equal((await get(currency)).status, 400);
});
