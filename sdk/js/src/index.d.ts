/// <reference path="./globals.d.ts" />

/** What a module exports as its default: `export default window(…)`. */
export interface Window {
  fetch(request: WindowRequest): Response | Promise<Response>;
}

/**
 * A window of a function from a request to a response, or of an object with `fetch`. What it throws
 * is an answer: a `Problem` as it says, and anything else 500, with the stack in the window's log.
 */
export function window(
  handler: ((request: WindowRequest) => Response | Promise<Response>) | Window,
): Window;

/** What comes after a middleware: further ones, then the window or service of the route. */
export type Next = (request: WindowRequest) => Promise<Response>;

/**
 * A middleware: a window that stands between a route and its upstream. It answers by
 * `next(request)`, or itself. Bodies stream through; a request whose body was read cannot be
 * forwarded. Each request needs an instance of its own: do not set `--reuse`.
 */
export function middleware(
  handler: (request: WindowRequest, next: Next) => Response | Promise<Response>,
): Window;

/** The files of a folder: `import files from "site:../dist"`. */
export type SiteFiles = ReadonlyMap<string, unknown>;

/**
 * Answers with the files of a site: `export default window(site(files))`. `/` is `index.html`,
 * `/guide/` is `guide/index.html`, and `404.html` is what else is answered. Files are compressed
 * when the window is built; there are entity tags, ranges and a strict Content-Security-Policy.
 */
export function site(files: SiteFiles, options?: {
  /** Navigations to paths that are not there get `index.html`, whose script knows what to show. */
  singlePage?: boolean;
  /** Another `Content-Security-Policy` of the pages. */
  csp?: string;
}): (request: WindowRequest) => Response;

/** An entity tag (`ETag`) of a version number, a hash or an id: any text. */
export function entityTag(version: string | number): string;

export type BodyInit =
  | string
  | ArrayBuffer
  | ArrayBufferView
  | AsyncIterable<Uint8Array | string>
  | URLSearchParams
  | null;
export type HeadersInit = Headers | Record<string, string> | Iterable<[string, string]>;

/** Header fields, as in the Fetch standard. Names are compared without regard to case. */
export class Headers {
  constructor(init?: HeadersInit);
  append(name: string, value: string): void;
  delete(name: string): void;
  /** All values of this name, with `, ` between them; null if there is none. */
  get(name: string): string | null;
  getSetCookie(): string[];
  has(name: string): boolean;
  set(name: string, value: string | number): void;
  forEach(each: (value: string, name: string, headers: Headers) => void): void;
  entries(): IterableIterator<[string, string]>;
  keys(): IterableIterator<string>;
  values(): IterableIterator<string>;
  [Symbol.iterator](): IterableIterator<[string, string]>;
}

/** A body, which can be read once. */
interface Body {
  /** As it comes: chunks of bytes. Unlike in the Fetch standard it has no `getReader`. */
  readonly body: AsyncIterable<Uint8Array> | Uint8Array | null;
  readonly bodyUsed: boolean;
  arrayBuffer(): Promise<ArrayBuffer>;
  bytes(): Promise<Uint8Array>;
  json(): Promise<any>;
  text(): Promise<string>;
}

/** A request, as in the Fetch standard, without `signal`, `mode` and what else is a browser's. */
export class Request implements Body {
  constructor(input: string | URL | Request, init?: { method?: string; headers?: HeadersInit; body?: BodyInit });
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
  readonly body: AsyncIterable<Uint8Array> | Uint8Array | null;
  readonly bodyUsed: boolean;
  arrayBuffer(): Promise<ArrayBuffer>;
  bytes(): Promise<Uint8Array>;
  json(): Promise<any>;
  text(): Promise<string>;
}

/** An answer, as in the Fetch standard. */
export class Response implements Body {
  constructor(body?: BodyInit, init?: { status?: number; statusText?: string; headers?: HeadersInit });
  static json(value: unknown, init?: { status?: number; headers?: HeadersInit }): Response;
  static redirect(url: string | URL, status?: number): Response;
  readonly status: number;
  readonly statusText: string;
  readonly ok: boolean;
  readonly headers: Headers;
  readonly body: AsyncIterable<Uint8Array> | Uint8Array | null;
  readonly bodyUsed: boolean;
  arrayBuffer(): Promise<ArrayBuffer>;
  bytes(): Promise<Uint8Array>;
  json(): Promise<any>;
  text(): Promise<string>;
}

/** A request, as the gateway has checked it. No client can forge headers that begin with `x-hms-`. */
export class WindowRequest extends Request {
  /** GET for a HEAD request as well, because both want the same answer; see `isHead`. */
  readonly method: string;
  /** Whether this is a HEAD request: the answer's body will not be sent. */
  readonly isHead: boolean;
  /** The raw path, without the query: `/payments/42`. */
  readonly path: string;
  /** The raw query, without the question mark. */
  readonly query: string;
  /** The segments of the path, percent-decoded: `["payments", "42"]`; `/` is `[""]`. */
  readonly segments: string[];
  /** `path` as the client must write it: with the prefix that the gateway stripped. */
  publicPath(path: string): string;
  /** A query parameter; the first if there are several. */
  param(name: string): string | undefined;
  /** All values of a query parameter. */
  params(name: string): string[];
  /** A query parameter that is a number, or `fallback`; 400 if it is not a number. */
  number(name: string, fallback: number): number;
  number(name: string): number | undefined;
  cookie(name: string): string | undefined;
  /** The host that the client has asked, and its port. */
  readonly authority: string | null;
  /**
   * Holds the conditions of the request (`If-Match`, `If-None-Match`) against the version of what
   * is there now, as in `entityTag(version)`, or undefined for nothing. True in a GET: answer 304,
   * the client has it. Throws 412 where a condition fails. For a change, call it in `update` or in
   * a transaction.
   */
  notModified(version: string | number | undefined): boolean;
  /** The caller, as verified by the gateway; 401 if the request has none. */
  caller(): Caller;
  /** The body as JSON, up to 1 MiB (413); 400 if it is not JSON. */
  json(): Promise<any>;
  /**
   * The event of this delivery; 403 if a client has sent it. Answer with 2xx when it is done. 408,
   * 409, 425, 429 and 5xx are tried again, any other 4xx, such as `Problem.reject`, parks the
   * event.
   */
  event(): Promise<ReceivedEvent>;
}

/** The caller, as verified by the gateway. */
export interface Caller {
  /** Issuer and subject in one name. Compare it as a whole. */
  readonly user: string;
  readonly scopes: string[];
  hasScope(scope: string): boolean;
  /** This caller's own part `name` of the store: no slash, at most 190 bytes. */
  store(name: string): Store;
}

/**
 * A refusal or a failure, sent to the client as `application/problem+json`. Throw it. Clients
 * depend on the code, so never change one; `detail` is a sentence for people.
 */
export class Problem extends Error {
  constructor(status: number, code: string, detail: string, headers?: HeadersInit);
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly headers: Headers;
  /** 400: the request is wrong, and `detail` says where. */
  static badRequest(detail: string): Problem;
  /** 401: a caller is required, and the request has none. */
  static unauthorized(): Problem;
  /** 403: this caller may not do it. */
  static forbidden(detail: string): Problem;
  /** 404: it does not exist, or this caller may not know of it. */
  static notFound(): Problem;
  /** 405, with the header `Allow`: `Problem.methodNotAllowed("GET, HEAD, POST")`. */
  static methodNotAllowed(allow: string): Problem;
  /** 409: it contradicts the current state. */
  static conflict(detail: string): Problem;
  /** 413: the body is larger than `limit` bytes. */
  static tooLarge(limit: number): Problem;
  /** 422: it will never be accepted as it is. An event that is answered so is parked at once. */
  static reject(detail: string): Problem;
  /** 500. `cause` goes to the window's log, not to the client. */
  static internal(cause: unknown): Problem;
  /** The same, saying when to try again at the earliest (`Retry-After`). */
  retryAfter(seconds: number): Problem;
}

/** A few keys, in the order of their bytes. */
export interface Page {
  keys: string[];
  /** What to hand in for the keys after these; null when these are the last. It is opaque. */
  next: string | null;
}

/**
 * A named part of this window's store, of any name up to 512 bytes. No other window reaches it.
 * Values are JSON, up to 4 MiB; a key is any text of 1 byte to 1 KiB. A write is on disk when it
 * returns.
 */
export class Store {
  constructor(name: string);
  readonly name: string;
  /** The value at `key`, or undefined. */
  get<T = any>(key: string): T | undefined;
  getMany<T = any>(keys: string[]): (T | undefined)[];
  set(key: string, value: unknown): void;
  /** Sets several keys, all or none. */
  setMany(values: Record<string, unknown>): void;
  getBytes(key: string): Uint8Array | undefined;
  setBytes(key: string, value: ArrayBuffer | ArrayBufferView): void;
  delete(key: string): void;
  deleteMany(keys: string[]): void;
  has(key: string): boolean;
  /** Up to `limit` keys (50), from the start or from the `next` of the previous page. */
  page(options?: { cursor?: string | null; limit?: number }): Page;
  /** All keys. */
  keys(): IterableIterator<string>;
  /** Adds to the number at `key`, 0 if missing, and returns the sum: numbers up to 2^53. */
  increment(key: string, by?: number): number;
  /**
   * Replaces the value at `key` with what `change` makes of it. If another instance was faster, it
   * is called again with the newer value, so it must not have side effects.
   */
  update<T = any>(key: string, change: (old: T | undefined) => T): T;
  /** Sets `key` to `value` if its value is `old` (undefined: there is none). Whether it did. */
  compareAndSet(key: string, old: unknown, value: unknown): boolean;
}

/** Why a store operation failed. A window that does not catch it answers with the right problem. */
export class StoreError extends Error {
  readonly code: "store-full" | "store-unavailable" | "contended" | "invalid" | "invalid-cursor" | "other";
}

/**
 * Runs `run` as a part of the work with this name, in the trace of the request: `hms requests`
 * shows it with its time, and it is exported. It ends with `run`, or with the promise that `run`
 * returns, and has failed if that throws. What the window asks its host for meanwhile is below it.
 * The name says what is done and not for whom. A component that uses it runs on no other host.
 */
export function span<T>(name: string, run: () => T): T;

/**
 * Runs `run`, and commits all that it has written and emitted, or nothing. If another instance has
 * changed meanwhile what it has read, it runs again, up to 64 times: it must not have side effects,
 * and is not async. What it throws ends the transaction, and nothing is written.
 */
export function transaction<T>(run: (tx: Transaction) => T): Committed<T>;

export interface Committed<T> {
  /** What the function returned; undefined if it was `repeated`. */
  value: T | undefined;
  eventIds: string[];
  counters: number[];
  /** It was committed before under the same `once`: nothing was done now. */
  repeated: boolean;
}

/** One try of a transaction: at most 256 keys read, 1,024 changes, 256 events, and 16 MiB. */
export interface Transaction {
  /** The value at `key`, as this transaction leaves it so far. It is checked at the commit. */
  get<T = any>(store: Store, key: string): T | undefined;
  getBytes(store: Store, key: string): Uint8Array | undefined;
  set(store: Store, key: string, value: unknown): void;
  setBytes(store: Store, key: string, value: ArrayBuffer | ArrayBufferView): void;
  delete(store: Store, key: string): void;
  /** Adds to a counter. The sum is in `counters` of the result. */
  increment(store: Store, key: string, by?: number): void;
  /** Commits this once for `key`: `tx.once(event)` makes a second delivery change nothing. */
  once(key: string | ReceivedEvent): void;
  emit(event: Event): void;
  /** An event that comes after `seconds`, in place of one of the same type and subject. */
  timer(type: string, subject: string, seconds: number, data?: unknown): void;
  /** Cancels the timer of that type and subject, if it waits. */
  cancel(type: string, subject: string): void;
}

/** Why nothing was committed; only for `unknown` that is not certain. */
export class TransactionError extends Error {
  readonly code: "outbox-full" | "event-refused" | "unknown" | "repeated";
}

export interface EventOptions {
  /** What it is about. Events of the same subject are delivered in order. */
  subject?: string;
  /** What its order is by, in place of the subject. */
  partitionKey?: string;
  /** `application/json` if nothing is said. */
  contentType?: string;
  /** More attributes, which filters can use: names of 1 to 20 of `a-z` and `0-9`. */
  attributes?: Record<string, string>;
  /** Not before this time. */
  notBefore?: Date | number;
}

/**
 * Something that has happened, for whoever subscribes to it: a CloudEvent, which a transaction
 * emits. End the type with a version. Data are bytes as they are, or JSON, up to 64 KiB.
 */
export class Event {
  constructor(type: string, data?: unknown, options?: EventOptions);
}

/** An event that the host has delivered to this window. */
export interface ReceivedEvent {
  readonly id: string;
  /** Who has emitted it: `urn:hms:window:NAME`. The host vouches for it. */
  readonly source: string;
  readonly type: string;
  readonly subject: string | undefined;
  readonly time: string | undefined;
  /** Its place among the events of its source: 1, 2, 3, without gaps. 0 if it has none. */
  readonly sequence: number;
  readonly attributes: Record<string, string>;
  readonly data: Uint8Array;
  readonly contentType: string | undefined;
  /** The subscription of this window by which it came. */
  readonly subscription: string;
  /** How often it was tried, this time included. */
  readonly attempt: number;
  /** 0, or the number of the replay that an operator has started. */
  readonly replayRound: number;
  /** The data as JSON; 422 if they are not JSON, which parks the event. */
  json(): any;
}

/** A value of `config` in this window's `windows/NAME.yaml`, as it is now. */
export function config(name: string): string | undefined;

/** A secret of this window's `windows/NAME.yaml`. Prefer `inject` in the file. */
export function secret(name: string): Secret | undefined;

/** A secret, which does not show itself in a log by accident. */
export interface Secret {
  expose(): string;
}

export interface FetchInit {
  method?: string;
  headers?: HeadersInit;
  body?: BodyInit;
  /** Sent as the body. */
  json?: unknown;
  /** Milliseconds until the answer begins; it can only shorten what the host allows. */
  timeout?: number;
}

/**
 * Sends a request to a service that the operator has granted in `windows/NAME.yaml`. Redirects are
 * not followed. A status such as 404 or 500 is an answer, not an error.
 */
export function fetch(input: string | URL | Request, init?: FetchInit): Promise<Response>;

/** Sends a request to another window of this host: `await call("docs", "/docs/7")`. */
export function call(window: string, path: string, init?: FetchInit): Promise<Response>;

/** Why there is no answer, as a sentence that says what to do, for the log. */
export class FetchError extends Error {
  readonly kind:
    | "denied" | "loop" | "timeout" | "limit" | "refused" | "unavailable" | "tls" | "broken" | "invalid" | "other";
  /** If not, even a request that must not be done twice can be sent again. */
  readonly mayHaveArrived: boolean;
}

/** A new UUID, version 7: its text sorts by the millisecond of its creation. */
export function newId(): string;

/** Waits. This time counts as the instance's wall time. */
export function sleep(ms: number): Promise<void>;
