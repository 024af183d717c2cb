/** Header fields, as in the Fetch standard. Names are compared without regard to case. */
export class Headers {
  #fields = [];

  constructor(init) {
    if (init === undefined || init === null) return;
    const pairs = typeof init[Symbol.iterator] === "function" ? init : Object.entries(init);
    for (const [name, value] of pairs) this.append(name, value);
  }

  /** Those of the host, which has checked them. */
  static fromHost(fields, decode) {
    const headers = new Headers();
    headers.#fields = fields.map(([name, value]) => [name.toLowerCase(), decode(value)]);
    return headers;
  }

  append(name, value) {
    this.#fields.push(checked(name, value));
  }

  set(name, value) {
    const field = checked(name, value);
    const at = this.#fields.findIndex(([key]) => key === field[0]);
    if (at < 0) {
      this.#fields.push(field);
    } else {
      this.#fields[at] = field;
      this.#fields = this.#fields.filter(([key], index) => index <= at || key !== field[0]);
    }
  }

  delete(name) {
    name = String(name).toLowerCase();
    this.#fields = this.#fields.filter(([key]) => key !== name);
  }

  get(name) {
    name = String(name).toLowerCase();
    const values = this.#fields.filter(([key]) => key === name).map(([, value]) => value);
    return values.length === 0 ? null : values.join(", ");
  }

  has(name) {
    name = String(name).toLowerCase();
    return this.#fields.some(([key]) => key === name);
  }

  getSetCookie() {
    return this.#fields.filter(([key]) => key === "set-cookie").map(([, value]) => value);
  }

  forEach(each, self) {
    for (const [name, value] of this) each.call(self, value, name, this);
  }

  *entries() {
    const names = [...new Set(this.#fields.map(([name]) => name))].sort();
    for (const name of names) {
      if (name === "set-cookie") for (const value of this.getSetCookie()) yield [name, value];
      else yield [name, this.get(name)];
    }
  }

  *keys() {
    for (const [name] of this.entries()) yield name;
  }

  *values() {
    for (const [, value] of this.entries()) yield value;
  }

  [Symbol.iterator]() {
    return this.entries();
  }

  /** All fields as they are, in their order: what is sent. */
  raw() {
    return this.#fields;
  }
}

const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

function checked(name, value) {
  name = String(name);
  value = String(value).replace(/^[\t\r\n ]+|[\t\r\n ]+$/g, "");
  if (!NAME.test(name)) throw new TypeError(`'${name}' is not a header name`);
  if (/[\0\r\n]/.test(value)) throw new TypeError(`the header '${name}' cannot have such a value`);
  return [name.toLowerCase(), value];
}
