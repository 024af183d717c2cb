//! A middleware: records who changed what, and requires a reason for deletions.
//!
//! It runs in the chain of a route (`- wasm: {window: audit}`) and shows what a middleware can do:
//! it sees the request, stores data of its own, answers or forwards, and adds to the answer.

use hms_window::{Method, Next, Problem, Request, Response, Store, middleware, new_id, now_ms};
use serde::{Deserialize, Serialize};

/// One change.
#[derive(Serialize, Deserialize)]
struct Entry {
    user: String,
    method: String,
    path: String,
    reason: Option<String>,
    /// Milliseconds since 1970.
    at: u64,
    /// What the answer said.
    status: u16,
}

async fn handle(request: Request, next: Next) -> Result<Response, Problem> {
    if [Method::GET, Method::OPTIONS].contains(request.method()) {
        return next.call(request).await;
    }
    let reason = request.text("x-reason").map(str::to_owned);
    if request.method() == Method::DELETE && reason.is_none() {
        return Err(Problem::bad_request(
            "say why it is deleted, in the header x-reason",
        ));
    }
    let mut entry = Entry {
        user: request.text("x-hms-user").unwrap_or("-").to_owned(),
        method: request.method().to_string(),
        path: request.path().to_owned(),
        reason,
        at: now_ms(),
        status: 0,
    };
    let response = next.call(request).await?;
    entry.status = response.status().as_u16();
    let id = new_id();
    Store::open("changes")?.set(&id, &entry)?;
    Ok(response.header("x-audit-id", id))
}

middleware!(handle);
