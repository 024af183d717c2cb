// Bodies between the host and the window.
import { types } from "./host.js";
import { explained } from "./explained.js";
import { encode } from "./web/encoding.js";

// The world has one future of each of these shapes. Its name depends on what else is in the world.
const future = (shape) => wit.Future[Object.keys(wit.Future.types).find((name) => name.startsWith(shape))];
const TRAILERS = future("RESULT_OPTION_");
const DONE = future("RESULT_VOID_");

/** The body of a message of the host: an async iterable of bytes, which can also be sent on unread. */
export class Passed {
  #kind;
  #message;
  #before;

  /** `before` is called before the message is taken apart: what it has beside the body goes with it. */
  constructor(kind, message, before = () => {}) {
    this.#kind = kind;
    this.#message = message;
    this.#before = before;
  }

  /** Its stream, and the trailers behind it. */
  taken() {
    this.#before();
    return this.#kind.consumeBody(this.#message, wit.Future.from({ tag: "ok" }, DONE).readable);
  }

  async *[Symbol.asyncIterator]() {
    const [stream, trailers] = this.taken();
    try {
      for await (const chunk of stream) yield chunk;
    } catch (error) {
      trailers.drop();
      throw error;
    }
    const outcome = await trailers.read();
    if (outcome?.tag === "err") throw new Error(`the body broke off: ${outcome.val?.tag}`);
  }
}

/** A body as the host takes it: a stream or null, and trailers. It is written beside whatever else happens. */
export function sendable(body) {
  if (body instanceof Passed) return body.taken();
  const trailers = wit.Future.from({ tag: "ok", val: null }, TRAILERS).readable;
  if (body === null || (body instanceof Uint8Array && body.length === 0)) return [null, trailers];
  const { readable, writable } = wit.Stream(wit.Stream.U8);
  write(writable, body);
  return [readable, trailers];
}

async function write(writable, body) {
  try {
    if (body instanceof Uint8Array) {
      await writable.writeAll(body);
      return;
    }
    for await (const chunk of body) {
      await writable.writeAll(typeof chunk === "string" ? encode(chunk) : chunk);
    }
  } catch (error) {
    console.error(explained(error));
  } finally {
    writable.drop();
  }
}

/** Header fields as the host takes them. */
export function fieldsOf(pairs) {
  return types.Fields.fromList(pairs.map(([name, value]) => [name, encode(value)]));
}
