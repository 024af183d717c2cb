// The middleware {{name}}: it asks for a reason where something is deleted, keeps who changed what,
// and adds a header to the answer. It stands in every route with `- wasm: {window: {{name}}}`.
import { middleware, newId, Problem, Store } from "@hms-svc/window";

/** One change. */
interface Entry {
  user: string | null;
  method: string;
  path: string;
  reason: string | null;
  /** Milliseconds since 1970. */
  at: number;
  /** What the answer said. */
  status: number;
}

export default middleware(async (request, next) => {
  if (["GET", "OPTIONS"].includes(request.method)) return next(request);
  const reason = request.headers.get("x-reason");
  if (request.method === "DELETE" && reason === null) {
    throw Problem.badRequest("say why it is deleted, in the header x-reason");
  }
  const user = request.headers.get("x-hms-user");
  // Bodies stream through, in both directions.
  const response = await next(request);
  const { method, path } = request;
  const entry: Entry = { user, method, path, reason, at: Date.now(), status: response.status };
  const id = newId();
  new Store("changes").set(id, entry);
  response.headers.set("x-change", id);
  return response;
});
