//! A card processor: `POST /v1/charges` with `{"amount", "currency", "card", "reference"}`, and
//! `POST /v1/charges/{id}/refund`.

use super::{Authority, Reply, Seen, Server};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// The token of a card that it declines. It accepts any other.
pub const DECLINED: &str = "tok_declined";

/// A processor that charges cards for whoever shows its key.
pub struct CardProcessor {
    pub server: Server,
    books: Arc<Mutex<Books>>,
}

/// What it has done, by the key of its request.
#[derive(Default)]
struct Books {
    /// Charged or declined.
    charges: BTreeMap<String, Value>,
    /// The ids of charges that were given back.
    refunds: BTreeMap<String, String>,
}

impl CardProcessor {
    /// Of plain HTTP, for those who send `Bearer KEY`.
    pub async fn start(key: &str) -> CardProcessor {
        CardProcessor::start_with(key, None).await
    }

    pub async fn start_with(key: &str, authority: Option<&Authority>) -> CardProcessor {
        let books: Arc<Mutex<Books>> = Arc::default();
        let (bearer, writing) = (format!("Bearer {key}"), books.clone());
        let work = move |seen: &Seen| answer(seen, &bearer, &mut writing.lock().unwrap());
        let server = Server::start_with(authority, work).await;
        CardProcessor { server, books }
    }

    /// What it has charged, each once, whatever was repeated.
    pub fn charged(&self) -> Vec<Value> {
        let books = self.books.lock().unwrap();
        let charged = books
            .charges
            .values()
            .filter(|it| it["status"] == "charged");
        charged.cloned().collect()
    }

    /// The ids of the charges that it has given back.
    pub fn refunded(&self) -> Vec<String> {
        let books = self.books.lock().unwrap();
        books.refunds.values().cloned().collect()
    }
}

fn answer(seen: &Seen, bearer: &str, books: &mut Books) -> Reply {
    let path = seen.path.strip_prefix("/v1/charges");
    let (Some(path), "POST") = (path, seen.method.as_str()) else {
        return Reply::new(404, json!({}));
    };
    if seen.header("authorization") != bearer {
        return Reply::new(401, json!({ "error": "no such key" }));
    }
    let key = seen.header("idempotency-key").to_owned();
    if key.is_empty() {
        return Reply::new(400, json!({ "error": "no idempotency-key" }));
    }
    let refunded = path
        .strip_prefix('/')
        .and_then(|it| it.strip_suffix("/refund"));
    match (path, refunded) {
        ("", _) => charge(seen, key, &mut books.charges),
        (_, Some(id)) => refund(id, key, books),
        _ => Reply::new(404, json!({})),
    }
}

/// A charge is refunded once; the same key again is the same refund.
fn refund(id: &str, key: String, books: &mut Books) -> Reply {
    let is_charged = |it: &Value| it["id"] == id && it["status"] == "charged";
    if !books.charges.values().any(is_charged) {
        return Reply::new(404, json!({ "error": "no such charge" }));
    }
    let is_other = |(other, charge): (&String, &String)| charge == id && *other != key;
    if books.refunds.iter().any(is_other) {
        return Reply::new(422, json!({ "error": "this charge was refunded" }));
    }
    books.refunds.insert(key, id.to_owned());
    Reply::new(201, json!({ "charge": id, "status": "refunded" }))
}

fn charge(seen: &Seen, key: String, charges: &mut BTreeMap<String, Value>) -> Reply {
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
