import { Body, bodyOf } from "./body.js";
import { Headers } from "./headers.js";

/** A request, as in the Fetch standard. */
export class Request extends Body {
  constructor(input, { method, headers, body, limit } = {}) {
    const from = input instanceof Request ? input : null;
    const [content, type] = body === undefined && from ? [from.body, null] : bodyOf(body);
    super(content, limit);
    this.url = from ? from.url : String(input);
    this.method = (method ?? from?.method ?? "GET").toUpperCase();
    const given = headers ?? from?.headers;
    this.headers = given instanceof Headers ? given : new Headers(given);
    if (type !== null && !this.headers.has("content-type")) this.headers.set("content-type", type);
  }
}
