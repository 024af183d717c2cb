// Stands for the host's interfaces, which exist only inside of a component.
import { register } from "node:module";

const hooks = `
export async function resolve(specifier, context, next) {
  if (/^(wasi|hms|hms-window):/.test(specifier)) {
    return { url: "data:text/javascript,export default {}", shortCircuit: true };
  }
  return next(specifier, context);
}`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);
