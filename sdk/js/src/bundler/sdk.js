// What the component is written with, for `hms inspect`: a custom section.

const NAME = "hms-sdk";

/** The component with a section that says `NAME VERSION` of this package. */
export function withSdk(component, { name, version }) {
  const text = [NAME, `${name} ${version}`].map((part) => Buffer.from(part));
  const content = Buffer.concat([leb(text[0].length), ...text]);
  return Buffer.concat([component, Buffer.from([0]), leb(content.length), content]);
}

/** A number as WebAssembly has it (unsigned LEB128). */
function leb(number) {
  const bytes = [];
  do {
    const low = number & 0x7f;
    number >>>= 7;
    bytes.push(number === 0 ? low : low | 0x80);
  } while (number !== 0);
  return Buffer.from(bytes);
}
