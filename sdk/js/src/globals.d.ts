// What is there without an import, for a project whose `lib` has neither DOM nor WebWorker.
declare var console: Record<"trace" | "debug" | "log" | "info" | "warn" | "error", (...values: unknown[]) => void> & {
  assert(holds: unknown, ...values: unknown[]): void;
};

declare function setTimeout(run: (...values: any[]) => void, ms?: number, ...values: unknown[]): number;
declare function clearTimeout(id: number): void;
declare function queueMicrotask(run: () => void): void;
declare function structuredClone<T>(value: T): T;
declare function atob(text: string): string;
declare function btoa(text: string): string;

declare var crypto: {
  getRandomValues<T extends ArrayBufferView>(array: T): T;
  randomUUID(): string;
};

declare class TextEncoder {
  readonly encoding: string;
  encode(text?: string): Uint8Array;
}

declare class TextDecoder {
  constructor(label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean });
  readonly encoding: string;
  decode(input?: ArrayBuffer | ArrayBufferView): string;
}

declare class URLSearchParams {
  constructor(init?: string | Record<string, string> | Iterable<[string, string]>);
  append(name: string, value: string): void;
  delete(name: string): void;
  get(name: string): string | null;
  getAll(name: string): string[];
  has(name: string): boolean;
  set(name: string, value: string): void;
  sort(): void;
  toString(): string;
  [Symbol.iterator](): IterableIterator<[string, string]>;
}

declare class URL {
  constructor(url: string | URL, base?: string | URL);
  hash: string;
  host: string;
  hostname: string;
  href: string;
  readonly origin: string;
  password: string;
  pathname: string;
  port: string;
  protocol: string;
  search: string;
  readonly searchParams: URLSearchParams;
  username: string;
  toString(): string;
}

declare var fetch: typeof import("./index.js").fetch;
declare var Headers: typeof import("./index.js").Headers;
declare type Headers = import("./index.js").Headers;
declare var Request: typeof import("./index.js").Request;
declare type Request = import("./index.js").Request;
declare var Response: typeof import("./index.js").Response;
declare type Response = import("./index.js").Response;

// The files of a folder, for `site` of @hms-svc/window.
declare module "site:*" {
  const files: ReadonlyMap<string, unknown>;
  export default files;
}
