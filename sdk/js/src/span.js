// Parts of a window's own work, in the traces of its requests.
import * as host from "./host.js";

/** Runs `run` as a part of the work with this name, which ends with it, or with its promise. */
export function span(name, run) {
  // Outside of a window there is no host, and nothing is noted.
  const part = host.spans?.begin?.(String(name)) ?? 0;
  const end = (failed) => {
    if (part > 0) host.spans.end(part, failed);
  };
  let result;
  try {
    result = run();
  } catch (error) {
    end(true);
    throw error;
  }
  if (typeof result?.then !== "function") {
    end(false);
    return result;
  }
  return result.then(
    (value) => {
      end(false);
      return value;
    },
    (error) => {
      end(true);
      throw error;
    },
  );
}
