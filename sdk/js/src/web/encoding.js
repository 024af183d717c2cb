// UTF-8, by what the engine has in C: loops in JavaScript are slow here.

const ASCII = /^[\0-\x7f]*$/;

/** The bytes of a text, in UTF-8. */
export function encode(text) {
  text = String(text);
  const binary = ASCII.test(text) ? text : unescape(encodeURIComponent(text.toWellFormed()));
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** The text of bytes in UTF-8. What is none is U+FFFD, or with `fatal` a TypeError. */
export function decode(bytes, fatal = false) {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 8192) {
    binary += String.fromCharCode.apply(null, bytes.subarray(at, at + 8192));
  }
  if (ASCII.test(binary)) return binary;
  try {
    return decodeURIComponent(escape(binary));
  } catch {
    if (fatal) throw new TypeError("the bytes are not UTF-8");
    return lossy(bytes);
  }
}

function lossy(bytes) {
  let text = "";
  let at = 0;
  while (at < bytes.length) {
    const first = bytes[at];
    const length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    let piece = length === 0 ? null : String.fromCharCode.apply(null, bytes.subarray(at, at + length));
    try {
      piece = piece === null || piece.length < length ? null : decodeURIComponent(escape(piece));
    } catch {
      piece = null;
    }
    text += piece ?? "\ufffd";
    at += piece === null ? 1 : length;
  }
  return text;
}

export class TextEncoder {
  get encoding() {
    return "utf-8";
  }
  encode(text = "") {
    return encode(text);
  }
}

export class TextDecoder {
  #fatal;
  #ignoreBom;
  constructor(label = "utf-8", { fatal = false, ignoreBOM = false } = {}) {
    if (!/^utf-?8$/i.test(label)) throw new RangeError(`'${label}' is not known here: only utf-8 is`);
    this.#fatal = fatal;
    this.#ignoreBom = ignoreBOM;
  }
  get encoding() {
    return "utf-8";
  }
  get fatal() {
    return this.#fatal;
  }
  decode(input = new Uint8Array()) {
    const text = decode(bytesOf(input), this.#fatal);
    return !this.#ignoreBom && text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
  }
}

/** The bytes of an ArrayBuffer or a view of one. */
export function bytesOf(input) {
  if (input instanceof Uint8Array) return input;
  if (ArrayBuffer.isView(input)) return new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
  return new Uint8Array(input);
}
