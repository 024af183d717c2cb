// From the host's call to the author's function, and back.
import { explained } from "./explained.js";
import { types } from "./host.js";
import { Problem } from "./problem.js";
import { decode } from "./web/encoding.js";
import { Headers } from "./web/headers.js";
import { Response } from "./web/response.js";
import { fieldsOf, Passed, sendable } from "./wire.js";
import { WindowRequest } from "./window-request.js";

/** Answers one request by the author's `fetch`. */
export async function serve(app, request) {
  const headers = once(() => Headers.fromHost(request.getHeaders().copyAll(), decode));
  const authority = once(() => request.getAuthority());
  // They go with the request.
  const read = () => [headers(), authority()];
  try {
    const method = methodOf(request.getMethod());
    const target = request.getPathWithQuery() ?? "/";
    const passed = new Passed(types.Request, request, read);
    const [body, unread] = method === "GET" || method === "HEAD" ? [null, passed] : [passed, null];
    const response = await app.fetch(new WindowRequest(method, target, headers, body, authority, unread));
    if (!(response instanceof Response)) {
      throw new TypeError("the window's function returned no Response");
    }
    return sent(response);
  } catch (error) {
    return sent(failure(error).response(headers().get("x-request-id")));
  }
}

/** What `read` gives, read when it is asked for first: most windows need few headers. */
function once(read) {
  let value;
  return () => (value === undefined ? (value = read()) : value);
}

/** What a client is told of what the function has thrown. */
function failure(error) {
  if (error instanceof Problem) return error;
  if (typeof error?.problem === "function") return error.problem();
  console.error(explained(error));
  const detail = "internal error; the window's log has the cause under this request ID";
  return new Problem(500, "internal", detail);
}

function methodOf(method) {
  return method.tag === "other" ? method.val : method.tag.toUpperCase();
}

function sent(response) {
  const body = response.body;
  const fields = [...response.headers.raw()];
  if (body === null || body instanceof Uint8Array) {
    if (!response.headers.has("content-length") && ![204, 304].includes(response.status)) {
      fields.push(["content-length", String(body?.length ?? 0)]);
    }
  }
  const [contents, trailers] = sendable(body);
  const [answer] = types.Response.new(fieldsOf(fields), contents, trailers);
  answer.setStatusCode(response.status);
  return answer;
}
