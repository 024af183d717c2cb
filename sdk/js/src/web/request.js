import { Body, bodyOf } from "./body.js";
import { Headers } from "./headers.js";

/** A request, as in the Fetch standard. */
export class Request extends Body {
  #url;
  #headers;

  constructor(input, { method, headers, body, limit } = {}) {
    const from = input instanceof Request ? input : null;
    const [content, type] = body === undefined && from ? [from.body, null] : bodyOf(body);
    super(content, limit);
    this.method = (method ?? from?.method ?? "GET").toUpperCase();
    this.#url = from ? from.url : input;
    // A function, where they are only read when they are asked for.
    this.#headers = headers ?? (from ? new Headers(from.headers) : undefined);
    if (type !== null && !this.headers.has("content-type")) this.headers.set("content-type", type);
  }

  get url() {
    return String(this.#url);
  }

  get headers() {
    if (typeof this.#headers === "function") this.#headers = this.#headers();
    if (!(this.#headers instanceof Headers)) this.#headers = new Headers(this.#headers);
    return this.#headers;
  }
}
