// A window that names the parts of its work, which `hms requests ID` shows.
import { Problem, Store, span, transaction, window } from "@hms-svc/window";

export default window(async (request) => {
  if (request.segments[0] !== "work") throw Problem.notFound();
  if (request.method !== "POST") throw Problem.methodNotAllowed("POST");
  await span("the whole work", async () => {
    const work = new Store("work");
    transaction((tx) => tx.set(work, "worked", 1));
    await span("what fails", fails).catch(() => {});
  });
  return new Response("done\n");
});

async function fails() {
  throw new Error("it is the part's, not the request's");
}
