import * as host from "./host.js";

/** A new UUID, version 7 (RFC 9562): its text sorts by the millisecond of its creation. */
export function newId() {
  const bytes = new Uint8Array(16);
  bytes.set(host.random.getRandomBytes(10), 6);
  const now = Date.now();
  for (let i = 0; i < 6; i++) bytes[i] = Math.floor(now / 2 ** (40 - 8 * i)) % 256;
  return uuid(bytes, 0x70);
}

/** 16 bytes as a UUID of that version. */
export function uuid(bytes, version) {
  bytes[6] = (bytes[6] & 0x0f) | version;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** Waits. This time counts as the instance's wall time. */
export async function sleep(ms) {
  await host.monotonic.waitFor(Math.round(ms * 1e6));
}
