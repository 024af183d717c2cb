import { bytesOf, decode, encode } from "./encoding.js";

/** What a request and a response have in common: a body, which is read once. */
export class Body {
  #body;
  #used = false;
  #limit = Infinity;

  /** `body` is bytes, null, or an async iterable of bytes. */
  constructor(body, limit = Infinity) {
    this.#body = body;
    this.#limit = limit;
  }

  /** The body as it comes: an async iterable of `Uint8Array`, or null. */
  get body() {
    if (this.#body === null) return null;
    return this.#take();
  }

  get bodyUsed() {
    return this.#used;
  }

  /** The body to be sent on, as it is. */
  passedOn() {
    return this.#take();
  }

  async bytes() {
    const body = this.#take();
    if (body === null) return new Uint8Array();
    if (body instanceof Uint8Array) {
      if (body.length > this.#limit) throw this.tooLarge(this.#limit);
      return body;
    }
    const chunks = [];
    let length = 0;
    for await (const chunk of body) {
      const bytes = typeof chunk === "string" ? encode(chunk) : bytesOf(chunk);
      chunks.push(bytes);
      length += bytes.length;
      if (length > this.#limit) throw this.tooLarge(this.#limit);
    }
    if (chunks.length === 1) return chunks[0];
    const all = new Uint8Array(length);
    let at = 0;
    for (const chunk of chunks) {
      all.set(chunk, at);
      at += chunk.length;
    }
    return all;
  }

  async arrayBuffer() {
    const bytes = await this.bytes();
    return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  }

  async text() {
    return decode(await this.bytes());
  }

  async json() {
    return JSON.parse(await this.text());
  }

  tooLarge(limit) {
    return new RangeError(`the body has more than ${limit} bytes`);
  }

  #take() {
    if (this.#used) throw new TypeError("the body was read before");
    if (this.#body !== null) this.#used = true;
    return this.#body;
  }
}

/** A body of what an author may give, and the content type that it implies. */
export function bodyOf(value) {
  if (value === null || value === undefined) return [null, null];
  if (typeof value === "string") return [encode(value), "text/plain;charset=UTF-8"];
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return [bytesOf(value), null];
  if (value.constructor?.name === "URLSearchParams") {
    return [encode(value.toString()), "application/x-www-form-urlencoded;charset=UTF-8"];
  }
  if (typeof value[Symbol.asyncIterator] === "function") return [value, null];
  return [encode(String(value)), "text/plain;charset=UTF-8"];
}
