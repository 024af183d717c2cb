// The window {{name}}: it takes orders, tells of them by events, and counts what it hears of.
//
//     POST /{{name}}   {"item", "count"}  ->  201 {"id"}, and an event {{name}}.ordered.v1
//     GET  /{{name}}   {"ITEM": count, …}
//     POST /events     where the host delivers: see windows/{{name}}.yaml
import { Event, newId, Problem, Store, transaction, window } from "@hms-svc/window";

/** The type of the event. Its last part is the version of its data. */
const ORDERED = "{{name}}.ordered.v1";

export default window(async (request) => {
  switch (`${request.method} ${request.path}`) {
    case "POST /{{name}}":
      return order(request);
    case "GET /{{name}}":
      return counts();
    // No route leads here: only the host reaches it.
    case "POST /events":
      return received(request);
    default:
      throw request.path === "/{{name}}" ? Problem.methodNotAllowed("GET, HEAD, POST") : Problem.notFound();
  }
});

/** The order and its event are written together: there is never one without the other. */
async function order(request) {
  const order = read(await request.json(), Problem.badRequest);
  const orders = new Store("orders");
  const id = newId();
  transaction((tx) => {
    tx.set(orders, id, order);
    tx.emit(new Event(ORDERED, order, { subject: id }));
  });
  return Response.json({ id }, { status: 201 });
}

/** An event comes at least once. `once` makes its effect happen once. */
async function received(request) {
  const event = await request.event();
  // What would never succeed is rejected: a person has to look at it.
  const { item, count } = read(event.json(), Problem.reject);
  const counts = new Store("counts");
  transaction((tx) => {
    tx.once(event);
    tx.increment(counts, item, count);
  });
  return new Response(null, { status: 204 });
}

function counts() {
  const counts = new Store("counts");
  const items = [...counts.keys()];
  const values = counts.getMany(items);
  return Response.json(Object.fromEntries(items.map((item, at) => [item, values[at]])));
}

function read(order, refuse) {
  const { item, count } = order ?? {};
  if (typeof item !== "string" || item === "") throw refuse("'item' is missing, or no text");
  if (!Number.isSafeInteger(count)) throw refuse("'count' is missing, or no whole number");
  return { item, count };
}
