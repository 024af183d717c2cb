//! What the host delivers: events of other windows, of which citizens are told, and messages that
//! are to be sent.
//!
//! A message is kept in the transaction that notes its event as handled, so a second delivery makes
//! no second message. Where there is a gateway, that transaction also emits
//! `gov.notification.queued.v1`, by which this window sends it: the host tries that again for as
//! long as `windows/notifications.yaml` says.

use crate::gateway::Gateway;
use crate::message::{Message, Status};
use crate::news::News;
use crate::store::Messages;
use hms_window::{Event, Problem, Request, Response, transaction};
use serde::{Deserialize, Serialize};

const QUEUED: &str = "gov.notification.queued.v1";

/// The data of `gov.notification.queued.v1`.
#[derive(Serialize, Deserialize)]
struct Queued {
    id: String,
    owner: String,
}

/// `POST /events`
pub async fn received(request: &Request) -> Result<Response, Problem> {
    let event = request.event().await?;
    let Some(news) = News::of(event.kind(), || event.json())? else {
        return Ok(Response::empty(204));
    };
    let messages = Messages::of(&news.owner)?;
    let message = Message::of_news(news, event.id());
    let is_sent = message.to.is_some() && Gateway::configured().is_some();
    let queued = Queued {
        id: message.id.clone(),
        owner: message.owner.clone(),
    };
    transaction(|tx| {
        tx.once(&event)?;
        messages.put(tx, &message)?;
        match is_sent {
            true => tx.emit(Event::new(QUEUED, &queued)?.subject(&*message.id)),
            false => Ok(()),
        }
    })?;
    Ok(Response::empty(204))
}

/// `POST /send`: one try. The gateway has the same key each time, so it sends a message once.
pub async fn send(request: &Request) -> Result<Response, Problem> {
    let queued: Queued = request.event().await?.json()?;
    let messages = Messages::of(&queued.owner)?;
    let message = messages.get(&queued.id)?;
    if message.status == Status::Sent {
        return Ok(Response::empty(204));
    }
    let Some(gateway) = Gateway::configured() else {
        let detail = "no SMS gateway is configured";
        return Err(Problem::new(503, "no-sms-gateway", detail));
    };
    let outcome = gateway.deliver(&message, 1).await?;
    let message = messages.record(&message.id, &outcome)?;
    match (message.status, outcome.result) {
        (Status::Queued, Err(why)) => Err(Problem::new(503, "sms-gateway-failed", why)),
        // Sent; or failed for good, as its owner sees.
        _ => Ok(Response::empty(204)),
    }
}
