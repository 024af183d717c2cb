// The middleware in front of a service of these tests: run by `hms test`.
const assert = require("node:assert/strict");
const { createServer, request } = require("node:http");
const { after, before, test } = require("node:test");

const BIG = 5_000_000;
let last;
const service = createServer((asked, response) => {
  let length = 0;
  asked.on("data", (chunk) => (length += chunk.length));
  asked.on("end", () => {
    last = { method: asked.method, url: asked.url, headers: asked.headers, length };
    if (asked.url.includes("abort")) return response.socket.destroy();
    const size = asked.url.includes("big") ? BIG : 2;
    response.setHeader("x-answer", "of the service");
    response.setHeader("x-secret", "7");
    response.setHeader("set-cookie", ["a=1", "b=2"]);
    const status = asked.url.includes("missing") ? 404 : asked.url.includes("own") ? 799 : 200;
    response.writeHead(status, { "content-length": size });
    response.end(Buffer.alloc(size, "x"));
  });
});
const ask = (query, options = {}) =>
  fetch(`${process.env.HMS_URL}/in-front/${query}`, {
    ...options,
    headers: { authorization: `Bearer ${process.env.HMS_TOKEN}`, ...options.headers },
  });
const body = async (answer) => (await answer.arrayBuffer()).byteLength;

before(async () => {
  await new Promise((done) => service.listen(0, "127.0.0.1", done));
  const route = `uri: /in-front/**
upstream: http://127.0.0.1:${service.address().port}
plugins:
  - auth
  - wasm: {window: c-middleware}
`;
  const url = `http://127.0.0.1:${service.address().port}`;
  const grants = `outbound: [{to: "${url}", methods: [POST], private: [127.0.0.0/8]}]
config: {service: "${url}/missing"}
`;
  for (const [path, body] of [["routes/in-front", route], ["windows/c-middleware/grants?yes=true", grants]]) {
    const made = await fetch(`http://${process.env.HMS_ADMIN}/${path}`, {
      method: "PUT",
      headers: { authorization: `Bearer ${process.env.HMS_ADMIN_TOKEN}` },
      body,
    });
    assert.ok(made.ok, await made.text());
  }
});
after(() => service.close());

test("bodies larger than the instance's buffers stream through both ways", async () => {
  const answer = await ask("big", { method: "POST", body: Buffer.alloc(BIG) });
  assert.deepEqual([answer.status, await body(answer), last.length], [200, BIG, BIG]);
});

test("status and method are passed on", async () => {
  // The host takes none above 599.
  assert.equal((await ask("own")).status, 500);
  assert.equal((await ask("missing", { method: "PURGE" })).status, 404);
  assert.equal(last.method, "PURGE");
  const head = await ask("big", { method: "HEAD" });
  assert.deepEqual([head.headers.get("content-length"), last.method], [String(BIG), "HEAD"]);
});

test("headers of the request and of the answer are added, changed and taken away", async () => {
  const headers = { "x-changed": "of the client", "x-taken": "1", "x-agent": "a" };
  const answer = await ask("?do=headers", { headers });
  const { "x-added": added, "x-changed": changed, "x-taken": taken } = last.headers;
  assert.deepEqual([added, changed, taken], ["of the middleware", "anew", undefined]);
  assert.equal(last.headers["x-agent"], "a");
  assert.notEqual(last.headers["x-hms-user"], "mallory");
  const told = ["x-was", "x-answer", "x-secret"].map((name) => answer.headers.get(name));
  assert.deepEqual(told, ["of the service", "anew", null]);
  assert.deepEqual(answer.headers.getSetCookie(), ["c=3", "d=4"]);
});

test("cookies of the answer stay apart", async () => {
  assert.deepEqual((await ask("")).headers.getSetCookie(), ["a=1", "b=2"]);
});

test("request is still known after it has gone on", async () => {
  const answer = await ask("?do=after-reading-headers", { headers: { "x-agent": "b" } });
  assert.deepEqual([answer.headers.get("x-path"), answer.headers.get("x-agent")], ["/in-front/", "b"]);
});

test("body is read in place of the next handler", async () => {
  last = undefined;
  const answer = await ask("?do=count", { method: "POST", body: Buffer.alloc(BIG) });
  assert.deepEqual([await answer.text(), last], [String(BIG), undefined]);
  assert.equal(await (await ask("?do=count")).text(), "0");
});

test("request goes on once, and not after its body was read", async () => {
  for (const mode of ["count-next", "twice"]) {
    const answer = await ask(`?do=${mode}`, { method: "POST", body: "abc" });
    assert.deepEqual([answer.status, (await answer.json()).type], [500, "urn:hms:problem:internal"]);
  }
});

test("answer of the middleware replaces that of the next handler", async () => {
  const answer = await ask("?do=instead");
  assert.deepEqual([answer.status, answer.headers.get("x-answer")], [451, null]);
  assert.equal((await answer.json()).type, "urn:hms:problem:withheld");
});

test("middleware streams an answer of its own", async () => {
  assert.equal(await body(await ask("?do=stream&parts=40")), 40 * 65536);
  assert.equal(await body(await ask("?do=stream&parts=0")), 0);
});

test("answers without a body are whole", async () => {
  for (const status of [200, 204, 304, 404]) {
    const answer = await ask(`?do=status&status=${status}`);
    assert.deepEqual([answer.status, await body(answer)], [status, 0]);
  }
  for (const query of ["?do=stream&parts=40", "?do=what", "?do=status&status=204"]) {
    const answer = await ask(query, { method: "HEAD" });
    assert.deepEqual([answer.status < 500, await body(answer)], [true, 0]);
  }
});

test("answer that is broken off does not look whole", async () => {
  await assert.rejects(async () => body(await ask("?do=break")));
});

test("client that leaves a stream leaves the middleware in order", async () => {
  await new Promise((done, failed) => {
    const headers = { authorization: `Bearer ${process.env.HMS_TOKEN}` };
    const asked = request(`${process.env.HMS_URL}/in-front/?do=stream&parts=4000`, { headers });
    asked.on("response", (answer) => answer.once("data", () => answer.destroy()));
    asked.on("error", failed).on("close", done).end();
  });
  assert.equal((await ask("")).status, 200);
});

test("service that breaks the connection is a problem of the gateway's", async () => {
  const answer = await ask("abort");
  assert.ok([502, 503].includes(answer.status), String(answer.status));
});

test("middleware asks another service before the request goes on", async () => {
  const answer = await ask("?do=fetch", { method: "PUT", body: "oak" });
  const got = [answer.status, answer.headers.get("x-fetched"), last.method, last.length];
  assert.deepEqual(got, [200, "404", "PUT", 3]);
});

test("body is empty until it is read", async () => {
  const answer = await ask("?do=what", { method: "POST", body: "abc" });
  assert.deepEqual([answer.status, (await answer.json()).detail], [400, ""]);
});
