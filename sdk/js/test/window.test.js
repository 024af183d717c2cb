// What needs no host.
import assert from "node:assert/strict";
import { test } from "node:test";
import "./stubs.js";

const { received, Event } = await import("../src/event.js");
const { explained, withLines } = await import("../src/explained.js");
const { grantOf } = await import("../src/grant.js");
const { page } = await import("../src/paging.js");
const { Problem } = await import("../src/problem.js");
const { decode, encode, TextDecoder } = await import("../src/web/encoding.js");
const { Headers } = await import("../src/web/headers.js");
const { span } = await import("../src/span.js");
const { Response } = await import("../src/web/response.js");
const { WindowRequest } = await import("../src/window-request.js");
const { window } = await import("../src/window.js");
const { entityTag } = await import("../src/conditional.js");
const { unpacked } = await import("../src/site/files.js");
const { site } = await import("../src/site/site.js");
const { isHashed } = await import("../src/bundler/site.js");

const request = (target, headers = {}, body = null, method = "GET") =>
  new WindowRequest(method, target, new Headers(headers), body);

test("segments are decoded after they are split", () => {
  assert.deepEqual(request("/docs/a%2Fb%20c?x=/").segments, ["docs", "a/b c"]);
  assert.deepEqual(request("/docs/").segments, ["docs", ""]);
  assert.deepEqual(request("/").segments, [""]);
  assert.deepEqual(request("/%ff%C3%BC").segments, ["\ufffdü"]);
});

test("parameters are read and a wrong number is named", () => {
  const asked = request("/p?limit=20&cursor=a%26b&limit=30&bad=x&tag=a+b&none");
  assert.equal(asked.number("limit", 50), 20);
  assert.deepEqual(asked.params("limit"), ["20", "30"]);
  assert.equal(asked.param("cursor"), "a&b");
  assert.equal(asked.param("tag"), "a b");
  assert.equal(asked.param("none"), "");
  assert.equal(asked.number("offset", 7), 7);
  assert.throws(() => asked.number("bad"), (error) => error.status === 400 && /'bad'/.test(error.message));
});

test("caller is read from the gateway's headers", () => {
  const caller = request("/", { "X-HMS-User": "zoë", "x-hms-scopes": "docs.read docs.write" }).caller();
  assert.equal(caller.user, "zoë");
  assert.ok(caller.hasScope("docs.write") && !caller.hasScope("docs"));
  assert.throws(() => request("/").caller(), { status: 401 });
});

test("span outside of a window gives what its function gives", async () => {
  assert.equal(span("part", () => 1), 1);
  assert.equal(await span("part", async () => 2), 2);
  assert.throws(() => span("part", () => { throw new RangeError("a"); }), RangeError);
  await assert.rejects(span("part", async () => { throw new RangeError("b"); }), RangeError);
});

test("refused call names what allows it, and a window by its name", () => {
  for (const [scheme, authority, path, expected] of [
    ["https", "API.card.example:443", "/v1/charges?a=b", '{to: "https://api.card.example", methods: ["POST"], paths: ["/v1/charges"]}'],
    ["http", "[2001:db8::1]:8080", "", '{to: "http://[2001:db8::1]:8080", methods: ["POST"], paths: ["/"]}'],
    ["http", "a.example", "/{id}/**", '{to: "http://a.example", methods: ["POST"], paths: ["/%7Bid%7D/%2A%2A"]}'],
  ])
    assert.equal(grantOf(scheme, authority, "POST", path), `outbound: [${expected}]`);
  for (const authority of ["hms-svc-docs", "hms-svc-docs:8080", "docs.spin.internal"])
    assert.equal(grantOf("http", authority, "GET", "/"), "calls: [docs]");
});

test("address of a private network is in what allows a call", () => {
  const near = [
    ...["127.0.0.1", "10.1.0.7", "172.31.0.1", "192.168.0.1"].map((it) => [it, `${it}/32`]),
    ...["::1", "fd00::1"].map((it) => [`[${it}]`, `${it}/128`]),
  ];
  for (const [host, network] of near) {
    const line = grantOf("http", `${host}:8080`, "GET", "/");
    assert.ok(line.endsWith(`paths: ["/"], private: ["${network}"]}]`), line);
  }
  for (const host of ["169.254.169.254", "[fe80::1]", "172.32.0.1", "192.0.2.7", "[2001:db8::1]", "localhost"])
    assert.doesNotMatch(grantOf("http", host, "GET", "/"), /private/);
});

test("HEAD is routed as GET", () => {
  const asked = request("/", {}, null, "HEAD");
  assert.deepEqual([asked.method, asked.isHead], ["GET", true]);
});

test("body that is no JSON is 400, and one over the limit 413", async () => {
  assert.deepEqual(await request("/", {}, encode('{"a":1}')).json(), { a: 1 });
  await assert.rejects(request("/", {}, encode("{")).json(), { status: 400 });
  async function* large() {
    for (let i = 0; i < 20; i++) yield new Uint8Array(1 << 16);
  }
  await assert.rejects(request("/", {}, large()).text(), { status: 413 });
  const once = request("/", {}, encode("a"));
  await once.text();
  await assert.rejects(once.text(), TypeError);
});

test("problem is sent as RFC 9457 says", async () => {
  const sent = Problem.badRequest("the amount is missing").response("r-1");
  assert.equal(sent.status, 400);
  assert.equal(sent.headers.get("content-type"), "application/problem+json");
  assert.deepEqual(await sent.json(), {
    type: "urn:hms:problem:bad-request",
    title: "Bad Request",
    status: 400,
    detail: "the amount is missing",
    "request-id": "r-1",
  });
  assert.equal(Problem.methodNotAllowed("GET, HEAD").response().headers.get("allow"), "GET, HEAD");
  assert.equal(new Problem(503, "busy", "later").retryAfter(1.5).headers.get("retry-after"), "2");
});

test("event in binary mode is read", () => {
  const headers = new Headers({
    "x-hms-delivery": "fees; attempt=2; round=1", "ce-id": "7", "ce-source": "urn:hms:window:payments",
    "ce-specversion": "1.0", "ce-type": "gov.payment.paid.v1", "ce-subject": "a%20b",
  });
  const event = received(headers, encode('{"amount":1}'));
  assert.deepEqual([event.subscription, event.attempt, event.replayRound], ["fees", 2, 1]);
  assert.deepEqual([event.type, event.subject, event.json()], ["gov.payment.paid.v1", "a b", { amount: 1 }]);
  assert.equal(event.onceKey, "event/fees/1/urn:hms:window:payments/7");
});

test("event in structured mode is read", () => {
  const headers = new Headers({ "x-hms-delivery": "fees", "content-type": "application/cloudevents+json" });
  const of = (members) =>
    received(headers, encode(JSON.stringify({ specversion: "1.0", id: "7", source: "s", type: "t", ...members })));
  assert.deepEqual(of({ data: { a: 1 } }).json(), { a: 1 });
  assert.deepEqual([...of({ data_base64: "AP8=" }).data], [0, 255]);
  assert.throws(() => of({ specversion: "0.3" }), { status: 400 });
});

test("request of a client is no event", () => {
  assert.throws(() => received(new Headers({ "ce-id": "1" }), encode("")), { status: 403 });
  for (const mark of ["", "; attempt=1", "a; attempt=x", "a; round=-1"]) {
    assert.throws(() => received(new Headers({ "x-hms-delivery": mark }), encode("")), { status: 400 });
  }
});

test("data of an event are JSON or bytes", () => {
  assert.deepEqual(new Event("t", { a: 1 }).payload(), ["application/json", encode('{"a":1}')]);
  assert.deepEqual(new Event("t", encode("x")).payload(), ["application/octet-stream", encode("x")]);
  assert.deepEqual(new Event("t").payload(), ["", new Uint8Array()]);
});

test("pages of any size show every key once and in order", () => {
  const host = (count, size) => (cursor) => {
    const from = Number(cursor ?? 0);
    const to = Math.min(count, from + size);
    const keys = Array.from({ length: to - from }, (_, index) => String(from + index).padStart(2, "0"));
    return { keys, next: to < count ? String(to) : null };
  };
  for (let count = 0; count < 12; count++) {
    for (let size = 1; size < 6; size++) {
      for (let limit = 1; limit < 6; limit++) {
        const seen = [];
        let cursor = null;
        do {
          const found = page(cursor, limit, host(count, size));
          assert.ok(found.keys.length === limit || found.next === null);
          seen.push(...found.keys);
          cursor = found.next;
        } while (cursor !== null);
        assert.deepEqual(seen, host(count, count + 1)(null).keys);
      }
    }
  }
});

test("foreign cursor is rejected", () => {
  for (const wrong of ["", "x", "9.abc", "-1.a", "1.é"]) {
    assert.throws(() => page(wrong, 5, () => ({ keys: ["a"], next: null })), RangeError, wrong);
  }
});

test("text is UTF-8 in both directions", () => {
  for (const text of ["", "a", "ü", "ż/ ", "💶 and more", "a".repeat(20_000)]) {
    assert.deepEqual(encode(text), new globalThis.TextEncoder().encode(text));
    assert.equal(decode(encode(text)), text);
  }
  assert.deepEqual(encode("\ud800"), new globalThis.TextEncoder().encode("\ud800"));
  assert.equal(decode(Uint8Array.of(97, 0xff, 98, 0xe2, 0x82)), "a\ufffdb\ufffd\ufffd");
  assert.throws(() => new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.of(0xff)), TypeError);
});

test("headers are as in the Fetch standard", () => {
  const headers = new Headers([["A", "1"], ["b", "2"], ["a", "3"], ["set-cookie", "x"], ["set-cookie", "y"]]);
  assert.equal(headers.get("a"), "1, 3");
  assert.deepEqual([...headers].map(([name]) => name), ["a", "b", "set-cookie", "set-cookie"]);
  headers.set("A", "4");
  assert.equal(headers.get("a"), "4");
  assert.throws(() => headers.set("a b", "1"), TypeError);
  assert.throws(() => headers.set("a", "1\r\nb: 2"), TypeError);
  assert.equal(Response.json({}).headers.get("content-type"), "application/json");
});

test("error is told with the author's lines first", () => {
  withLines({ files: ["src/index.js"], sources: [["", "  fail();"]], at: [0, [0, 2]] });
  const error = new TypeError("no fee");
  error.stack = "    at inner (x.js:1:5)\n    at handle (x.js:2:9)\n";
  error.cause = new Error("disk");
  error.cause.stack = "";
  assert.equal(explained(error), "TypeError: no fee\n  src/index.js:2 in handle: fail();\nbecause of Error: disk");
});

test("window is a function or an object with fetch", async () => {
  assert.equal(window((asked) => asked).fetch(1), 1);
  assert.equal(window({ word: 2, fetch() { return this.word; } }).fetch(), 2);
  assert.throws(() => window({}), /a window is/);
});

test("a cookie is found whatever the others hold, and in any field", () => {
  const headers = new Headers();
  headers.append("cookie", 'a={"x":1}; prefs=a,session=evil');
  headers.append("cookie", "session=good; b[]=2");
  const request = new WindowRequest("GET", "/", headers, null);
  assert.equal(request.cookie("session"), "good");
  assert.equal(request.cookie("b[]"), "2");
  assert.equal(request.cookie("evil"), undefined);
});

const asked = (headers = {}, path = "/", method = "GET") =>
  new WindowRequest(method, path, new Headers(headers), null);

test("conditions are those of RFC 9110", () => {
  assert.equal(asked({ "if-none-match": 'W/"2", "3"' }).notModified(2), true);
  assert.equal(asked({ "if-none-match": '"a,b"' }).notModified(2), false);
  assert.equal(asked({ "if-none-match": "*" }).notModified(undefined), false);
  const put = (headers) => asked(headers, "/", "PUT");
  assert.equal(put({ "if-match": '"1", "2"' }).notModified(2), false);
  for (const headers of [{ "if-match": '"1"' }, { "if-match": 'W/"2"' }, { "if-none-match": "*" }]) {
    assert.throws(() => put(headers).notModified(2), (error) => error.status === 412);
  }
  assert.throws(() => put({ "if-match": "*" }).notModified(undefined), (error) => error.status === 412);
  assert.throws(() => put({ "if-match": "2" }).notModified(2), (error) => error.status === 400);
  assert.equal(entityTag('a "b'), '"a%20%22b"');
});

test("site answers with files, codings, parts and pages", async () => {
  const page = "<p>" + "hello ".repeat(100);
  const file = (name, text, br) => [name, "text/html", `t-${name}`, false, btoa(text), br, null];
  const files = unpacked([file("index.html", page, btoa("small")), file("guide/index.html", "guide", null),
    file("404.html", "nothing here", null)]);
  const answer = site(files);
  const whole = answer(asked());
  assert.equal(await whole.text(), page);
  assert.match(whole.headers.get("content-security-policy"), /default-src 'self'/);
  assert.equal(whole.headers.get("hms-cache-control"), "public, max-age=31536000");
  const packed = answer(asked({ "accept-encoding": "gzip, br;q=0.5" }));
  assert.deepEqual([packed.headers.get("content-encoding"), await packed.text()], ["br", "small"]);
  assert.notEqual(packed.headers.get("etag"), whole.headers.get("etag"));
  assert.equal(answer(asked({ "if-none-match": whole.headers.get("etag") })).status, 304);
  const part = answer(asked({ range: "bytes=-3", "accept-encoding": "br" }));
  assert.deepEqual([part.status, await part.text()], [206, page.slice(-3)]);
  assert.equal(part.headers.get("content-range"), `bytes ${page.length - 3}-${page.length - 1}/${page.length}`);
  assert.equal(answer(asked({ range: "bytes=9999-" })).status, 416);
  assert.equal(answer(asked({ range: "bytes=0-1", "if-range": '"old"' })).status, 200);
  assert.equal(answer(asked({}, "/guide?a=b")).headers.get("location"), "/guide/?a=b");
  assert.equal(await answer(asked({}, "/none")).text(), "nothing here");
  const application = site(files, { singlePage: true });
  const fallback = application(asked({ accept: "text/html" }, "/none"));
  assert.deepEqual([fallback.status, fallback.headers.get("hms-cache-control")], [200, null]);
  assert.equal(application(asked({ accept: "text/html" }, "/none.js")).status, 404);
  assert.throws(() => answer(asked({}, "/", "POST")), (error) => error.status === 405);
});

test("names of bundlers are hashed and names of people are not", () => {
  for (const name of ["assets/index-BfD3kz9x.js", "index-Bf-3kz9x.js", "index-BfD3kz9x.js.map", "main.3f2a9c1b.css",
    "chunk-3f2a9c1b7d.js", "logo.3f2a9c1b.svg"]) assert.ok(isHashed(name), name);
  for (const name of ["index.html", "page-BfD3kz9x.html", "report-20260101.pdf", "my-holidays.jpg", "jquery-3.7.1.js",
    "app.js", "deadbeef.js", "background-picture.png", "LICENSE", "-BfD3kz9x"]) assert.ok(!isHashed(name), name);
});
