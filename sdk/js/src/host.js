// What the host offers, by the names of the interfaces.
import atomics from "wasi:keyvalue/atomics@0.2.0-draft2";
import batch from "wasi:keyvalue/batch@0.2.0-draft2";
import settings from "wasi:config/store@0.2.0-rc.1";
import logging from "wasi:logging/logging@0.1.0-draft";
import monotonic from "wasi:clocks/monotonic-clock@0.3.0";
import random from "wasi:random/random@0.3.0";
import store from "wasi:keyvalue/store@0.2.0-draft2";
import types from "wasi:http/types@0.3.0";
// Only in the worlds that have them: the build says which.
import calls from "hms-window:calls";
import chain from "hms-window:chain";
import spans from "hms-window:spans";
import transactions from "hms-window:transactions";

export {
  atomics,
  batch,
  calls,
  chain,
  logging,
  monotonic,
  random,
  settings,
  spans,
  store,
  transactions,
  types,
};

/** What the host says in place of a result: the engine wraps it into an `Error`. */
export function reasonOf(error) {
  return error?.payload ?? error;
}
