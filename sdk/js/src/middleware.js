// A window that stands between a route and its upstream.
import { chain, reasonOf, types } from "./host.js";
import { Problem } from "./problem.js";
import { decode } from "./web/encoding.js";
import { Headers } from "./web/headers.js";
import { Response } from "./web/response.js";
import { fieldsOf, Passed, sendable } from "./wire.js";

/** A middleware of a function from a request and `next` to a response. */
export function middleware(handler) {
  if (typeof handler !== "function") {
    throw new TypeError("a middleware is a function from a request and `next` to a response");
  }
  return { fetch: (request) => handler(request, next) };
}

/**
 * Forwards the request and gives the answer. Bodies stream through. The instance waits for the
 * answer's head and does nothing meanwhile, so a body that was read cannot be sent on.
 */
async function next(request) {
  if (request.bodyUsed) throw new TypeError("a request whose body was read cannot be forwarded");
  const [contents, trailers] = sendable(request.passedOn());
  const [forwarded] = types.Request.new(fieldsOf(request.headers.raw()), contents, trailers, null);
  const method = request.isHead ? "HEAD" : request.method;
  forwarded.setMethod(METHODS.includes(method) ? { tag: method.toLowerCase() } : { tag: "other", val: method });
  forwarded.setPathWithQuery(request.target);
  forwarded.setScheme({ tag: "HTTP" });
  forwarded.setAuthority(request.authority);
  let answer;
  try {
    answer = chain.handle(forwarded);
  } catch (error) {
    const reason = reasonOf(error);
    if (reason instanceof Error) throw reason;
    throw new Problem(502, "no-answer", `the next handler did not answer: ${reason?.tag ?? reason}`);
  }
  const headers = Headers.fromHost(answer.getHeaders().copyAll(), decode);
  return Response.fromHost(answer.getStatusCode(), headers, new Passed(types.Response, answer));
}

const METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
