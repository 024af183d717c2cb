// The entry of a grants file that allows a call, as the host says it of the same call.

/** The line that allows a call of a service and no other, or of a window that the URL names. */
export function grantOf(scheme, authority, method, path) {
  const usual = scheme === "https" ? /:443$/ : /:80$/;
  const [where] = authority.toLowerCase().split("@").slice(-1);
  const origin = where.replace(usual, "");
  const host = origin.replace(/:\d*$/, "");
  const window = /^hms-svc-(.+)$/.exec(host) ?? /^(.+)\.spin\.internal$/.exec(host);
  if (window) return grantOfWindow(window[1]);
  const network = networkOf(host);
  const fields = [
    `to: ${JSON.stringify(`${scheme}://${origin}`)}`,
    `methods: [${JSON.stringify(method)}]`,
    `paths: [${JSON.stringify(literal(path))}]`,
    ...(network ? [`private: ["${network}"]`] : []),
  ];
  return `outbound: [{${fields.join(", ")}}]`;
}

/** The line that allows a call of a window. */
export function grantOfWindow(window) {
  return `calls: [${window}]`;
}

const PRIVATE_V4 = /^(127|10|192\.168|172\.(1[6-9]|2\d|3[01]))\./;
const PRIVATE_V6 = /^(::1$|f[cd][0-9a-f]{2}:)/;

/** The network of an address of this machine or of a network around it, which a grant has to name. */
function networkOf(host) {
  if (/^(\d+\.){3}\d+$/.test(host)) return PRIVATE_V4.test(host) ? `${host}/32` : null;
  const v6 = /^\[(.+)\]$/.exec(host)?.[1];
  return v6 !== undefined && PRIVATE_V6.test(v6) ? `${v6}/128` : null;
}

/** The path alone, without what stands for other paths in a pattern. */
function literal(path) {
  const [alone] = path.split("?");
  return alone === "" ? "/" : alone.replace(/[{}*]/g, (it) => `%${it.charCodeAt(0).toString(16).toUpperCase()}`);
}
