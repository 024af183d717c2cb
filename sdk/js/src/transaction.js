// Changes of several keys, and events, that are committed together or not at all.
import { Event, ReceivedEvent } from "./event.js";
import * as host from "./host.js";
import { Problem } from "./problem.js";
import { fromBytes, StoreError, toBytes, UPDATE_TRIES } from "./store.js";
import { bytesOf, decode, encode } from "./web/encoding.js";

const MAX_EVENTS = 256;

/** A version that no key has: a check of it never holds. */
const NEVER = "0";

/** Why nothing was committed; only for `unknown` that is not certain. */
export class TransactionError extends Error {
  constructor(code, text) {
    super(text);
    this.name = "TransactionError";
    this.code = code;
  }

  problem() {
    switch (this.code) {
      case "outbox-full":
        return new Problem(507, "outbox-full", "the window's outbox is full");
      case "unknown": {
        console.error(this.message);
        const detail = "it is not known whether this was done: check before you retry";
        return new Problem(503, "outcome-unknown", detail).retryAfter(2);
      }
      case "repeated":
        return new Problem(409, "done-before", "this was done before");
      default:
        return Problem.internal(this);
    }
  }
}

/** Runs `run`, and commits all that it has written and emitted, or nothing. */
export function transaction(run) {
  let contended = "";
  for (let tries = 0; tries < UPDATE_TRIES; tries++) {
    const tx = new Transaction();
    let value;
    try {
      value = run(tx);
      if (typeof value?.then === "function") {
        throw new TypeError("what runs in a transaction cannot be async: it may run several times");
      }
    } catch (error) {
      // It may have seen its own effect, or a mixture of two states.
      const [repeated, key] = tx._wasMisled();
      if (repeated) return { value: undefined, eventIds: [], counters: [], repeated: true };
      if (key === null) throw error;
      contended = key;
      continue;
    }
    if (tx._onlyReads() && tx._seen.size < 2) {
      return { value, eventIds: [], counters: [], repeated: false };
    }
    const [done, key] = tx._commit(tx._whole());
    if (done !== null) {
      const { eventIds, counters, repeated } = done;
      return { value: repeated ? undefined : value, eventIds, counters, repeated };
    }
    contended = key;
  }
  throw new StoreError("contended", `too many instances change '${contended}' at once`);
}

/** One try of a transaction. */
export class Transaction {
  constructor() {
    this._seen = new Map();
    this._now = new Map();
    this._added = new Map();
    this._changes = [];
    this._events = [];
    this._cancel = [];
    this._once = null;
  }

  get(store, key) {
    return fromBytes(key, this.getBytes(store, key));
  }

  getBytes(store, key) {
    const at = id(store, key);
    if (this._now.has(at)) return this._now.get(at);
    if (!this._seen.has(at)) {
      const place = { bucket: store.name, key };
      const [entry] = asked(() => host.transactions.read([place]));
      this._seen.set(at, { place, entry: entry ?? null });
    }
    const { entry } = this._seen.get(at);
    const value = entry === null ? undefined : bytesOf(entry.value);
    return this._added.has(at) ? sum(key, value, this._added.get(at)) : value;
  }

  set(store, key, value) {
    this.setBytes(store, key, toBytes(value));
  }

  setBytes(store, key, value) {
    const bytes = bytesOf(value);
    this._changes.push({ tag: "set", val: [{ bucket: store.name, key }, bytes] });
    this._leaves(id(store, key), bytes);
  }

  delete(store, key) {
    this._changes.push({ tag: "delete", val: { bucket: store.name, key } });
    this._leaves(id(store, key), undefined);
  }

  increment(store, key, by = 1) {
    this._changes.push({ tag: "add", val: [{ bucket: store.name, key }, by] });
    const at = id(store, key);
    if (this._now.has(at)) this._now.set(at, sum(key, this._now.get(at), by));
    else this._added.set(at, (this._added.get(at) ?? 0) + by);
  }

  once(key) {
    const text = key instanceof ReceivedEvent ? key.onceKey : key;
    if (this._once !== null && this._once !== text) {
      throw new StoreError("invalid", "a transaction has one 'once' key");
    }
    this._once = text;
  }

  emit(event) {
    if (this._events.length >= MAX_EVENTS) {
      throw new StoreError("invalid", "a transaction emits at most 256 events");
    }
    this._events.push(event);
  }

  timer(type, subject, seconds, data) {
    const notBefore = Date.now() + Math.round(seconds * 1000);
    const options = { subject: subject || undefined, notBefore, name: timerName(type, subject) };
    this.emit(new Event(type, data, options));
  }

  cancel(type, subject) {
    this._cancel.push(timerName(type, subject));
  }

  _leaves(at, value) {
    this._now.set(at, value);
    this._added.delete(at);
  }

  _onlyReads() {
    const writes = this._changes.length + this._events.length + this._cancel.length;
    return writes === 0 && this._once === null;
  }

  _checks() {
    return [...this._seen.values()].map(({ place, entry }) => ({
      at: place,
      version: entry === null ? null : entry.version,
    }));
  }

  _whole() {
    return {
      checks: this._checks(),
      changes: this._changes,
      events: this._events.map(toHost),
      cancel: this._cancel,
      once: this._once,
    };
  }

  /** What was committed, or the key at which somebody was faster. */
  _commit(whole) {
    try {
      return [host.transactions.commit(whole), null];
    } catch (thrown) {
      const error = host.reasonOf(thrown);
      if (error?.tag === "conflict") return [null, error.val[0]?.key ?? ""];
      if (error?.tag === "unknown" && this._once !== null) {
        // The host knows by its 'once' whether it is there, if its disk has recovered.
        try {
          return [host.transactions.commit(whole), null];
        } catch {
          // What was said first.
        }
      }
      throw failure(error);
    }
  }

  /** Whether this was done before; or the key whose value is of another moment. */
  _wasMisled() {
    if (this._once === null && this._seen.size < 2) return [false, null];
    // So that nothing can be committed.
    const never = { at: { bucket: "", key: NEVER }, version: NEVER };
    const checks = [...this._checks(), never];
    try {
      const asked = { checks, changes: [], events: [], cancel: [], once: this._once };
      return [host.transactions.commit(asked).repeated, null];
    } catch (thrown) {
      const error = host.reasonOf(thrown);
      // More than the one that never holds.
      const conflict = error?.tag === "conflict" && this._seen.size > 0 && error.val.length > 1;
      return [false, conflict ? error.val[0].key : null];
    }
  }
}

function id(store, key) {
  return JSON.stringify([store.name, key]);
}

/** What a counter is after `by` was added. */
function sum(key, value, by) {
  const text = value === undefined ? "0" : decode(value);
  if (!/^-?[0-9]+$/.test(text)) throw new StoreError("invalid", `the value of '${key}' is not a number`);
  return encode(String(BigInt(text) + BigInt(by)));
}

/** The host's name of a timer. */
function timerName(type, subject) {
  if (type.includes("/")) {
    const text = `type: '${type}' is the name of a timer, which has no slash`;
    throw new TransactionError("event-refused", text);
  }
  return `${type}/${subject}`;
}

function toHost(event) {
  const [contentType, data] = event.payload();
  return {
    type: event.type,
    subject: event.subject ?? null,
    partitionKey: event.partitionKey ?? null,
    contentType,
    data,
    attributes: Object.entries(event.attributes),
    notBeforeMs: event.notBefore === undefined ? null : Number(event.notBefore),
    name: event.name ?? null,
  };
}

function asked(call) {
  try {
    return call();
  } catch (error) {
    throw failure(error);
  }
}

function failure(thrown) {
  const error = host.reasonOf(thrown);
  if (error instanceof Error) return error;
  const { tag, val } = error ?? {};
  switch (tag) {
    case "outbox-full":
      return new TransactionError("outbox-full", `the outbox: ${val}`);
    case "event-refused":
      return new TransactionError("event-refused", `the event: ${val}`);
    case "unknown":
      return new TransactionError("unknown", `the store: ${val}`);
    case "not-a-number": {
      const text = `the value of '${val.key}' is not a number of 64 bits, or would not be one`;
      return new StoreError("invalid", text);
    }
    case "too-large":
      return new StoreError("invalid", val);
    case "store-full":
      return new StoreError("store-full", val);
    case "conflict":
      return new StoreError("contended", "too many instances change it at once");
    default:
      return StoreError.told(val);
  }
}
