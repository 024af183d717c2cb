//! A host with its windows, and those who ask it.

use bytes::Bytes;
use hms_harness::wrk::{Figure, Load};
use hms_harness::{Host, eventually, guest, root};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Events of one transaction when a log is filled: just under the most that it may have.
const BATCH: u64 = 250;

/// Different subjects: more than there are deliveries at once, so that order keeps nothing waiting.
pub const SUBJECTS: u64 = 256;

/// A host with the windows `emitter`, `ledger` and `hello`, whose log is at `warn`.
pub struct BenchHost {
    pub host: Host,
    http: Client<HttpConnector, Full<Bytes>>,
}

impl BenchHost {
    pub async fn open() -> BenchHost {
        let windows = [
            ("emitter", guest("emitter").await),
            ("ledger", guest("ledger").await),
            ("hello", guest("hello-wasip3").await),
        ];
        let windows = windows
            .each_ref()
            .map(|(name, wasm)| (*name, wasm.as_slice()));
        let mut host = Host::with_open_windows(&windows).await;
        host.terminate().await;
        host.boot_with(&[("HMS_LOG", "warn")]).await;
        BenchHost {
            host,
            http: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// Has `window` get the events of the emitter at `to`, by a subscription of that name, and
    /// waits until it does.
    pub async fn subscribe(&self, window: &str, name: &str, to: &str, more: &str) {
        let text = format!(
            "{more}subscriptions:\n  {name}:\n    from: [emitter]\n    to: {to}\n    start: now\n"
        );
        self.write_subscription(window, name, &text).await;
    }

    /// Writes the file of `window`, and waits until its subscription `name` is in force.
    pub async fn write_subscription(&self, window: &str, name: &str, text: &str) {
        self.host.write_grants(window, text);
        eventually("the subscription is in force", || async {
            self.of_subscription(window, name, "lag").await
        })
        .await;
    }

    pub async fn of_subscription(&self, window: &str, name: &str, what: &str) -> Option<u64> {
        let sample = format!(r#"hms_subscription_{what}{{window="{window}",name="{name}"}}"#);
        self.host.metric(&sample).await
    }

    /// Deliveries that were taken so far.
    pub async fn delivered(&self, window: &str, name: &str) -> u64 {
        let labels = format!(r#"window="{window}",subscription="{name}",outcome="done""#);
        let sample = format!("hms_deliveries_total{{{labels}}}");
        self.host.metric(&sample).await.unwrap_or_default()
    }

    /// Waits until the subscription has nothing left.
    pub async fn drained(&self, window: &str, name: &str) {
        eventually("all is delivered", || async {
            (self.of_subscription(window, name, "lag").await == Some(0)).then_some(())
        })
        .await;
    }

    /// Has the emitter do that in one transaction.
    pub async fn emit(&self, task: &Value) {
        let url = format!("{}/emitter/do", self.host.gateway());
        let body = Full::new(Bytes::from(task.to_string()));
        let request = Request::post(url).body(body).unwrap();
        let response = self.http.request(request).await.unwrap();
        let (status, body) = (response.status(), response.into_body());
        let text = body.collect().await.unwrap().to_bytes();
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&text));
    }

    /// Emits at least so many events, in few transactions.
    pub async fn fill(&self, events: u64) -> u64 {
        let batches = events.div_ceil(BATCH);
        for batch in 0..batches {
            let numbers = batch * BATCH..(batch + 1) * BATCH;
            let events: Vec<Value> = numbers.map(|number| event(number, None)).collect();
            self.emit(&json!({ "events": events })).await;
        }
        batches * BATCH
    }
}

/// An entry for the ledger. `asked_us`: its lateness is to be counted from then on.
pub fn event(number: u64, asked_us: Option<u64>) -> Value {
    let entry = json!({
        "number": 1 + number / SUBJECTS, "amount": 42, "asked_us": asked_us,
        "purpose": "FOIA copy fee", "office": "north", "payment": "0198c0de-5a1e-7000-8000-000000000000",
    });
    json!({
        "kind": "test.entry.v1", "subject": (number % SUBJECTS).to_string(),
        "content_type": "application/json", "data": entry.to_string(),
    })
}

/// Microseconds since 1970.
pub fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_micros() as u64
}

/// Runs wrk for so long, beside whatever else this process does. Every request must succeed.
pub async fn wrk(load: &Load, time: Duration) -> Figure {
    let load = load.clone();
    let figure = tokio::task::spawn_blocking(move || load.run(time)).await;
    let figure = figure.unwrap().unwrap();
    // A refusal is quicker than an answer.
    assert_eq!(figure.failed, 0, "requests failed");
    figure
}

/// A script by which wrk sends a POST with that body.
pub fn post(name: &str, body: &str) -> PathBuf {
    let folder = root().join("target/events/scripts");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("{name}.lua"));
    let text = format!(
        "wrk.method = 'POST'\nwrk.headers['content-type'] = 'application/json'\nwrk.body = [==[{body}]==]\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}
