//! A window that writes down each delivery, and then answers as it is told to.
//!
//!     POST /once        an event whose effect is there once
//!     POST /…           an event whose effect is there again with each delivery
//!     GET  /deliveries  each delivery, in order: see [`Delivery`]
//!     GET  /effects     {"ID": how often}: an effect of each event that was answered 2xx
//!
//! What it answers, a [`Reply`], is said by the data of the event, or else by `config` of its file.

use hms_window::{
    Method, Problem, ReceivedEvent, Request, Response, Store, config, sleep_ms, transaction, window,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

window!(handle);

/// A delivery as it came.
#[derive(Serialize, Deserialize)]
struct Delivery {
    id: String,
    kind: String,
    subject: Option<String>,
    data: String,
    attempt: u32,
    round: u32,
    subscription: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Reply {
    status: Option<u16>,
    delay_ms: Option<u64>,
    trap: bool,
}

async fn handle(request: Request) -> Result<Response, Problem> {
    let store = Store::open("inbox")?;
    match (request.method(), &*request.segments()) {
        (&Method::GET, ["deliveries"]) => {
            let all: Option<Vec<Delivery>> = store.get("deliveries")?;
            Ok(Response::json(200, &all.unwrap_or_default()))
        }
        (&Method::GET, ["effects"]) => {
            let all: Option<BTreeMap<String, u64>> = store.get("effects")?;
            Ok(Response::json(200, &all.unwrap_or_default()))
        }
        (&Method::POST, path) => {
            let event = request.event().await?;
            take(&store, &event, path == ["once"]).await
        }
        _ => Err(Problem::not_found()),
    }
}

async fn take(store: &Store, event: &ReceivedEvent, once: bool) -> Result<Response, Problem> {
    store.update("deliveries", |all: Option<Vec<Delivery>>| {
        let mut all = all.unwrap_or_default();
        all.push(delivery(event));
        all
    })?;
    let reply = reply(event)?;
    if let Some(ms) = reply.delay_ms {
        sleep_ms(ms).await;
    }
    if reply.trap {
        panic!("as asked");
    }
    let status = reply.status.unwrap_or(204);
    if (200..300).contains(&status) {
        transaction(|tx| {
            if once {
                tx.once(event)?;
            }
            let all: Option<BTreeMap<String, u64>> = tx.get(store, "effects")?;
            let mut all = all.unwrap_or_default();
            *all.entry(event.id().to_owned()).or_default() += 1;
            tx.set(store, "effects", &all)
        })?;
    }
    Ok(Response::empty(status))
}

fn delivery(event: &ReceivedEvent) -> Delivery {
    Delivery {
        id: event.id().to_owned(),
        kind: event.kind().to_owned(),
        subject: event.subject().map(str::to_owned),
        data: String::from_utf8_lossy(event.data()).into_owned(),
        attempt: event.attempt(),
        round: event.replay_round(),
        subscription: event.subscription().to_owned(),
    }
}

fn reply(event: &ReceivedEvent) -> Result<Reply, Problem> {
    if let Ok(reply) = event.json() {
        return Ok(reply);
    }
    match config("reply") {
        None => Ok(Reply::default()),
        Some(text) => serde_json::from_str(&text).map_err(Problem::internal),
    }
}
