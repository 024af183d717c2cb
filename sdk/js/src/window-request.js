import { entityTag, notModified } from "./conditional.js";
import { received } from "./event.js";
import { Problem } from "./problem.js";
import { Store } from "./store.js";
import { decode } from "./web/encoding.js";
import { Request } from "./web/request.js";

/** Bytes of a body that `json` and `text` read. */
const BODY_LIMIT = 1 << 20;

/** A request, as the gateway has checked it: a `Request` of the Fetch standard, and more. */
export class WindowRequest extends Request {
  #target;
  #authority;
  #unread;

  /** `headers` may be a function that reads them, as `authority` is. `unread` is the body of a GET. */
  constructor(method, target, headers, body, authority = () => null, unread = null) {
    super("", { headers, body, limit: BODY_LIMIT });
    this.isHead = method === "HEAD";
    this.method = this.isHead ? "GET" : method;
    this.#target = target;
    this.#authority = authority;
    this.#unread = unread;
  }

  /** The body to be sent on, as it is: that of a GET too, whose length the headers say. */
  passedOn() {
    if (this.#unread === null || !this.headers.has("content-length")) return super.passedOn();
    const body = this.#unread;
    this.#unread = null;
    return body;
  }

  tooLarge(limit) {
    return Problem.tooLarge(limit);
  }

  get url() {
    return `http://${this.authority ?? "window"}${this.#target}`;
  }

  /** The host that the client has asked, and its port; null if it said none. */
  get authority() {
    return this.#authority() ?? this.headers.get("host");
  }

  /** The raw path and query. */
  get target() {
    return this.#target;
  }

  get path() {
    return this.#target.split("?", 1)[0];
  }

  get query() {
    const at = this.#target.indexOf("?");
    return at < 0 ? "" : this.#target.slice(at + 1);
  }

  get segments() {
    return this.path.replace(/^\//, "").split("/").map(unescaped);
  }

  publicPath(path) {
    return (this.headers.get("x-forwarded-prefix") ?? "") + path;
  }

  param(name) {
    return this.params(name)[0];
  }

  params(name) {
    const values = [];
    for (const pair of this.query.split("&")) {
      const at = pair.indexOf("=");
      const key = at < 0 ? pair : pair.slice(0, at);
      if (pair !== "" && plain(key) === name) values.push(at < 0 ? "" : plain(pair.slice(at + 1)));
    }
    return values;
  }

  number(name, fallback) {
    const value = this.param(name);
    if (value === undefined) return fallback;
    const number = /^-?[0-9]+(\.[0-9]+)?$/.test(value) ? Number(value) : NaN;
    if (!Number.isFinite(number)) throw Problem.badRequest(`the parameter '${name}': '${value}' is not a number`);
    return number;
  }

  cookie(name) {
    // HTTP/2 may bring them in several fields.
    const fields = this.headers.raw().filter(([key]) => key === "cookie");
    for (const part of fields.flatMap(([, value]) => value.split(";"))) {
      const at = part.indexOf("=");
      if (at > 0 && part.slice(0, at).trim() === name) return part.slice(at + 1).trim();
    }
    return undefined;
  }

  caller() {
    const user = this.headers.get("x-hms-user");
    if (!user) throw Problem.unauthorized();
    const scopes = (this.headers.get("x-hms-scopes") ?? "").split(" ").filter(Boolean);
    return new Caller(user, scopes);
  }

  async json() {
    const text = await this.text();
    try {
      return JSON.parse(text);
    } catch (error) {
      throw Problem.badRequest(`the body is not JSON: ${error.message}`);
    }
  }

  notModified(version) {
    return notModified(this, version === undefined ? null : entityTag(version));
  }

  async event() {
    return received(this.headers, await this.bytes());
  }
}

/** The caller, as verified by the gateway. */
export class Caller {
  constructor(user, scopes) {
    this.user = user;
    this.scopes = scopes;
  }

  hasScope(scope) {
    return this.scopes.includes(scope);
  }

  store(name) {
    return new Store(`${name}/${this.user}`);
  }
}

function plain(text) {
  return unescaped(text.replaceAll("+", " "));
}

/** Percent-decoded; what is not UTF-8 is U+FFFD. */
function unescaped(text) {
  if (!text.includes("%")) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    const bytes = [];
    for (const [, hex, char] of text.matchAll(/%([0-9a-fA-F]{2})|([\s\S])/gu)) {
      if (hex) bytes.push(parseInt(hex, 16));
      else for (const byte of unescape(encodeURIComponent(char))) bytes.push(byte.charCodeAt(0));
    }
    return decode(Uint8Array.from(bytes));
  }
}
