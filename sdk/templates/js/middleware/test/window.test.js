// The window in a real host: run by `hms test`, which says where it is.
import assert from "node:assert/strict";
import { createServer, request } from "node:http";
import { after, before, test } from "node:test";

const calls = [];
const service = createServer(async (request, response) => {
  let body = "";
  for await (const chunk of request) body += chunk;
  calls.push({ method: request.method, body });
  response.end(`${request.method} ${request.url}`);
});
const desks = (method, headers = {}, body) =>
  fetch(`${process.env.HMS_URL}/in-front/7`, {
    method,
    headers: { authorization: `Bearer ${process.env.HMS_TOKEN}`, ...headers },
    body,
  });

// A route of the tests: through the middleware to a service of theirs.
before(async () => {
  await new Promise((done) => service.listen(0, "127.0.0.1", done));
  const route = `uri: /in-front/**
upstream: http://127.0.0.1:${service.address().port}
plugins:
  - auth
  - wasm: {window: {{name}}}
`;
  const made = await fetch(`http://${process.env.HMS_ADMIN}/routes/in-front`, {
    method: "PUT",
    headers: { authorization: `Bearer ${process.env.HMS_ADMIN_TOKEN}` },
    body: route,
  });
  assert.ok(made.ok, await made.text());
});
after(() => service.close());

test("change is passed on, and kept under an id", async () => {
  const answer = await desks("PUT", {}, "oak");
  assert.deepEqual([answer.status, await answer.text()], [200, "PUT /in-front/7"]);
  assert.equal(calls.at(-1).body, "oak");
  assert.match(answer.headers.get("x-change"), /^[0-9a-f-]{36}$/);
});

test("deletion without a reason is not passed on", async () => {
  const before = calls.length;
  assert.equal((await desks("DELETE")).status, 400);
  assert.equal(calls.length, before);
  assert.equal((await desks("DELETE", { "x-reason": "woodworm" })).status, 200);
});

test("reads pass and are not kept", async () => {
  const answer = await desks("GET");
  assert.deepEqual([answer.status, answer.headers.get("x-change")], [200, null]);
});

test("read with a body is passed on whole", async () => {
  // By hand: fetch sends no body with a GET.
  const headers = { authorization: `Bearer ${process.env.HMS_TOKEN}`, "content-length": "3" };
  const status = await new Promise((done, failed) => {
    const asked = request(`${process.env.HMS_URL}/in-front/7`, { headers }, (answer) => {
      answer.resume();
      done(answer.statusCode);
    });
    asked.on("error", failed).end("oak");
  });
  assert.deepEqual([status, calls.at(-1).body], [200, "oak"]);
});
