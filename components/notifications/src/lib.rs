//! The notifications window.
//!
//!     POST /notifications              {"to": "+15550100", "text": "…"} -> 201 {"id", "status", …}
//!     POST /notifications/{id}/retry   sends one again that was not sent
//!     GET  /notifications/{id}         {"id", "to", "text", "status", "tries", …}
//!     GET  /notifications              {"notifications": […], "next"}      ?status=&limit=&cursor=
//!
//! A message goes to an SMS gateway over HTTP: `gateway` has the call, `store` what is kept. Where
//! the gateway is, the operator says in `windows/notifications.yaml`, and the host adds the key,
//! which this window never sees.
//!
//! A message is kept before it is sent. So one that could not be sent is there to be sent again,
//! and none is sent twice: every try has the message's id for its `Idempotency-Key`.
//!
//! Each user has a separate part of the store, so another user's message does not exist for them.

mod gateway;
mod message;
mod store;

use gateway::Gateway;
use hms_window::{Method, Problem, Request, Response, window};
use message::{Message, Order, Status};
use serde_json::json;
use store::Messages;

/// Messages in one answer: what a client gets unasked, and the most it can ask for.
const PAGE: usize = 50;
const PAGE_MAX: usize = 200;

window!(handle);

async fn handle(request: Request) -> Result<Response, Problem> {
    match (request.method(), &*request.segments()) {
        (&Method::POST, ["notifications"]) => notify(&request).await,
        (&Method::GET, ["notifications"]) => list(&request),
        (&Method::GET, ["notifications", id]) => show(&request, id),
        (&Method::POST, ["notifications", id, "retry"]) => retry(&request, id).await,
        (_, ["notifications"]) => Err(Problem::method_not_allowed("GET, HEAD, POST")),
        (_, ["notifications", _]) => Err(Problem::method_not_allowed("GET, HEAD")),
        (_, ["notifications", _, "retry"]) => Err(Problem::method_not_allowed("POST")),
        _ => Err(Problem::not_found()),
    }
}

async fn notify(request: &Request) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let order: Order = request.json().await?;
    order.check().map_err(Problem::bad_request)?;
    let messages = Messages::of(&caller)?;
    let message = Message::new(order, &caller.user);
    messages.add(&message)?;
    deliver(request, &messages, message).await
}

async fn retry(request: &Request, id: &str) -> Result<Response, Problem> {
    let messages = Messages::of(&request.caller()?)?;
    let message = messages.get(id)?;
    match message.status {
        Status::Sent => Ok(Response::json(200, &message)),
        Status::Queued | Status::Failed => deliver(request, &messages, message).await,
    }
}

/// 201 with the message where it was sent, 202 where it was not and can be sent again.
async fn deliver(
    request: &Request,
    messages: &Messages,
    message: Message,
) -> Result<Response, Problem> {
    let location = request.public_path(&format!("/notifications/{}", message.id));
    let Some(gateway) = Gateway::configured() else {
        let detail = format!(
            "no SMS gateway is configured; the message is kept with the id {}, to be sent later",
            message.id
        );
        let problem = Problem::new(503, "no-sms-gateway", detail);
        return Err(problem.header("location", location));
    };
    let outcome = gateway.deliver(&message).await?;
    let message = messages.record(&message.id, &outcome)?;
    let status = match message.status {
        Status::Sent => 201,
        Status::Queued | Status::Failed => 202,
    };
    Ok(Response::json(status, &message).header("location", location))
}

fn show(request: &Request, id: &str) -> Result<Response, Problem> {
    let message = Messages::of(&request.caller()?)?.get(id)?;
    Ok(Response::json(200, &message))
}

fn list(request: &Request) -> Result<Response, Problem> {
    let messages = Messages::of(&request.caller()?)?;
    let status: Option<Status> = request.param("status")?;
    let limit = request.param("limit")?.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let cursor = request.param::<String>("cursor")?;
    let (found, next) = messages.page(status, cursor.as_deref(), limit)?;
    Ok(Response::json(
        200,
        &json!({ "notifications": found, "next": next }),
    ))
}
