// From the host's call to the author's function, and back.
import { explained } from "./explained.js";
import { types } from "./host.js";
import { Problem } from "./problem.js";
import { decode, encode } from "./web/encoding.js";
import { Headers } from "./web/headers.js";
import { Response } from "./web/response.js";
import { WindowRequest } from "./window-request.js";

// The world has one future of each of these shapes. Its name depends on what else is in the world.
const future = (shape) => wit.Future[Object.keys(wit.Future.types).find((name) => name.startsWith(shape))];
const TRAILERS = future("RESULT_OPTION_");
const DONE = future("RESULT_VOID_");

/** Answers one request by the author's `fetch`. */
export async function serve(app, request) {
  const headers = once(() => Headers.fromHost(request.getHeaders().copyAll(), decode));
  try {
    const method = methodOf(request.getMethod());
    const target = request.getPathWithQuery() ?? "/";
    const body = method === "GET" || method === "HEAD" ? null : received(request, headers);
    const response = await app.fetch(new WindowRequest(method, target, headers, body));
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
  return () => (value ??= read());
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

/** A body as it comes. */
async function* received(request, headers) {
  // They go with the request.
  headers();
  const [stream, trailers] = types.Request.consumeBody(request, done());
  try {
    for await (const chunk of stream) yield chunk;
  } catch (error) {
    trailers.drop();
    throw error;
  }
  const outcome = await trailers.read();
  if (outcome?.tag === "err") throw new Error(`the body broke off: ${outcome.val?.tag}`);
}

function done() {
  return wit.Future.from({ tag: "ok" }, DONE).readable;
}

function sent(response) {
  const body = response.body;
  const fields = response.headers.raw().map(([name, value]) => [name, encode(value)]);
  const whole = body instanceof Uint8Array ? body : null;
  const hasBody = body !== null && (whole === null || whole.length > 0);
  if (!hasBody || whole !== null) {
    if (!response.headers.has("content-length") && ![204, 304].includes(response.status)) {
      fields.push(["content-length", encode(String(whole?.length ?? 0))]);
    }
  }
  const trailers = wit.Future.from({ tag: "ok", val: null }, TRAILERS).readable;
  let contents = null;
  if (hasBody) {
    const { readable, writable } = wit.Stream(wit.Stream.U8);
    contents = readable;
    write(writable, whole ?? body);
  }
  const [answer] = types.Response.new(types.Fields.fromList(fields), contents, trailers);
  answer.setStatusCode(response.status);
  return answer;
}

/** Beside whatever else happens. */
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
