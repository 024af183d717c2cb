//! Windows in other languages behave as those in Rust: one suite of HTTP cases, `payments.json`,
//! for the payments window in each.
//!
//! The tools of a language are installed by whoever has it. Without them its test is skipped, and
//! says what to install; with `CI` set it fails.

mod cases;
mod templates;
mod tools;

pub(crate) use tools::{c, javascript, python};

use hms_harness::{Host, guests};
use serde_json::{Value, json};

#[tokio::test]
async fn payments_in_rust_passes_the_suite() {
    suite(&guests::window("payments").await).await;
}

#[tokio::test]
async fn payments_in_javascript_passes_the_suite() {
    if let Some(component) = tools::javascript("payments").await {
        suite(&component).await;
    }
}

#[tokio::test]
async fn payments_in_python_passes_the_suite() {
    if let Some(component) = tools::python("payments").await {
        suite(&component).await;
    }
}

#[tokio::test]
async fn payments_in_c_passes_the_suite() {
    if let Some(component) = tools::c("payments").await {
        suite(&component).await;
    }
}

async fn suite(component: &[u8]) {
    let host = Host::start().await;
    host.write_grants("payments", "config: {currency: EUR}\n");
    host.deploy("payments", component).await;
    let kept = cases::run(&host).await;

    let shown = host
        .cli("events", &["payments", "--after", "0", "--json"])
        .await;
    let text = String::from_utf8(shown.stdout).unwrap();
    let events = serde_json::Deserializer::from_str(&text).into_iter();
    let events: Vec<Value> = events.map(Result::unwrap).collect();
    let told = |event: &Value| {
        let data: Value = serde_json::from_str(event["data"].as_str().unwrap()).unwrap();
        json!([event["type"], event["subject"], event["content_type"], data])
    };
    let paid = "gov.payment.paid.v1";
    let first = json!({ "id": kept["first"], "amount": 42, "purpose": "FOIA copy fee ü",
        "owner": "alice", "currency": "EUR" });
    assert_eq!(
        told(&events[0]),
        json!([paid, kept["first"], "application/json", first])
    );
    let subjects: Vec<&Value> = events.iter().map(|event| &event["subject"]).collect();
    assert_eq!(
        json!(subjects),
        json!([kept["first"], kept["second"], kept["third"]])
    );
}
