import { Problem } from "./problem.js";
import { decode, encode, bytesOf } from "./web/encoding.js";

/** The header by which the host marks a delivery. No client can send it. */
const DELIVERY = "x-hms-delivery";

/** Something that has happened: a CloudEvent, which a transaction emits. */
export class Event {
  constructor(type, data, options = {}) {
    this.type = type;
    this.data = data;
    this.subject = options.subject;
    this.partitionKey = options.partitionKey;
    this.contentType = options.contentType;
    this.attributes = options.attributes ?? {};
    this.notBefore = options.notBefore;
    this.name = options.name;
  }

  /** The media type and the bytes of the data. */
  payload() {
    if (this.data === undefined) return [this.contentType ?? "", new Uint8Array()];
    if (this.data instanceof ArrayBuffer || ArrayBuffer.isView(this.data)) {
      return [this.contentType ?? "application/octet-stream", bytesOf(this.data)];
    }
    return [this.contentType ?? "application/json", encode(JSON.stringify(this.data))];
  }
}

/** An event that the host has delivered to this window. */
export class ReceivedEvent {
  constructor(attributes, data, contentType, delivery) {
    this.attributes = attributes;
    this.data = data;
    this.contentType = contentType;
    this.subscription = delivery.subscription;
    this.attempt = delivery.attempt;
    this.replayRound = delivery.round;
  }

  get id() {
    return this.attributes.id;
  }
  get source() {
    return this.attributes.source;
  }
  get type() {
    return this.attributes.type;
  }
  get subject() {
    return this.attributes.subject;
  }
  get time() {
    return this.attributes.time;
  }
  get sequence() {
    return /^[0-9]+$/.test(this.attributes.sequence ?? "") ? Number(this.attributes.sequence) : 0;
  }

  /** Under which a transaction handles it once. */
  get onceKey() {
    return `event/${this.subscription}/${this.replayRound}/${this.source}/${this.id}`;
  }

  json() {
    try {
      return JSON.parse(decode(this.data));
    } catch (error) {
      throw Problem.reject(`the data of the event are not as expected: ${error.message}`);
    }
  }
}

/** The event in a request of the host, in binary or in structured mode. */
export function received(headers, body) {
  const delivery = deliveryOf(headers.get(DELIVERY));
  const contentType = headers.get("content-type") ?? undefined;
  const essence = (contentType ?? "").split(";")[0].trim().toLowerCase();
  const [attributes, data, type] = essence === "application/cloudevents+json"
    ? structured(body)
    : [binary(headers), body, contentType];
  for (const name of ["id", "source", "type", "specversion"]) {
    if (!attributes[name]) throw Problem.badRequest(`this is not a CloudEvent: '${name}' is missing`);
  }
  if (attributes.specversion !== "1.0") {
    throw Problem.badRequest(`CloudEvents '${attributes.specversion}' is not known here: only 1.0 is`);
  }
  return new ReceivedEvent(attributes, data, type, delivery);
}

/** `NAME-OF-SUBSCRIPTION; attempt=N; round=R`; a later host may say more. */
function deliveryOf(mark) {
  if (mark === null) {
    const detail = "only the host delivers events here: subscribe to them instead";
    throw new Problem(403, "not-a-delivery", detail);
  }
  const [subscription, ...parts] = mark.split(";").map((part) => part.trim());
  const said = { attempt: "1", round: "0" };
  for (const part of parts) {
    const at = part.indexOf("=");
    if (at > 0) said[part.slice(0, at)] = part.slice(at + 1);
  }
  const numbers = [said.attempt, said.round];
  if (!subscription || !numbers.every((number) => /^[0-9]+$/.test(number))) {
    throw Problem.badRequest(`the header '${DELIVERY}' is malformed`);
  }
  return { subscription, attempt: Number(numbers[0]), round: Number(numbers[1]) };
}

/** Attributes in headers, data in the body. */
function binary(headers) {
  const attributes = {};
  for (const [name, value] of headers) {
    if (!name.startsWith("ce-")) continue;
    try {
      attributes[name.slice(3)] = decodeURIComponent(value.replace(/%(?![0-9a-fA-F]{2})/g, "%25"));
    } catch {
      throw Problem.badRequest(`the header '${name}' is not UTF-8`);
    }
  }
  return attributes;
}

/** All in a JSON object. */
function structured(body) {
  const malformed = (why) => Problem.badRequest(`the event is malformed: ${why}`);
  let members;
  try {
    members = JSON.parse(decode(body));
  } catch {
    members = null;
  }
  if (typeof members !== "object" || members === null || Array.isArray(members)) {
    throw malformed("it is not a JSON object");
  }
  const attributes = {};
  for (const [name, value] of Object.entries(members)) {
    if (value === null || ["data", "data_base64", "datacontenttype"].includes(name)) continue;
    if (!["string", "number", "boolean"].includes(typeof value)) {
      throw malformed(`'${name}' is not a valid attribute name`);
    }
    attributes[name] = String(value);
  }
  const type = members.datacontenttype ?? undefined;
  const { data, data_base64: encoded } = members;
  if (encoded !== undefined && encoded !== null) {
    try {
      return [attributes, Uint8Array.from(atob(encoded), (char) => char.charCodeAt(0)), type];
    } catch {
      throw malformed("'data_base64' is not base64");
    }
  }
  if (data === undefined || data === null) return [attributes, new Uint8Array(), type];
  const isJson = type === undefined || type.split(";")[0].trim().endsWith("json");
  if (typeof data === "string" && !isJson) return [attributes, encode(data), type];
  return [attributes, encode(JSON.stringify(data)), type ?? "application/json"];
}
