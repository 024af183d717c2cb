// The window {{name}}: items in its store.
//
//     POST   /{{name}}         {"title": "bread"}  ->  201 {"id", "title"}
//     GET    /{{name}}         {"items": […], "next"}    ?limit=&cursor=, the oldest first
//     GET    /{{name}}/{id}    {"id", "title"}
//     PUT    /{{name}}/{id}    {"title": "cake"}
//     DELETE /{{name}}/{id}
import { newId, Problem, Store, window, type WindowRequest } from "@hms-svc/window";

interface Form {
  title: string;
}

interface Item extends Form {
  id: string;
}

export default window(async (request) => {
  const items = new Store("items");
  const [, id, ...more] = request.segments;
  if (more.length > 0) throw Problem.notFound();
  if (id === undefined) {
    if (request.method === "GET") return list(items, request);
    if (request.method === "POST") return create(items, request);
    throw Problem.methodNotAllowed("GET, HEAD, POST");
  }
  switch (request.method) {
    case "GET":
      return Response.json(found(items.get<Item>(id)));
    case "PUT":
      return replace(items, id, await read(request));
    case "DELETE":
      found(items.get<Item>(id));
      items.delete(id);
      return new Response(null, { status: 204 });
    default:
      throw Problem.methodNotAllowed("DELETE, GET, HEAD, PUT");
  }
});

async function create(items: Store, request: WindowRequest): Promise<Response> {
  const item: Item = { id: newId(), ...(await read(request)) };
  items.set(item.id, item);
  const location = request.publicPath(`/{{name}}/${item.id}`);
  return Response.json(item, { status: 201, headers: { location } });
}

function list(items: Store, request: WindowRequest): Response {
  const limit = Math.min(Math.max(request.number("limit", 50), 1), 200);
  const page = items.page({ cursor: request.param("cursor"), limit });
  return Response.json({ items: items.getMany<Item>(page.keys).filter(Boolean), next: page.next });
}

/** Only what is there is replaced: of two requests at once, neither undoes a deletion. */
function replace(items: Store, id: string, form: Form): Response {
  return Response.json(items.update<Item>(id, (old) => ({ ...found(old), ...form })));
}

function found(item: Item | undefined): Item {
  if (item === undefined) throw Problem.notFound();
  return item;
}

async function read(request: WindowRequest): Promise<Form> {
  const form = await request.json();
  if (typeof form?.title !== "string" || form.title === "") throw Problem.badRequest("'title' is missing, or no text");
  return { title: form.title };
}
