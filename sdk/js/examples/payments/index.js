// The payments window, in JavaScript: what `components/payments` does without a card.
//
//     POST /payments          {"amount": 42, "purpose": "FOIA copy fee"}   ->  201 {"id"}
//     GET  /payments/{id}     {"id", "amount", "purpose", "owner"}         its owner's only
//     GET  /payments          {"payments": […], "next"}       ?limit=&cursor=, the oldest first
//
// A payment is written together with the event that tells of it, `gov.payment.paid.v1`.
import { config, Event, newId, Problem, Response, transaction, window } from "@hms-svc/window";

const PAGE = 50;
const PAGE_MAX = 200;

/** Bytes of a payment as JSON. An event has room for 64 KiB. */
const MAX_BYTES = 60 * 1024;

/** Members that are this window's words and not the client's. */
const OURS = ["id", "owner", "status", "charge"];

export default window({
  async fetch(request) {
    const [first, id, ...more] = request.segments;
    if (first !== "payments" || more.length > 0) throw Problem.notFound();
    if (id === undefined) {
      if (request.method === "POST") return take(request);
      if (request.method === "GET") return list(request);
      throw Problem.methodNotAllowed("GET, HEAD, POST");
    }
    if (request.method === "GET") return show(request, id);
    throw Problem.methodNotAllowed("GET, HEAD");
  },
});

async function take(request) {
  const caller = request.caller();
  const form = await request.json();
  if (typeof form !== "object" || form === null || Array.isArray(form)) {
    throw Problem.badRequest("the body is not a JSON object");
  }
  checkAmount(form);
  const id = newId();
  const sent = Object.fromEntries(Object.entries(form).filter(([name]) => !OURS.includes(name)));
  const payment = { id, ...sent, owner: caller.user };
  if (JSON.stringify(payment).length > MAX_BYTES) throw Problem.tooLarge(MAX_BYTES);
  const payments = caller.store("payments");
  const currency = config("currency");
  transaction((tx) => {
    tx.set(payments, id, payment);
    const data = currency === undefined ? payment : { ...payment, currency };
    tx.emit(new Event("gov.payment.paid.v1", data, { subject: id }));
  });
  const location = request.publicPath(`/payments/${id}`);
  return Response.json({ id }, { status: 201, headers: { location } });
}

function show(request, id) {
  const payment = request.caller().store("payments").get(id);
  if (payment === undefined) throw Problem.notFound();
  return Response.json(payment);
}

function list(request) {
  const payments = request.caller().store("payments");
  const limit = Math.min(Math.max(request.number("limit", PAGE), 1), PAGE_MAX);
  const page = payments.page({ cursor: request.param("cursor"), limit });
  const found = payments.getMany(page.keys).filter((payment) => payment !== undefined);
  return Response.json({ payments: found, next: page.next });
}

/** A payment needs an amount that is a number, finite and not negative. */
function checkAmount({ amount }) {
  if (amount === undefined) throw Problem.badRequest("'amount' is missing");
  if (typeof amount !== "number") throw Problem.badRequest("'amount' is not a number");
  if (!Number.isFinite(amount)) throw Problem.badRequest("'amount' is too large");
  if (amount < 0) throw Problem.badRequest("'amount' is negative");
}
