// What programs expect to be there, beside what the engine has. `fetch`, `URL` and others come by
// `used/`, only where they are used.
import * as host from "../host.js";
import { sleep, uuid } from "../ids.js";
import { console } from "./console.js";
import { TextDecoder, TextEncoder } from "./encoding.js";
import { Headers } from "./headers.js";
import { Request } from "./request.js";
import { Response } from "./response.js";

const crypto = {
  getRandomValues(array) {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    if (bytes.length > 0) bytes.set(host.random.getRandomBytes(bytes.length));
    return array;
  },
  randomUUID() {
    return uuid(crypto.getRandomValues(new Uint8Array(16)), 0x40);
  },
};

// The engine's numbers begin with the same seed in each instance: it was set when the component was
// made.
const random = () => {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  return ((high >>> 5) * 0x4000000 + (low >>> 6)) / 2 ** 53;
};

const waiting = new Set();
let timers = 0;

function setTimeout(run, ms = 0, ...values) {
  const id = ++timers;
  waiting.add(id);
  sleep(Math.max(0, Number(ms) || 0)).then(() => {
    if (waiting.delete(id)) run(...values);
  });
  return id;
}

function clearTimeout(id) {
  waiting.delete(id);
}

Math.random = random;
Object.assign(globalThis, {
  clearTimeout, console, crypto, Headers, Request, Response, setTimeout, TextDecoder, TextEncoder,
});
