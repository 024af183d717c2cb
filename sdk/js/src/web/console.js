import { logging } from "../host.js";

const text = (value) => {
  if (typeof value === "string") return value;
  if (value instanceof Error) return value.stack ? `${value}\n${value.stack.trimEnd()}` : String(value);
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
};

const say = (level) => (...values) => {
  for (const line of values.map(text).join(" ").split("\n")) logging.log(level, "", line);
};

/** Lines of the window's log. */
export const console = {
  trace: say("trace"),
  debug: say("debug"),
  log: say("info"),
  info: say("info"),
  warn: say("warn"),
  error: say("error"),
  assert(holds, ...values) {
    if (!holds) console.error("assertion failed:", ...values);
  },
};
