// The window in a real host: run by `hms test`, which says where it is.
import assert from "node:assert/strict";
import { test } from "node:test";

const url = `${process.env.HMS_URL}/{{name}}`;
const send = (method, path, body) =>
  fetch(url + path, { method, body: body === undefined ? undefined : JSON.stringify(body) });

test("item is created, read, changed and deleted", async () => {
  const created = await send("POST", "", { title: "bread" });
  assert.equal(created.status, 201);
  const { id } = await created.json();
  assert.deepEqual(await (await send("GET", `/${id}`)).json(), { id, title: "bread" });
  assert.equal((await send("PUT", `/${id}`, { title: "cake" })).status, 200);
  const { items } = await (await send("GET", "")).json();
  assert.deepEqual(items.filter((item) => item.id === id), [{ id, title: "cake" }]);
  assert.equal((await send("DELETE", `/${id}`)).status, 204);
  for (const method of ["GET", "DELETE"]) assert.equal((await send(method, `/${id}`)).status, 404);
  assert.equal((await send("PUT", `/${id}`, { title: "cake" })).status, 404);
});

test("list comes in pages", async () => {
  for (const title of ["one", "two", "three"]) await send("POST", "", { title });
  const first = await (await send("GET", "?limit=2")).json();
  assert.equal(first.items.length, 2);
  const second = await (await send("GET", `?limit=2&cursor=${encodeURIComponent(first.next)}`)).json();
  assert.ok(second.items.length >= 1 && second.items[0].id > first.items[1].id);
});

test("item without a title is refused", async () => {
  for (const body of [{}, { title: 7 }, [], null]) assert.equal((await send("POST", "", body)).status, 400);
  assert.equal((await send("PATCH", "", {})).status, 405);
});
