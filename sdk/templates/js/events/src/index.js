// The window {{name}}: it emits an event with what it writes, and receives its own.
//
//     POST /{{name}}        {"amount": 3}  ->  201 {"id"}, and the event {{name}}.added.v1
//     GET  /{{name}}/sum    {"sum": 3}     of the events that were delivered
//     POST /events          a delivery, by the subscription in windows/{{name}}.yaml
import { Event, newId, Problem, Store, transaction, window } from "@hms-svc/window";

const ADDED = "{{name}}.added.v1";

export default window(async (request) => {
  switch (`${request.method} ${request.segments.join("/")}`) {
    case "POST {{name}}":
      return add(request);
    case "GET {{name}}/sum":
      return Response.json({ sum: new Store("sums").get("amount") ?? 0 });
    case "POST events":
      return received(request);
    default:
      throw Problem.notFound();
  }
});

async function add(request) {
  const { amount } = (await request.json()) ?? {};
  if (!Number.isSafeInteger(amount)) throw Problem.badRequest("'amount' is missing, or no whole number");
  const items = new Store("items");
  const id = newId();
  // Both are on disk when it returns, or neither is.
  transaction((tx) => {
    tx.set(items, id, { id, amount });
    tx.emit(new Event(ADDED, { id, amount }, { subject: id }));
  });
  return Response.json({ id }, { status: 201 });
}

async function received(request) {
  const event = await request.event();
  const { amount } = event.json();
  const sums = new Store("sums");
  transaction((tx) => {
    tx.once(event); // a second delivery changes nothing
    tx.increment(sums, "amount", amount);
  });
  return new Response(null, { status: 204 });
}
