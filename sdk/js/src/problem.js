import { Headers } from "./web/headers.js";
import { Response } from "./web/response.js";

const TITLES = {
  400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden",
  404: "Not Found", 405: "Method Not Allowed", 406: "Not Acceptable", 409: "Conflict", 410: "Gone",
  412: "Precondition Failed", 413: "Payload Too Large", 415: "Unsupported Media Type",
  422: "Unprocessable Entity", 425: "Too Early", 429: "Too Many Requests",
  500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway",
  503: "Service Unavailable", 504: "Gateway Timeout", 507: "Insufficient Storage",
  508: "Loop Detected",
};

/** A refusal or a failure, sent to the client as `application/problem+json`. Throw it. */
export class Problem extends Error {
  constructor(status, code, detail, headers) {
    super(detail);
    this.name = "Problem";
    this.status = status >= 200 && status <= 599 ? status : 500;
    this.code = code;
    this.detail = detail;
    this.headers = new Headers(headers);
  }

  static badRequest(detail) {
    return new Problem(400, "bad-request", detail);
  }

  static unauthorized() {
    return new Problem(
      401,
      "unauthorized",
      "authentication required: send a token as 'Authorization: Bearer TOKEN'",
      { "www-authenticate": 'Bearer realm="hms"' },
    );
  }

  static forbidden(detail) {
    return new Problem(403, "forbidden", detail);
  }

  static notFound() {
    return new Problem(404, "not-found", "not found");
  }

  static methodNotAllowed(allow) {
    return new Problem(405, "method-not-allowed", `allowed methods: ${allow}`, { allow });
  }

  static conflict(detail) {
    return new Problem(409, "conflict", detail);
  }

  static tooLarge(limit) {
    return new Problem(413, "body-too-large", `the request body is larger than ${limit} bytes`);
  }

  static reject(detail) {
    return new Problem(422, "rejected", detail);
  }

  static internal(cause) {
    console.error(`internal error: ${cause?.message ?? cause}`);
    return new Problem(
      500,
      "internal",
      "internal error; the window's log has the cause under this request ID",
    );
  }

  retryAfter(seconds) {
    this.headers.set("retry-after", Math.ceil(seconds));
    return this;
  }

  response(requestId) {
    const details = {
      type: `urn:hms:problem:${this.code}`,
      title: TITLES[this.status] ?? "Problem",
      status: this.status,
      detail: this.detail,
    };
    if (requestId) details["request-id"] = requestId;
    const response = Response.json(details, { status: this.status });
    response.headers.set("content-type", "application/problem+json");
    for (const [name, value] of this.headers) response.headers.set(name, value);
    return response;
  }
}
