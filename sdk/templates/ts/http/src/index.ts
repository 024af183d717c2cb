// The window {{name}}.
//
//     GET /{{name}}          a greeting; ?name= says for whom
//     GET /{{name}}/time     {"milliseconds": …}, since 1970
import { Problem, window } from "@hms-svc/window";

export default window(async (request) => {
  const [, page, ...more] = request.segments;
  if (more.length > 0 || (page !== undefined && page !== "time")) throw Problem.notFound();
  if (request.method !== "GET") throw Problem.methodNotAllowed("GET, HEAD");
  return page === "time" ? Response.json({ milliseconds: Date.now() }) : greet(request.param("name"));
});

function greet(name: string | undefined): Response {
  return new Response(name ? `hello ${name}\n` : "hello from {{name}}\n");
}
