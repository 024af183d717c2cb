//! Those who have the events emitted.

use super::Gateway;
use crate::PATIENCE;
use crate::dice::Dice;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Accounts of one client. Events of one are in order, those of several are not.
const ACCOUNTS: u64 = 8;

/// Events of one transaction, at most.
const MOST_EVENTS: u64 = 4;

/// A request that has neither an answer nor an end after this long has failed.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// One client, which sends one request after the other.
pub(super) struct Client {
    number: u64,
    dice: Dice,
    gateway: Gateway,
    http: Http<HttpConnector, Full<Bytes>>,
    /// Events that are committed for certain, of all clients.
    acknowledged: Arc<AtomicU64>,
    done: Done,
}

/// What was emitted, as the client knows it.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub accounts: BTreeMap<String, Account>,
    pub transactions: u64,
    /// Requests without an answer, and those of them that turned out to have been committed.
    pub cut: u64,
    pub cut_committed: u64,
    /// Answers of 5xx.
    pub refused: u64,
    /// What must not be.
    pub differences: Vec<String>,
}

/// What an account comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Account {
    pub entries: u64,
    pub sum: i64,
    #[serde(default)]
    pub wrong: u64,
}

/// What the emitter says of a transaction.
#[derive(Deserialize)]
struct Told {
    ids: Vec<String>,
    counters: Vec<i64>,
    repeated: bool,
}

impl Client {
    pub(super) fn new(
        seed: u64,
        number: u64,
        gateway: Gateway,
        acknowledged: Arc<AtomicU64>,
    ) -> Client {
        let mut seeds = Dice(seed ^ number << 32);
        Client {
            number,
            dice: Dice(seeds.below(u64::MAX)),
            gateway,
            http: Http::builder(TokioExecutor::new()).build_http(),
            acknowledged,
            done: Done::default(),
        }
    }

    /// Has so many events emitted, each once.
    pub(super) async fn emit(mut self, events: u64) -> Done {
        let mut left = events;
        while left > 0 {
            let count = (1 + self.dice.below(MOST_EVENTS)).min(left);
            self.transaction(count).await;
            self.acknowledged.fetch_add(count, SeqCst);
            left -= count;
        }
        self.done
    }

    async fn transaction(&mut self, count: u64) {
        let name = format!("{}-{}", self.number, self.dice.below(ACCOUNTS));
        let mut account = self.done.accounts.get(&name).copied().unwrap_or_default();
        let before = account;
        let mut events = Vec::new();
        for _ in 0..count {
            // Some take money out.
            let amount = self.dice.below(1_000) as i64 - 250;
            account.entries += 1;
            account.sum += amount;
            let data = json!({ "number": account.entries, "amount": amount });
            events.push(json!({
                "kind": "test.entry.v1", "subject": name,
                "content_type": "application/json", "data": data.to_string(),
            }));
        }
        let (entries, sum) = (count as i64, account.sum - before.sum);
        let once = format!("{}/{}", self.number, self.done.transactions);
        // Counters are told in the order of their names.
        let task = json!({
            "once": once,
            "add": {
                format!("entries.{name}"): entries, format!("sum.{name}"): sum,
                "total.entries": entries, "total.sum": sum,
            },
            "events": events,
        });
        let told = self.commit(&task).await;
        // One that was committed before tells neither.
        let counters = [account.entries as i64, account.sum];
        if !told.repeated && told.counters.get(..2) != Some(&counters[..]) {
            self.differ(format!(
                "{once}: counters {:?}, not {counters:?}",
                told.counters
            ));
        }
        if !told.repeated && told.ids.len() as u64 != count {
            let ids = told.ids.len();
            self.differ(format!("{once}: {ids} ids of {count} events"));
        }
        self.done.transactions += 1;
        self.done.accounts.insert(name, account);
    }

    fn differ(&mut self, what: String) {
        self.done.differences.push(what);
    }

    /// Asks until it is told that the transaction is committed.
    async fn commit(&mut self, task: &Value) -> Told {
        let body = Bytes::from(task.to_string());
        let deadline = Instant::now() + PATIENCE * 2;
        let mut unsure = false;
        loop {
            assert!(Instant::now() < deadline, "it is not committed: {task}");
            let gateway = self.gateway.wait_for(Option::is_some).await;
            let gateway = gateway.expect("kills go on for longer").clone();
            let url = format!("{}/emitter/do", gateway.unwrap());
            match self.post(&url, body.clone()).await {
                Some((StatusCode::OK, answer)) => {
                    let told: Told = serde_json::from_slice(&answer).unwrap();
                    self.done.cut_committed += u64::from(unsure && told.repeated);
                    if told.repeated && !unsure {
                        self.differ(format!("it was committed before it was sent: {task}"));
                    }
                    return told;
                }
                Some((status, answer)) => {
                    let text = String::from_utf8_lossy(&answer);
                    assert!(status.is_server_error(), "{status} {text}");
                    self.done.refused += 1;
                    unsure = true;
                }
                None => {
                    self.done.cut += 1;
                    unsure = true;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A whole answer, if there is one.
    async fn post(&self, url: &str, body: Bytes) -> Option<(StatusCode, Bytes)> {
        let request = Request::post(url).body(Full::new(body)).unwrap();
        let answer = async {
            let response = self.http.request(request).await.ok()?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.ok()?;
            Some((head.status, body.to_bytes()))
        };
        tokio::time::timeout(ANSWER_TIME, answer).await.ok()?
    }
}
