// The window in a real host: run by `hms test`, which says where it is.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

const url = `${process.env.HMS_URL}/{{name}}`;

/** A request of a user, with a token as an identity provider would give. */
const as = (user) => (method, path, body, headers = {}) => {
  const data = ["--data", process.env.HMS_DATA];
  const token = execFileSync(process.env.HMS_BIN, ["token", ...data, "--user", user]).toString().trim();
  headers = { authorization: `Bearer ${token}`, ...headers };
  return fetch(url + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
};
const [alice, bob] = [as("alice"), as("bob")];

async function create(title) {
  const made = await alice("POST", "", { title });
  assert.equal(made.status, 201);
  return (await made.json()).id;
}

test("note is kept and shown to its owner alone", async () => {
  const id = await create("milk");
  const shown = await alice("GET", `/${id}`);
  assert.deepEqual(await shown.json(), { id, version: 1, title: "milk", text: "" });
  assert.equal((await bob("GET", `/${id}`)).status, 404);
  assert.equal((await fetch(`${url}/${id}`)).status, 401);
});

test("change of an old version is refused", async () => {
  const id = await create("milk");
  const tag = (await alice("GET", `/${id}`)).headers.get("etag");
  const replace = (title) => alice("PUT", `/${id}`, { title }, { "if-match": tag });
  assert.equal((await (await replace("bread")).json()).version, 2);
  assert.equal((await replace("cheese")).status, 412);
  assert.equal((await alice("GET", `/${id}`, undefined, { "if-none-match": '"2"' })).status, 304);
  assert.equal((await alice("DELETE", `/${id}`, undefined, { "if-match": tag })).status, 412);
  assert.equal((await alice("DELETE", `/${id}`, undefined, { "if-match": '"2"' })).status, 204);
  for (const method of ["GET", "DELETE"]) assert.equal((await alice(method, `/${id}`)).status, 404);
  assert.equal((await alice("PUT", `/${id}`, { title: "cake" })).status, 404);
});

test("list comes in pages in the order of time", async () => {
  for (const title of ["one", "two", "three"]) await create(title);
  const first = await (await alice("GET", "?limit=2")).json();
  assert.equal(first.notes.length, 2);
  const second = await (await alice("GET", `?limit=2&cursor=${encodeURIComponent(first.next)}`)).json();
  assert.ok(second.notes.length >= 1 && second.notes[0].id > first.notes[1].id);
});

test("what is no note is refused", async () => {
  for (const body of [{}, { title: "" }, { title: 7 }, [], null]) {
    assert.equal((await alice("POST", "", body)).status, 400);
  }
  assert.equal((await alice("PATCH", "", {})).status, 405);
});
