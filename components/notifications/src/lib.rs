//! The notifications window.
//!
//!     POST /notifications              {"to": "+15550100", "text": "…"} -> 201 {"id", "status", …}
//!     POST /notifications/{id}/retry   sends one again that was not sent
//!     GET  /notifications/{id}         {"id", "to", "text", "status", "tries", …}
//!     GET  /notifications              {"notifications": […], "next"}      ?status=&limit=&cursor=
//!
//! Citizens are also told what other windows say of them (`news`), as the host delivers it
//! (`events`): by a text message where the event has a `phone`, and otherwise in this list only.
//!
//! A message goes to an SMS gateway over HTTP: `gateway` has the call, `store` what is kept. Where
//! the gateway is, the operator says in `windows/notifications.yaml`, and the host adds the key,
//! which this window never sees.
//!
//! A message is kept before it is sent. So one that could not be sent is there to be sent again,
//! and none is sent twice: every try has the same `Idempotency-Key`.
//!
//! Each user has a separate part of the store, so another user's message does not exist for them.

mod events;
mod gateway;
mod message;
mod news;
mod store;

use gateway::{Gateway, TRIES};
use hms_window::{Method, Problem, Request, Response, window};
use message::{Message, Order, Outcome, Status};
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
        (&Method::POST, ["events"]) => events::received(&request).await,
        (&Method::POST, ["send"]) => events::send(&request).await,
        (_, ["events"] | ["send"]) => Err(Problem::method_not_allowed("POST")),
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
    let messages = Messages::of(&caller.user)?;
    let message = Message::new(order, &caller.user);
    messages.add(&message)?;
    deliver(request, &messages, message).await
}

async fn retry(request: &Request, id: &str) -> Result<Response, Problem> {
    let messages = Messages::of(&request.caller()?.user)?;
    let message = messages.get(id)?;
    match message.status {
        Status::Sent | Status::InApp => Ok(Response::json(200, &message)),
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
    // Nobody but the client tries again.
    let outcome = Outcome {
        again: false,
        ..gateway.deliver(&message, TRIES).await?
    };
    let message = messages.record(&message.id, &outcome)?;
    let status = match message.status {
        Status::Sent => 201,
        Status::Queued | Status::Failed | Status::InApp => 202,
    };
    Ok(Response::json(status, &message).header("location", location))
}

fn show(request: &Request, id: &str) -> Result<Response, Problem> {
    let message = Messages::of(&request.caller()?.user)?.get(id)?;
    Ok(Response::json(200, &message))
}

fn list(request: &Request) -> Result<Response, Problem> {
    let messages = Messages::of(&request.caller()?.user)?;
    let status: Option<Status> = request.param("status")?;
    let limit = request.param("limit")?.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let cursor = request.param::<String>("cursor")?;
    let (found, next) = messages.page(status, cursor.as_deref(), limit)?;
    Ok(Response::json(
        200,
        &json!({ "notifications": found, "next": next }),
    ))
}
