// A window in JavaScript by jco: WASI 0.2 and the window's store.
import { Fields, OutgoingBody, OutgoingResponse, ResponseOutparam } from "wasi:http/types@0.2.6";
import { open } from "wasi:keyvalue/store@0.2.0-draft2";

const encoder = new TextEncoder();

export const incomingHandler = {
  handle(request, out) {
    const visits = open("visits");
    const before = visits.get("count");
    const count = before ? Number(new TextDecoder().decode(before)) + 1 : 1;
    visits.set("count", encoder.encode(String(count)));
    const response = new OutgoingResponse(new Fields());
    const body = response.body();
    ResponseOutparam.set(out, { tag: "ok", val: response });
    const stream = body.write();
    stream.blockingWriteAndFlush(encoder.encode(`visit ${count} from JavaScript\n`));
    stream[Symbol.dispose]();
    OutgoingBody.finish(body, undefined);
  },
};
