//! A card processor: `POST /v1/charges` with `{"amount", "currency", "card", "reference"}`.

use super::{Authority, Reply, Seen, Server};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// The token of a card that it declines. It accepts any other.
pub const DECLINED: &str = "tok_declined";

/// A processor that charges cards for whoever shows its key.
pub struct CardProcessor {
    pub server: Server,
    /// What it has charged or declined, by the key of its request.
    charges: Arc<Mutex<BTreeMap<String, Value>>>,
}

impl CardProcessor {
    /// Of plain HTTP, for those who send `Bearer KEY`.
    pub async fn start(key: &str) -> CardProcessor {
        CardProcessor::start_with(key, None).await
    }

    pub async fn start_with(key: &str, authority: Option<&Authority>) -> CardProcessor {
        let charges: Arc<Mutex<BTreeMap<String, Value>>> = Arc::default();
        let (bearer, charging) = (format!("Bearer {key}"), charges.clone());
        let work = move |seen: &Seen| charge(seen, &bearer, &mut charging.lock().unwrap());
        let server = Server::start_with(authority, work).await;
        CardProcessor { server, charges }
    }

    /// What it has charged, each once, whatever was repeated.
    pub fn charged(&self) -> Vec<Value> {
        let charges = self.charges.lock().unwrap();
        let charged = charges.values().filter(|it| it["status"] == "charged");
        charged.cloned().collect()
    }
}

fn charge(seen: &Seen, bearer: &str, charges: &mut BTreeMap<String, Value>) -> Reply {
    if (seen.method.as_str(), seen.path.as_str()) != ("POST", "/v1/charges") {
        return Reply::new(404, json!({}));
    }
    if seen.header("authorization") != bearer {
        return Reply::new(401, json!({ "error": "no such key" }));
    }
    let key = seen.header("idempotency-key").to_owned();
    if key.is_empty() {
        return Reply::new(400, json!({ "error": "no idempotency-key" }));
    }
    let order = seen.json();
    let number = charges.len() + 1;
    let charge = charges.entry(key).or_insert_with(|| {
        let status = match order["card"] == DECLINED {
            true => "declined",
            false => "charged",
        };
        json!({
            "id": format!("ch-{number}"),
            "status": status,
            "amount": order["amount"],
            "currency": order["currency"],
            "reference": order["reference"],
        })
    });
    match charge["status"] == "declined" {
        true => Reply::new(402, charge.clone()),
        false => Reply::new(201, charge.clone()),
    }
}
