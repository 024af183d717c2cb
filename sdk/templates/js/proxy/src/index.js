// The window {{name}}: it asks a service for exchange rates, and keeps each for a minute.
//
//     GET /{{name}}              {"rates": […]}, those that it has asked for
//     GET /{{name}}/{currency}   {"currency", "rate", "at"}
//
// Which service is said in windows/{{name}}.yaml, twice: as `rates-url`, which this code reads, and
// as what the window may call.
import { config, fetch, FetchError, Problem, Store, window } from "@hms-svc/window";

/** How long a rate is good, in milliseconds. */
const FRESH_MS = 60_000;

/** Rates in the list: there are not as many currencies. */
const MOST = 500;

export default window(async (request) => {
  const [, currency, ...more] = request.segments;
  if (more.length > 0) throw Problem.notFound();
  if (request.method !== "GET") throw Problem.methodNotAllowed("GET, HEAD");
  const rates = new Store("rates");
  if (currency === undefined) {
    const { keys } = rates.page({ limit: MOST });
    return Response.json({ rates: rates.getMany(keys).filter(Boolean) });
  }
  if (!/^[A-Z]{3}$/.test(currency)) throw Problem.badRequest("a currency has three capital letters, such as CHF");
  const known = rates.get(currency);
  if (known !== undefined && known.at + FRESH_MS > Date.now()) return Response.json(known);
  const rate = { currency, rate: await ask(currency), at: Date.now() };
  rates.set(currency, rate);
  return Response.json(rate);
});

async function ask(currency) {
  const url = config("rates-url");
  if (url === undefined) throw Problem.internal("no rates-url is configured: see windows/{{name}}.yaml");
  let answer;
  try {
    answer = await fetch(`${url}/v1/rates/${currency}`, { timeout: 3000 });
  } catch (error) {
    // The log has where it went, and of a denied call what to grant. The client needs neither.
    if (error instanceof FetchError && error.kind === "timeout") {
      console.error(error.message);
      throw new Problem(504, "rates-slow", "try again later");
    }
    throw error;
  }
  if (answer.status === 404) throw Problem.notFound();
  if (answer.status !== 200) {
    console.error(`rates: the service answered ${answer.status}`);
    throw new Problem(502, "rates-unavailable", "the rates are not available now");
  }
  return (await answer.json()).rate;
}
