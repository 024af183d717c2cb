// What an author imports. `index.d.ts` says what each of it does.
export { call, fetch, FetchError } from "./fetch.js";
export { entityTag } from "./conditional.js";
export { config, Secret, secret } from "./config.js";
export { Event, ReceivedEvent } from "./event.js";
export { newId, sleep } from "./ids.js";
export { middleware } from "./middleware.js";
export { Problem } from "./problem.js";
export { site } from "./site/site.js";
export { span } from "./span.js";
export { Store, StoreError } from "./store.js";
export { Transaction, TransactionError, transaction } from "./transaction.js";
export { Caller, WindowRequest } from "./window-request.js";
export { Headers } from "./web/headers.js";
export { Request } from "./web/request.js";
export { Response } from "./web/response.js";
export { window } from "./window.js";
