import { Body, bodyOf } from "./body.js";
import { encode } from "./encoding.js";
import { Headers } from "./headers.js";

/** An answer, as in the Fetch standard. */
export class Response extends Body {
  constructor(body = null, { status = 200, statusText = "", headers } = {}) {
    const [content, type] = bodyOf(body);
    super(content);
    if (!Number.isInteger(status) || status < 200 || status > 599) {
      throw new RangeError(`${status} is not a valid response status`);
    }
    this.status = status;
    this.statusText = statusText;
    this.headers = headers instanceof Headers ? new Headers(headers.raw()) : new Headers(headers);
    if (type !== null && !this.headers.has("content-type")) this.headers.set("content-type", type);
  }

  /** An answer of a service. */
  static fromHost(status, headers, body) {
    const response = new Response(body, { status: status < 200 ? 200 : status });
    response.status = status;
    response.headers = headers;
    return response;
  }

  static json(value, init = {}) {
    const response = new Response(encode(JSON.stringify(value)), init);
    if (!response.headers.has("content-type")) {
      response.headers.set("content-type", "application/json");
    }
    return response;
  }

  static redirect(url, status = 302) {
    return new Response(null, { status, headers: { location: String(url) } });
  }

  get ok() {
    return this.status >= 200 && this.status < 300;
  }
}
