// Listing keys a few at a time. The host chooses the size of its pages and hands out cursors that
// say nothing to us; what a client asks for is smaller. So our cursor is the host's cursor of a
// page and the last key taken from it.
import { decode, encode } from "./web/encoding.js";

/** Up to `limit` keys after `cursor`, from pages that `fetch` gives: `{ keys, next }`. */
export function page(cursor, limit, fetch) {
  let [last, host] = cursor === null || cursor === undefined ? [null, null] : parse(String(cursor));
  const keys = [];
  for (;;) {
    const found = fetch(host);
    for (const key of found.keys) {
      if (last !== null && !isAfter(encode(key), last)) continue;
      if (keys.length >= Math.max(limit, 1)) {
        const end = keys[keys.length - 1];
        return { keys, next: `${encode(end).length}.${end}${host ?? ""}` };
      }
      keys.push(key);
    }
    if (found.next === null || found.next === undefined) return { keys, next: null };
    host = found.next;
  }
}

/** Keys are in the order of their bytes, which is not that of JavaScript's texts. */
function isAfter(one, other) {
  const length = Math.min(one.length, other.length);
  for (let i = 0; i < length; i++) if (one[i] !== other[i]) return one[i] > other[i];
  return one.length > other.length;
}

/** `LENGTH.KEY` and the host's cursor; the length is in bytes, as in the other languages. */
function parse(cursor) {
  const found = /^([0-9]+)\.(.*)$/s.exec(cursor);
  const rest = found ? encode(found[2]) : null;
  const length = found ? Number(found[1]) : 0;
  try {
    if (rest !== null && length <= rest.length) {
      decode(rest.subarray(0, length), true);
      return [rest.subarray(0, length), decode(rest.subarray(length), true) || null];
    }
  } catch {
    // A length that cuts a character in two.
  }
  throw new RangeError("invalid cursor: use the 'next' of a listing");
}
