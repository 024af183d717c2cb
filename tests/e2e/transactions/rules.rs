//! What a transaction does, and what it is refused for.

use super::{committed, event, host, key, refused, stored, transact};
use hms_harness::{Host, guest};
use http::Method;
use serde_json::json;

#[tokio::test]
async fn transaction_changes_keys_and_emits_events_with_the_hosts_own_fields() {
    let emitter = guest("emitter").await;
    // A trace goes on from there alone.
    let proxy = ["--trusted-proxies", "127.0.0.1"];
    let mut host = Host::with_open_windows_and(&[("emitter", &emitter)], &proxy).await;
    committed(&host, json!({ "set": { "old": "1", "n": "5" } })).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let task = json!({
        "read": ["old", "new"],
        "set": { "new": "2" }, "delete": ["old"], "add": { "n": -7, "m": 1 },
        "events": [
            { "kind": "a.v1", "subject": "s", "partition_key": "p", "data": "one",
              "attributes": [["office", "Köln"]] },
            { "kind": "b.v1", "content_type": "application/json", "data": "{}" },
        ],
    });
    let headers = [("traceparent", parent.as_str())];
    let answer = host
        .call(Method::POST, "/emitter/do", &headers, task.to_string())
        .await;
    let done = answer.json();
    assert_eq!(done["read"], json!({ "old": "1", "new": null }), "{done}");
    assert_eq!(done["counters"], json!([1, -2]));
    assert_eq!(done["repeated"], false);
    assert_eq!(key(&host, "old").await, None);
    assert_eq!(key(&host, "n").await.as_deref(), Some("-2"));

    host.terminate().await;
    let log = stored(&host).await.log;
    let ids: Vec<&str> = log.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(json!(ids), done["ids"]);
    assert_eq!((log[0].sequence, log[1].sequence), (1, 2));
    let first = &log[0].event;
    assert_eq!(
        (first.kind.as_str(), first.data.as_slice()),
        ("a.v1", &b"one"[..])
    );
    assert_eq!(first.subject.as_deref(), Some("s"));
    assert_eq!(first.partition_key.as_deref(), Some("p"));
    assert_eq!(first.attributes, [("office".to_owned(), "Köln".to_owned())]);
    for event in &log {
        let of = event.event.traceparent.as_deref().unwrap();
        assert!(of.starts_with(&format!("00-{trace}-")), "{of}");
    }
}

#[tokio::test]
async fn instances_that_read_and_write_the_same_key_lose_no_update() {
    const BUMPS: usize = 10;
    let host = host().await;
    let base = host.gateway().to_owned();
    let clients = (0..8).map(|_| {
        let url = format!("{base}/emitter/bump/n");
        tokio::spawn(async move {
            for _ in 0..BUMPS {
                let answer = hms_harness::http::try_request(Method::POST, &url, &[], Vec::new());
                let answer = answer.await.unwrap();
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    assert_eq!(key(&host, "n").await.as_deref(), Some("80"));
}

#[tokio::test]
async fn once_key_holds_over_a_restart_also_for_a_transaction_refused_now() {
    let mut host = host().await;
    let task = json!({ "once": "order-7", "add": { "n": 1 }, "events": [event("7")] });
    let first = committed(&host, task.clone()).await;
    assert_eq!(first["repeated"], false);
    let second = committed(&host, task.clone()).await;
    assert_eq!(
        (&second["repeated"], &second["ids"]),
        (&json!(true), &json!([]))
    );
    host.kill();
    host.boot().await;
    assert_eq!(committed(&host, task.clone()).await["repeated"], true);
    let mut refusing = task.clone();
    refusing["refuse"] = json!(true);
    assert_eq!(committed(&host, refusing.clone()).await["repeated"], true);
    // Under another key nothing was done before.
    refusing["once"] = json!("order-8");
    assert_eq!(refused(&host, refusing).await.0, "refused");
    assert_eq!(key(&host, "n").await.as_deref(), Some("1"));
    host.terminate().await;
    assert_eq!(stored(&host).await.log.len(), 1);
}

#[tokio::test]
async fn timer_is_replaced_and_cancelled_by_its_name() {
    const DAY_MS: u64 = 86_400_000;
    let mut host = host().await;
    let timer = |subject: &str, days: u64| {
        let after_ms = days * DAY_MS;
        json!({ "name": "remind", "subject": subject, "after_ms": after_ms })
    };
    committed(&host, json!({ "timers": [timer("a", 1), timer("b", 1)] })).await;
    committed(
        &host,
        json!({ "timers": [timer("a", 10)], "cancel": [["remind", "b"], ["remind", "c"]] }),
    )
    .await;
    host.terminate().await;
    let stored = stored(&host).await;
    assert!(stored.log.is_empty());
    let [(due, waits)] = stored.waiting.as_slice() else {
        panic!("{:?}", stored.waiting);
    };
    assert_eq!(
        (waits.event.kind.as_str(), waits.event.subject.as_deref()),
        ("remind", Some("a"))
    );
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let days = (due - now.unwrap().as_millis() as u64) as f64 / DAY_MS as f64;
    assert!((9.9..10.0).contains(&days), "{days}");
}

#[tokio::test]
async fn bad_event_is_refused_by_its_field_and_commits_nothing() {
    let host = host().await;
    for (field, bad) in [
        ("type: ", json!({ "kind": "" })),
        ("type: ", json!({ "kind": "hms.schedule.nightly" })),
        ("subject: ", json!({ "kind": "a", "subject": "a\nb" })),
        ("data: ", json!({ "kind": "a", "bytes": 65_537 })),
        (
            "content-type: ",
            json!({ "kind": "a", "content_type": "text", "data": "x" }),
        ),
        (
            "attributes: 'id'",
            json!({ "kind": "a", "attributes": [["id", "7"]] }),
        ),
        (
            "attributes: 'source'",
            json!({ "kind": "a", "attributes": [["source", "urn:x"]] }),
        ),
        (
            "attributes: 'time'",
            json!({ "kind": "a", "attributes": [["time", "now"]] }),
        ),
        (
            "attributes: 'sequence'",
            json!({ "kind": "a", "attributes": [["sequence", "1"]] }),
        ),
        (
            "attributes: 'traceparent'",
            json!({ "kind": "a", "attributes": [["traceparent", "00"]] }),
        ),
        (
            "attributes: \"Office\"",
            json!({ "kind": "a", "attributes": [["Office", "1"]] }),
        ),
    ] {
        let task = json!({ "set": { "k": "x" }, "events": [event("good"), bad] });
        let (error, text) = refused(&host, task).await;
        assert_eq!(error, "event-refused", "{text}");
        assert!(text.contains(field), "{field} {text}");
    }
    assert_eq!(key(&host, "k").await, None);
    let (error, text) = refused(&host, json!({ "once": "hms-schedule/nightly@1" })).await;
    assert_eq!(error, "invalid", "{text}");
    assert_eq!(host.failures("emitter", "event-refused").await, 11);
}

#[tokio::test]
async fn bounds_of_store_and_outbox_are_told_and_counted() {
    let host = host().await;
    committed(&host, json!({ "set": { "word": "one" } })).await;
    let (error, text) = refused(&host, json!({ "add": { "word": 1 }, "set": { "k": "x" } })).await;
    assert_eq!(error, "invalid", "{text}");
    assert!(text.contains("'word'"), "{text}");
    let long = "x".repeat(1025);
    assert_eq!(
        refused(&host, json!({ "set": { long: "x" } })).await.0,
        "invalid"
    );
    let large = "x".repeat((4 << 20) + 1);
    assert_eq!(
        refused(&host, json!({ "set": { "k": large } })).await.0,
        "invalid"
    );

    // What waits for its time is needed, whoever reads the log.
    host.limit("emitter", &["--outbox", "100KiB"]).await;
    let later = json!({ "kind": "a", "bytes": 60_000, "not_before_ms": 4_000_000_000_000_u64 });
    let task = json!({ "add": { "n": 1 }, "events": [later] });
    committed(&host, task.clone()).await;
    let (error, text) = refused(&host, task.clone()).await;
    assert_eq!(error, "outbox-full", "{text}");
    assert!(host.failures("emitter", "outbox-full").await > 0);
    host.limit("emitter", &["--outbox", "1MiB"]).await;
    committed(&host, task).await;
    assert_eq!(key(&host, "n").await.as_deref(), Some("2"));

    host.limit("emitter", &["--store", "1KiB"]).await;
    let full = json!({ "set": { "k": "x".repeat(2000) }, "events": [event("k")] });
    assert_eq!(refused(&host, full).await.0, "store-full");
    assert_eq!(key(&host, "k").await, None);
}

#[tokio::test]
async fn client_cannot_forge_a_delivery() {
    let host = host().await;
    let headers = [
        ("x-hms-delivery", "payments; attempt=1; round=0"),
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "urn:hms:window:payments"),
        ("ce-type", "gov.payment.paid.v1"),
    ];
    let answer = host
        .call(Method::POST, "/emitter/event", &headers, "{}")
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.problem().as_str()),
        (403, "not-a-delivery")
    );
}

#[tokio::test]
async fn operator_agrees_to_a_release_that_emits_events() {
    let hello = guest("hello-wasip3").await;
    let host = Host::with_open_windows(&[("emitter", &hello)]).await;
    let emitter = guest("emitter").await;
    let asked = host
        .admin(Method::PUT, "/windows/emitter", emitter.as_slice())
        .await;
    assert_eq!(
        (asked.status.as_u16(), asked.problem().as_str()),
        (409, "needs-consent")
    );
    let text = asked.text();
    assert!(
        text.contains("hms:store/transactions: it may now emit events"),
        "{text}"
    );
    host.deploy("emitter", &emitter).await;
    assert_eq!(
        transact(&host, json!({ "events": [event("a")] }))
            .await
            .status,
        200
    );
}
