// The files of a site, as the bundler puts them into the module.

/** Bytes in place of base64. Run once, when the component is made. */
export function unpacked(files) {
  const bytes = (text) => (text === null ? null : Uint8Array.from(atob(text), (char) => char.charCodeAt(0)));
  const file = ([name, media, tag, hashed, plain, br, gzip]) =>
    [name, { media, tag, hashed, plain: bytes(plain), br: bytes(br), gzip: bytes(gzip) }];
  return new Map(files.map(file));
}
