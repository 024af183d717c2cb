//! The documents window.
//!
//!     POST   /docs        multipart/form-data with a part `file`  ->  201 {"id", "url", "name", …}
//!     GET    /docs/{id}   the file, byte for byte; ETag, Last-Modified, Range
//!     GET    /docs        {"docs": […], "next"}   ?limit=&cursor=, the oldest first
//!     DELETE /docs/{id}   204
//!
//! All of them support conditional requests (RFC 9110, section 13). The list has no validators.
//!
//! A document is a record and some chunks. The record is written last, and only then does the
//! document exist; `store` has the order of the steps. With the record goes the event that tells of
//! it: `gov.document.stored.v1`, and later `gov.document.removed.v1`. A file passes through in
//! chunks and is never whole in memory.

mod chunks;
mod disposition;
mod download;
mod names;
mod record;
mod store;
mod upload;

use hms_window::{Method, Problem, Request, Response, Validators, window};
use record::Record;
use serde_json::json;

/// Documents in one answer: what a client gets unasked, and the most it can ask for.
const PAGE: usize = 50;
const PAGE_MAX: usize = 200;

window!(handle);

async fn handle(request: Request) -> Result<Response, Problem> {
    match (request.method(), &*request.segments()) {
        (&Method::POST, ["docs"]) => upload::upload(&request).await,
        (&Method::GET, ["docs"]) => list(&request),
        (&Method::GET, ["docs", id]) => download::download(&request, id),
        (&Method::DELETE, ["docs", id]) => remove(&request, id),
        (_, ["docs"]) => Err(Problem::method_not_allowed("GET, HEAD, POST")),
        (_, ["docs", _]) => Err(Problem::method_not_allowed("DELETE, GET, HEAD")),
        _ => Err(Problem::not_found()),
    }
}

fn list(request: &Request) -> Result<Response, Problem> {
    let records = store::records(&request.caller()?.user)?;
    request.conditional(Some(&Validators::new()))?;
    let limit = request.param("limit")?.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let page = records.page(request.param::<String>("cursor")?.as_deref(), limit)?;
    let found: Vec<Option<Record>> = records.get_many(&page.keys)?;
    let docs: Vec<_> = found
        .iter()
        .flatten()
        .filter(|record| !record.removed)
        .map(|record| record.shown(request))
        .collect();
    Ok(Response::json(
        200,
        &json!({ "docs": docs, "next": page.next }),
    ))
}

fn remove(request: &Request, id: &str) -> Result<Response, Problem> {
    let owner = request.caller()?.user;
    let record = store::find(id, &owner)?;
    request.conditional(Some(&record.validators()))?;
    store::remove(id, &owner, |record| {
        request.conditional(Some(&record.validators())).map(drop)
    })?;
    Ok(Response::empty(204))
}
