// Requests that a window makes: to services, and to other windows.
import { grantOf, grantOfWindow } from "./grant.js";
import { calls, reasonOf } from "./host.js";
import { Problem } from "./problem.js";
import { bodyOf } from "./web/body.js";
import { decode, encode } from "./web/encoding.js";
import { Headers } from "./web/headers.js";
import { Request } from "./web/request.js";
import { Response } from "./web/response.js";

const CHUNK = 65536;

/** Why there is no answer: `kind` is for branching. */
export class FetchError extends Error {
  constructor(target, kind, text, mayHaveArrived) {
    super(`${target}: ${text}`);
    this.name = "FetchError";
    this.kind = kind;
    this.mayHaveArrived = mayHaveArrived;
  }

  problem() {
    if (this.kind === "denied" || this.kind === "invalid") return Problem.internal(this);
    console.error(this.message);
    switch (this.kind) {
      case "timeout": {
        const detail = "a service that this needs did not answer in time; retry later";
        return new Problem(504, "service-timeout", detail);
      }
      case "limit":
        return new Problem(503, "service-limit", "too much is going on; retry shortly").retryAfter(2);
      case "loop":
        return new Problem(508, "loop-detected", "services call each other in a loop");
      default: {
        const detail = "a service that this needs is not available; retry later";
        return new Problem(502, "service-failed", detail);
      }
    }
  }
}

/** Sends a request to a service. */
export async function fetch(input, init = {}) {
  const url = input instanceof Request ? input.url : String(input);
  const found = /^(https?):\/\/([^/?#]+)([^#]*)/i.exec(url);
  if (!found) throw new FetchError(`'${url}'`, "invalid", "a URL begins with https:// and a host", false);
  const [, scheme, authority, rest] = found;
  const target = `${scheme.toLowerCase()}://${authority}`;
  const method = (init.method ?? input?.method ?? "GET").toUpperCase();
  const grant = grantOf(scheme.toLowerCase(), authority, method, rest);
  return send({ scheme: scheme.toUpperCase(), authority, path: rest, method, target, grant }, input, init);
}

/** Sends a request to another window of this host. */
export async function call(window, path, init = {}) {
  const target = `the window '${window}'`;
  // Anything else could name another host.
  if (!/^[a-z0-9-]+$/.test(window)) {
    const text = "a window's name has lower-case letters, digits and '-'";
    throw new FetchError(target, "invalid", text, false);
  }
  const method = (init.method ?? "GET").toUpperCase();
  const to = { scheme: "HTTP", authority: `hms-svc-${window}`, path, method, target };
  return send({ ...to, grant: grantOfWindow(window) }, null, init);
}

async function send(to, input, init) {
  const from = input instanceof Request ? input : null;
  const headers = new Headers(init.headers ?? from?.headers);
  let [body, type] = bodyOf(init.body ?? null);
  if (init.json !== undefined) [body, type] = [encode(JSON.stringify(init.json)), "application/json"];
  if (body === null && from) body = await from.bytes();
  if (body !== null && !(body instanceof Uint8Array)) body = await new Response(body).bytes();
  if (type !== null && !headers.has("content-type")) headers.set("content-type", type);
  if (body?.length > 0 && !headers.has("content-length")) headers.set("content-length", body.length);
  const { types, handler } = calls;
  let pending;
  try {
    const fields = types.Fields.fromList(headers.raw().map(([name, value]) => [name, encode(value)]));
    const request = new types.OutgoingRequest(fields);
    const path = to.path === "" || to.path.startsWith("?") ? `/${to.path}` : to.path;
    request.setMethod(methodOf(to.method));
    request.setScheme({ tag: to.scheme });
    request.setAuthority(to.authority);
    request.setPathWithQuery(path);
    const outgoing = request.body();
    pending = handler.handle(request, optionsOf(types, init.timeout));
    if (body?.length > 0) {
      const stream = outgoing.write();
      for (let at = 0; at < body.length; at += 4096) {
        stream.blockingWriteAndFlush(body.subarray(at, at + 4096));
      }
      drop(stream);
    }
    types.OutgoingBody.finish(outgoing, null);
  } catch (error) {
    // A body that is not taken: the answer says why.
    if (pending === undefined || reasonOf(error) instanceof Error) throw failure(to, error);
  }
  const pollable = pending.subscribe();
  await ready(pollable);
  drop(pollable);
  const outcome = pending.get();
  drop(pending);
  const answer = outcome?.val?.val;
  if (outcome?.tag !== "ok" || outcome.val.tag !== "ok") throw failure(to, answer);
  const fields = answer.headers();
  const received = Headers.fromHost(fields.entries(), decode);
  drop(fields);
  return Response.fromHost(answer.status(), received, chunks(answer));
}

async function* chunks(answer) {
  const body = answer.consume();
  const stream = body.stream();
  try {
    for (;;) {
      let chunk;
      try {
        chunk = stream.blockingRead(CHUNK);
      } catch (error) {
        if (reasonOf(error)?.tag === "closed") return;
        throw new Error("the body of the answer broke off", { cause: error });
      }
      if (chunk.length > 0) yield chunk;
    }
  } finally {
    drop(stream);
    drop(body);
    drop(answer);
  }
}

/** At once: the engine would drop a parent before its children. */
function drop(resource) {
  resource[Symbol.dispose]();
}

/** Calls that are waited for. They are waited for together, once nothing else is to be done. */
let waiting = [];

function ready(pollable) {
  return new Promise((resolve) => {
    waiting.push({ pollable, resolve });
    if (waiting.length === 1) later(8);
  });
}

/** After others that are ready to run have begun their calls. */
function later(rounds) {
  queueMicrotask(() => (rounds > 0 ? later(rounds - 1) : poll()));
}

function poll() {
  const done = new Set(calls.poll.poll(waiting.map(({ pollable }) => pollable)));
  const all = waiting;
  waiting = all.filter((_, index) => !done.has(index));
  for (const index of done) all[index].resolve();
  if (waiting.length > 0) later(8);
}

function methodOf(method) {
  const known = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
  return known.includes(method) ? { tag: method.toLowerCase() } : { tag: "other", val: method };
}

function optionsOf(types, ms) {
  if (ms === undefined) return null;
  const options = new types.RequestOptions();
  for (const shorten of ["setConnectTimeout", "setFirstByteTimeout"]) {
    try {
      options[shorten](Math.round(ms * 1e6));
    } catch {
      // A host that does not know it has a time of its own.
    }
  }
  return options;
}

const UNKNOWN_NAME = ["unavailable", false, "its name has no address: check how it is spelt"];
const UNREACHABLE = ["unavailable", false, "it cannot be reached now: try again later"];
const NO_CONNECTION = ["timeout", false, "no connection in time: try again later"];
const STOOD_STILL = ["timeout", true, "the transfer stalled"];
const TLS = ["tls", false, "TLS failed: check that its certificate is valid for its name"];
const BROKE = ["broken", true, "the connection broke before the end"];
const NO_URL = ["invalid", false, "its URL cannot be sent: check it"];

const CODES = {
  "destination-IP-prohibited": [
    "denied",
    false,
    "its address is not of the public internet: ask the operator to add its network to the entry in windows/NAME.yaml, as in 'private: [10.1.0.0/16]'",
  ],
  "loop-detected": ["loop", false, "call loop, or call chain more than 4 deep: leave out the call that leads back"],
  "connection-timeout": NO_CONNECTION,
  "DNS-timeout": NO_CONNECTION,
  "HTTP-response-timeout": ["timeout", true, "no answer in time"],
  "connection-read-timeout": STOOD_STILL,
  "connection-write-timeout": STOOD_STILL,
  "connection-limit-reached": ["limit", false, "this window or this request has reached its call limit: make fewer calls, or try again shortly"],
  "HTTP-request-body-size": ["limit", true, "the body of the request is too large"],
  "HTTP-response-body-size": ["limit", true, "the body of the answer is too large"],
  "connection-refused": ["refused", false, "it refuses connections: check its port, and that it runs"],
  "DNS-error": UNKNOWN_NAME,
  "destination-not-found": UNKNOWN_NAME,
  "destination-unavailable": UNREACHABLE,
  "destination-IP-unroutable": UNREACHABLE,
  "TLS-protocol-error": TLS,
  "TLS-certificate-error": TLS,
  "TLS-alert-received": TLS,
  "connection-terminated": BROKE,
  "HTTP-response-incomplete": BROKE,
  "HTTP-protocol-error": ["broken", true, "its answer is not valid HTTP"],
  "HTTP-request-URI-invalid": NO_URL,
  "HTTP-request-URI-too-long": NO_URL,
  "HTTP-request-method-invalid": ["invalid", false, "its method cannot be sent"],
};

function failure(to, thrown) {
  const error = reasonOf(thrown);
  if (error instanceof Error) return new FetchError(to.target, "invalid", error.message, false);
  const tag = error?.tag ?? "no answer";
  if (tag === "HTTP-request-denied") {
    const text =
      "the host refuses it, and this window's log says why. If nothing grants it, ask the operator to add " +
      `to this window's file in windows/: ${to.grant}`;
    return new FetchError(to.target, "denied", text, false);
  }
  if (tag === "internal-error") {
    return new FetchError(to.target, "other", error.val ?? "the host could not make the call", true);
  }
  const [kind, mayHaveArrived, text] = CODES[tag] ?? ["other", true, tag];
  return new FetchError(to.target, kind, text, mayHaveArrived);
}
