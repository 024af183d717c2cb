//! An SMS gateway: `POST /v1/messages` with `{"to", "text", "from"}`.

use super::{Authority, Reply, Seen, Server};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// The number that it does not accept.
pub const REFUSED_NUMBER: &str = "+15550000";

/// A gateway that takes messages from whoever shows its key.
pub struct SmsGateway {
    pub server: Server,
    /// What it has sent, by the key of its request.
    sent: Arc<Mutex<BTreeMap<String, Value>>>,
}

impl SmsGateway {
    /// Of plain HTTP, for those who send `Bearer KEY`.
    pub async fn start(key: &str) -> SmsGateway {
        SmsGateway::start_with(key, None).await
    }

    pub async fn start_with(key: &str, authority: Option<&Authority>) -> SmsGateway {
        let sent: Arc<Mutex<BTreeMap<String, Value>>> = Arc::default();
        let (bearer, sending) = (format!("Bearer {key}"), sent.clone());
        let work = move |seen: &Seen| take(seen, &bearer, &mut sending.lock().unwrap());
        let server = Server::start_with(authority, work).await;
        SmsGateway { server, sent }
    }

    /// The messages that it has sent, each once, whatever was repeated.
    pub fn sent(&self) -> Vec<Value> {
        self.sent.lock().unwrap().values().cloned().collect()
    }
}

fn take(seen: &Seen, bearer: &str, sent: &mut BTreeMap<String, Value>) -> Reply {
    if (seen.method.as_str(), seen.path.as_str()) != ("POST", "/v1/messages") {
        return Reply::new(404, json!({}));
    }
    if seen.header("authorization") != bearer {
        return Reply::new(401, json!({ "error": "no such key" }));
    }
    let key = seen.header("idempotency-key").to_owned();
    if key.is_empty() {
        return Reply::new(400, json!({ "error": "no idempotency-key" }));
    }
    let message = seen.json();
    if message["to"] == REFUSED_NUMBER {
        return Reply::new(422, json!({ "error": "no such number" }));
    }
    let number = sent.len() + 1;
    let message = sent.entry(key).or_insert_with(|| {
        let mut message = message;
        message["id"] = json!(format!("sms-{number}"));
        message
    });
    Reply::new(201, message.clone())
}
