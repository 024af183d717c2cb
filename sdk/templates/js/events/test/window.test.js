// The window in a real host: run by `hms test`, which says where it is.
import assert from "node:assert/strict";
import { test } from "node:test";

const url = `${process.env.HMS_URL}/{{name}}`;
const sum = async () => (await (await fetch(`${url}/sum`)).json()).sum;

test("what is added arrives as an event", async () => {
  const before = await sum();
  for (const amount of [3, 4]) {
    const added = await fetch(url, { method: "POST", body: JSON.stringify({ amount }) });
    assert.equal(added.status, 201);
  }
  for (let tries = 0; (await sum()) !== before + 7; tries++) {
    assert.ok(tries < 100, `the sum stays ${await sum()}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
});

test("amount that is no number is refused", async () => {
  for (const body of ["{}", '{"amount": "3"}', "null"]) {
    assert.equal((await fetch(url, { method: "POST", body })).status, 400);
  }
});
