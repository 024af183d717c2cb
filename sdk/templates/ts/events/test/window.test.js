// The window in a real host: run by `hms test`, which says where it is.
import assert from "node:assert/strict";
import { test } from "node:test";

const url = `${process.env.HMS_URL}/{{name}}`;
const authorization = `Bearer ${process.env.HMS_TOKEN}`;
const order = (body) => fetch(url, { method: "POST", headers: { authorization }, body: JSON.stringify(body) });
const counts = async () => (await fetch(url, { headers: { authorization } })).json();

test("orders that it hears of are counted", async () => {
  for (const count of [4, 2]) assert.equal((await order({ item: "chair", count })).status, 201);
  for (let tries = 0; (await counts()).chair !== 6; tries++) {
    assert.ok(tries < 600, `there are ${JSON.stringify(await counts())}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
});

test("what is no order is refused", async () => {
  for (const body of [{}, { item: "", count: 1 }, { item: "chair", count: "3" }, null]) {
    assert.equal((await order(body)).status, 400);
  }
});

test("order needs a token", async () => {
  assert.equal((await fetch(url)).status, 401);
});
