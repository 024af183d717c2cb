import * as host from "./host.js";
import { page } from "./paging.js";
import { Problem } from "./problem.js";
import { bytesOf, decode, encode } from "./web/encoding.js";

/** How often `update` and a transaction try. */
export const UPDATE_TRIES = 64;

/** Why a store operation failed: `code` is for branching. */
export class StoreError extends Error {
  constructor(code, text) {
    super(`the store: ${text}`);
    this.name = "StoreError";
    this.code = code;
  }

  /** The host's text begins with a code. */
  static told(text) {
    const code = String(text).split(":", 1)[0];
    const known = ["store-full", "store-unavailable", "invalid", "invalid-cursor"];
    return new StoreError(known.includes(code) ? code : "other", text);
  }

  problem() {
    switch (this.code) {
      case "store-full":
        return new Problem(507, "store-full", "the window's store is full");
      case "store-unavailable":
      case "contended": {
        console.error(this.message);
        const detail = "the window's store is unavailable; retry shortly";
        return new Problem(503, "store-unavailable", detail).retryAfter(2);
      }
      case "invalid-cursor":
        return Problem.badRequest("invalid cursor: use the 'next' of a listing");
      default:
        return Problem.internal(this);
    }
  }
}

/** The standard has one case for all errors; the text says more. */
function failure(thrown) {
  const error = host.reasonOf(thrown);
  if (error instanceof Error) return error;
  return error?.tag === "other" ? StoreError.told(error.val) : new StoreError("other", error?.tag);
}

function asked(call) {
  try {
    return call();
  } catch (error) {
    throw failure(error);
  }
}

export function toBytes(value) {
  const text = JSON.stringify(value);
  if (text === undefined) throw new StoreError("invalid", "a value is what JSON can say");
  return encode(text);
}

export function fromBytes(key, bytes) {
  if (bytes === null || bytes === undefined) return undefined;
  try {
    return JSON.parse(decode(bytesOf(bytes)));
  } catch (error) {
    throw new StoreError("other", `the value of '${key}' is not JSON: ${error.message}`);
  }
}

/** A named part of this window's store. */
export class Store {
  #bucket;

  constructor(name) {
    this.name = name;
    this.#bucket = asked(() => host.store.open(name));
  }

  get(key) {
    return fromBytes(key, asked(() => this.#bucket.get(key)));
  }

  getMany(keys) {
    const found = asked(() => host.batch.getMany(this.#bucket, keys));
    return found.map(([key, value]) => fromBytes(key, value));
  }

  set(key, value) {
    const bytes = toBytes(value);
    asked(() => this.#bucket.set(key, bytes));
  }

  setMany(values) {
    const pairs = Object.entries(values).map(([key, value]) => [key, toBytes(value)]);
    asked(() => host.batch.setMany(this.#bucket, pairs));
  }

  getBytes(key) {
    const value = asked(() => this.#bucket.get(key));
    return value === null ? undefined : bytesOf(value);
  }

  setBytes(key, value) {
    asked(() => this.#bucket.set(key, bytesOf(value)));
  }

  delete(key) {
    asked(() => this.#bucket.delete(key));
  }

  deleteMany(keys) {
    asked(() => host.batch.deleteMany(this.#bucket, keys));
  }

  has(key) {
    return asked(() => this.#bucket.exists(key));
  }

  page({ cursor, limit = 50 } = {}) {
    try {
      return page(cursor, limit, (at) => {
        const found = asked(() => this.#bucket.listKeys(at));
        return { keys: found.keys, next: found.cursor };
      });
    } catch (error) {
      if (error instanceof RangeError) throw new StoreError("invalid-cursor", error.message);
      throw error;
    }
  }

  *keys() {
    let cursor = null;
    do {
      const found = asked(() => this.#bucket.listKeys(cursor));
      yield* found.keys;
      cursor = found.cursor;
    } while (cursor !== null);
  }

  increment(key, by = 1) {
    return asked(() => host.atomics.increment(this.#bucket, key, by));
  }

  update(key, change) {
    let cas = asked(() => host.atomics.Cas.new(this.#bucket, key));
    for (let tries = 0; tries < UPDATE_TRIES; tries++) {
      const value = change(fromBytes(key, asked(() => cas.current())));
      const newer = swapped(cas, toBytes(value));
      if (newer === null) return value;
      cas = newer;
    }
    throw new StoreError("contended", `too many instances change '${key}' at once`);
  }

  compareAndSet(key, old, value) {
    const cas = asked(() => host.atomics.Cas.new(this.#bucket, key));
    const now = fromBytes(key, asked(() => cas.current()));
    if (JSON.stringify(now) !== JSON.stringify(old)) return false;
    return swapped(cas, toBytes(value)) === null;
  }
}

/** Null if it was written, or the newer one. */
function swapped(cas, bytes) {
  try {
    host.atomics.swap(cas, bytes);
    return null;
  } catch (thrown) {
    const error = host.reasonOf(thrown);
    if (error?.tag === "cas-failed") return error.val;
    throw failure(error?.tag === "store-error" ? error.val : error);
  }
}
