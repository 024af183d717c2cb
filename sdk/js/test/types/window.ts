// What the declarations promise, checked by `tsc`: nothing here runs.
import {
  call,
  config,
  entityTag,
  Event,
  fetch as send,
  FetchError,
  middleware,
  newId,
  Problem,
  secret,
  site,
  sleep,
  span,
  Store,
  StoreError,
  transaction,
  TransactionError,
  window,
  type Committed,
  type Next,
  type ReceivedEvent,
  type SiteFiles,
  type WindowRequest,
} from "@hms-svc/window";

interface Note {
  title: string;
}

export const handler = window(async (request: WindowRequest): Promise<Response> => {
  const notes: Store = request.caller().store("notes");
  const found: Note | undefined = notes.get<Note>("a");
  // @ts-expect-error: there may be none
  found.title;
  const limit: number = request.number("limit", 20);
  // @ts-expect-error: there may be none, and no other was given
  const none: number = request.number("limit");
  const page = notes.page({ cursor: request.param("cursor"), limit });
  const titles = notes.getMany<Note>(page.keys).map((note) => note?.title);
  // @ts-expect-error: a status is a number
  new Response("", { status: "200" });
  return Response.json({ titles, next: page.next, none }, { headers: { etag: entityTag(limit) } });
});

// @ts-expect-error: a handler answers
window(() => "hello");

export const between = middleware(async (request: WindowRequest, next: Next) => {
  const answer = await next(request);
  answer.headers.set("x-change", newId());
  return answer;
});

export const files = (embedded: SiteFiles, request: WindowRequest): Response =>
  site(embedded, { singlePage: true })(request);

export async function asks(received: ReceivedEvent): Promise<number> {
  const url: string = config("rates-url") ?? "https://rates.example";
  const key: string | undefined = secret("key")?.expose();
  try {
    const answer = await span("rates", () => send(url, { method: "POST", json: { key }, timeout: 1000 }));
    await call("docs", "/docs/7");
    await sleep(1);
    return answer.status;
  } catch (error) {
    if (error instanceof FetchError && error.kind === "timeout") throw new Problem(504, "slow", "later").retryAfter(2);
    // @ts-expect-error: there is no such kind
    if (error instanceof FetchError && error.kind === "late") return 0;
    if (error instanceof StoreError && error.code === "contended") return 0;
    if (error instanceof TransactionError && error.code === "repeated") return received.sequence;
    throw error;
  }
}

export function changes(notes: Store, received: ReceivedEvent): Committed<string> {
  return transaction((tx) => {
    tx.once(received);
    tx.set(notes, "a", { title: "b" });
    tx.emit(new Event("note.changed.v1", { id: "a" }, { subject: "a" }));
    // @ts-expect-error: a bucket is no store
    tx.delete("notes", "a");
    return "a";
  });
}

// Without an import, in a project without the DOM.
console.log(crypto.randomUUID(), new URL("https://a.example").searchParams, structuredClone({ a: 1 }));
// @ts-expect-error: that is of a browser
document.title;
