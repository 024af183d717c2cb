// What nobody means, sent to a window in C: run by `hms test`.
const assert = require("node:assert/strict");
const { connect } = require("node:net");
const { test } = require("node:test");

const { hostname, port } = new URL(process.env.HMS_URL);
const MIB = 1 << 20;
/* The limit of the window. */
const LIMIT = 24 * MIB;

/** Status and body of the answer to a request that is sent as it is, headers as pairs. */
const raw = (method, path, headers = [], body = Buffer.alloc(0)) =>
  new Promise((done, failed) => {
    const fields = [["host", "x"], ["connection", "close"], ...headers];
    if (body.length > 0) fields.push(["content-length", body.length]);
    const head = `${method} ${path} HTTP/1.1\r\n${fields.map((pair) => `${pair.join(": ")}\r\n`).join("")}\r\n`;
    const socket = connect(port, hostname);
    const parts = [];
    socket.on("data", (part) => parts.push(part)).on("error", failed);
    socket.on("close", () => {
      const all = Buffer.concat(parts);
      const end = all.indexOf("\r\n\r\n");
      const told = all.subarray(0, end).toString("latin1");
      done({ status: Number(told.split(" ")[1]), head: told, body: all.subarray(end + 4) });
    });
    socket.write(Buffer.concat([Buffer.from(head, "latin1"), body]));
  });
const json = async (...asked) => {
  const answer = await raw(...asked);
  assert.equal(answer.status, 200, answer.body.toString());
  const text = answer.body.toString();
  return JSON.parse(text.slice(text.indexOf("{"), text.lastIndexOf("}") + 1));
};
const problem = async (status, code, ...asked) => {
  const answer = await raw(...asked);
  assert.equal(answer.status, status, answer.body.toString());
  assert.ok(answer.body.includes(`urn:hms:problem:${code}`), answer.body.toString());
};

test("encodings of a path and a query that are no text stay as they came", async () => {
  for (const odd of ["%00", "%FF", "%C3", "%", "%4", "%zz", "%ED%A0%80", "%2e%2e"]) {
    const answer = await raw("GET", `/c-odd/a/${odd}?name=${odd}`);
    assert.ok(answer.status === 200 || answer.status === 400, `${odd}: ${answer.status}`);
    if (answer.status === 200 && odd !== "%2e%2e") {
      const { last, name } = JSON.parse(answer.body);
      assert.deepEqual([last, name], [odd, odd]);
    }
  }
});

test("query as long as the gateway takes it is read", async () => {
  const { name } = await json("GET", `/c-odd/a?${"b&".repeat(3900)}name=%C3%BC`);
  assert.equal(name, "ü");
});

test("path as long as the gateway takes it is read", async () => {
  assert.equal((await raw("GET", `/c-odd${"/a".repeat(4000)}`)).status, 200);
  assert.ok([200, 400].includes((await raw("GET", `/c-odd${"/".repeat(8000)}`)).status));
});

test("headers that are missing, repeated, empty or of Latin-1 are texts", async () => {
  assert.equal((await json("GET", "/c-odd/a")).header, undefined);
  const twice = await json("GET", "/c-odd/a", [["x-odd", "1"], ["X-Odd", "2"]]);
  assert.equal(twice.header, "1");
  assert.equal((await json("GET", "/c-odd/a", [["x-odd", ""]])).header, "");
  assert.equal((await json("GET", "/c-odd/a", [["x-odd", "caf\xe9"]])).header, "café");
  const long = "x".repeat(30000);
  assert.equal((await json("GET", "/c-odd/a", [["x-odd", long]])).header, long);
});

test("conditions in many fields and of any form have an answer", async () => {
  const many = Array.from({ length: 80 }, (_, i) => ["if-none-match", `"${"x".repeat(500)}${i}"`]);
  assert.equal((await json("GET", "/c-odd/a", [...many, ["if-none-match", '"7"']])).condition, 304);
  for (const odd of ['"', "W/", ",,,", '"a" "b"', "\xff"]) {
    assert.equal((await json("PUT", "/c-odd/a", [["if-match", odd]])).condition, odd === ",,," ? 412 : 400);
  }
});

test("methods that nobody knows are told as they are", async () => {
  assert.equal((await json("BREW", "/c-odd/a")).method, "BREW");
});

test("bodies: empty, of zeros, at the limit and over it", async () => {
  assert.equal((await raw("POST", "/c-odd/echo")).body.length, 0);
  const zeros = await raw("POST", "/c-odd/echo", [], Buffer.alloc(1000));
  assert.equal(zeros.body.length, 1000);
  const most = await raw("POST", "/c-odd/echo", [], Buffer.alloc(LIMIT, "a"));
  assert.deepEqual([most.status, most.body.length], [200, LIMIT]);
  await problem(413, "body-too-large", "POST", "/c-odd/echo", [], Buffer.alloc(LIMIT + 1, "a"));
  // What fits, and the JSON of it does not.
  const numbers = Buffer.from(`[${"1,".repeat(10 * MIB)}1]`);
  await problem(413, "body-too-large", "POST", "/c-odd/json", [], numbers);
});

test("JSON that is none is a 400, and what is deep is read", async () => {
  const odd = ["", "{", "[1,]", '"\\u0000"', '{"a":"\\ud800"}', "1e999", "\0", "{}\0", '{"a":"\xff"}'];
  for (const body of odd) await problem(400, "bad-request", "POST", "/c-odd/json", [], Buffer.from(body, "latin1"));
  const half = "[".repeat(MIB / 2);
  await problem(400, "bad-request", "POST", "/c-odd/json", [], Buffer.from(half));
  const deep = Buffer.from(half + "]".repeat(MIB / 2));
  const answer = await raw("POST", "/c-odd/json", [], deep);
  assert.deepEqual([answer.status, answer.body.length], [200, MIB]);
  const wide = Buffer.from(`[${"1,".repeat(MIB / 2 - 2)}1]`);
  assert.equal((await raw("POST", "/c-odd/json", [], wide)).status, 200);
});

test("keys and parts: empty, the longest, and longer", async () => {
  const value = Buffer.from("1");
  for (const [part, key, status] of [
    ["p", "k".repeat(1024), 204],
    ["p", "k".repeat(1025), 400],
    ["p", "", 400],
    ["p".repeat(512), "k", 204],
    ["p".repeat(513), "k", 400],
    ["p", "%00", 400],
    ["p", "%FF", 204],
    ["p", "%F0%9F%92%A9", 204],
  ]) {
    const path = `/c-odd/keep/${part}/${key}`;
    const put = await raw("PUT", path, [], value);
    assert.equal(put.status, status, `${path}: ${put.body}`);
    const get = await raw("GET", path);
    assert.ok(get.status < 500, `${path}: ${get.body}`);
    assert.equal(get.status === 200, status === 204, `${path}: ${get.body}`);
    assert.ok((await raw("DELETE", path)).status < 500);
  }
});

test("headers and a status that cannot be sent are left out", async () => {
  const { status, head } = await raw("GET", "/c-odd/cookie");
  assert.equal(status, 500);
  assert.ok(head.includes("x-good: 1") && !head.includes("forged") && !head.includes("bad name"), head);
});
