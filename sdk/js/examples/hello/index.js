// The smallest window.
import { Problem, window } from "@hms-svc/window";

export default window((request) => {
  switch (request.segments[0]) {
    case "":
      return new Response("hello\n");
    case "boom":
      return boom(request.param("of"));
    default:
      throw Problem.notFound();
  }
});

function boom(of) {
  return new Response(of.length);
}
