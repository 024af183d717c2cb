import { reasonOf, settings } from "./host.js";

/** A value of `config` in this window's `windows/NAME.yaml`, as it is now. */
export function config(name) {
  try {
    return settings.get(name) ?? undefined;
  } catch (error) {
    console.error(`the configuration '${name}' cannot be read: ${reasonOf(error)?.val ?? error}`);
    return undefined;
  }
}

/** A secret of this window's `windows/NAME.yaml`, which does not show itself in a log. */
export function secret(name) {
  const value = config(name);
  return value === undefined ? undefined : new Secret(value);
}

export class Secret {
  #value;

  constructor(value) {
    this.#value = value;
  }

  expose() {
    return this.#value;
  }

  toString() {
    return "[secret]";
  }

  toJSON() {
    return "[secret]";
  }
}
