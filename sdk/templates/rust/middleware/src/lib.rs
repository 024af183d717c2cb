//! The middleware {{name}}: it asks for a reason where something is deleted, keeps who changed
//! what, and adds a header to the answer. It stands in every route with
//! `- wasm: {window: {{name}}}`.

use hms_window::{Method, Next, Problem, Request, Response, Store, middleware, new_id, now_ms};
use serde::{Deserialize, Serialize};

/// One change.
#[derive(Serialize, Deserialize)]
struct Entry {
    user: Option<String>,
    method: String,
    path: String,
    reason: Option<String>,
    /// Milliseconds since 1970.
    at: u64,
    /// What the answer said.
    status: u16,
}

middleware!(handle);

async fn handle(request: Request, next: Next) -> Result<Response, Problem> {
    if [Method::GET, Method::OPTIONS].contains(request.method()) {
        return next.call(request).await;
    }
    let reason = request.text("x-reason").map(str::to_owned);
    if request.method() == Method::DELETE && reason.is_none() {
        let detail = "say why it is deleted, in the header x-reason";
        return Err(Problem::bad_request(detail));
    }
    let mut entry = Entry {
        user: request.caller().ok().map(|caller| caller.user),
        method: request.method().to_string(),
        path: request.path().to_owned(),
        reason,
        at: now_ms(),
        status: 0,
    };
    // Bodies stream through, in both directions.
    let response = next.call(request).await?;
    entry.status = response.status().as_u16();
    let id = new_id();
    Store::open("changes")?.set(&id, &entry)?;
    Ok(response.header("x-change", id))
}
