//! Deploys, canaries, fallbacks and stops of a window that gets events.

use super::Fixture;
use super::office::{
    all, answering, came_to, deliveries, each_once, emit, event, gauge_is, host, outcomes,
};
use hms_harness::guests::variant;
use hms_harness::{Host, eventually, guest};
use http::Method;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

async fn put(host: &Host, path: &str, wasm: Vec<u8>) {
    let answer = host.admin(Method::PUT, path, wasm).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
}

async fn post(host: &Host, path: &str) {
    let answer = host.admin(Method::POST, path, "").await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
}

/// Over a registry in this process, where a subscription can be resumed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn release_that_rejects_all_pauses_and_after_a_rollback_nothing_is_lost() {
    let data = tempfile::tempdir().unwrap();
    let fixture = Fixture::open(data.path()).await;
    fixture.deploy("inbox", "prober").await;
    // It has no such path: 404.
    fixture.deploy("inbox", "emitter").await;
    fixture.subscribe("inbox", "/cas/inbox/all");
    fixture.events.start();
    let datas: Vec<String> = (0..30).map(|number| format!("<{number}>")).collect();
    let datas: Vec<&str> = datas.iter().map(String::as_str).collect();
    fixture.emit(&datas).await;
    let status = || fixture.events.subscription("inbox", "all").unwrap();
    eventually("it is paused", || async {
        let paused = fixture.events.subscription("inbox", "all").ok()?.paused;
        paused.map(drop)
    })
    .await;
    // All of one key, so that one after the other was rejected.
    assert_eq!((status().parked, status().lag), (20, 10));

    let inbox = "inbox".parse().unwrap();
    fixture.registry.rollback(&inbox, None, true).await.unwrap();
    fixture.events.resume("inbox", "all").await.unwrap();
    eventually("all are taken", || async {
        let status = fixture.events.subscription("inbox", "all").unwrap();
        (status.lag == 0 && status.parked == 0).then_some(())
    })
    .await;
    assert_eq!(fixture.appended("inbox").await, datas);
    fixture.close().await;
}

#[tokio::test]
async fn swaps_and_rollbacks_lose_no_event_and_double_no_effect() {
    let host = host(&["inbox"]).await;
    let slow = answering(&json!({ "delay-ms": 10 }));
    host.write_grants("inbox", &format!("{}{slow}", all(&[])));
    let subscriber = guest("subscriber").await;
    let mut ids = Vec::new();
    for round in 0..4 {
        let subjects = (0..10).map(|key| event(&key.to_string(), format!("<{round}>")));
        ids.extend(emit(&host, &subjects.collect::<Vec<_>>()).await);
        match round % 2 {
            0 => {
                let path = "/windows/inbox?yes=true";
                put(&host, path, variant(&subscriber, &round.to_string())).await;
            }
            _ => post(&host, "/windows/inbox/rollback").await,
        }
    }
    each_once(&host, "inbox", &ids).await;
    let mut of_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for one in deliveries(&host, "inbox").await {
        of_key
            .entry(one.subject.unwrap())
            .or_default()
            .push(one.data);
    }
    assert!(of_key.values().all(|datas| datas.is_sorted()), "{of_key:?}");
}

#[tokio::test]
async fn canary_gets_all_events_of_a_key_or_none() {
    const KEYS: usize = 24;
    let host = host(&["inbox"]).await;
    host.write_grants("inbox", &all(&[]));
    let candidate = variant(&guest("subscriber").await, "2");
    put(&host, "/windows/inbox?canary=50%25&yes=true", candidate).await;
    let events = (0..3 * KEYS).map(|number| event(&(number % KEYS).to_string(), "x"));
    let ids = emit(&host, &events.collect::<Vec<_>>()).await;
    each_once(&host, "inbox", &ids).await;
    let log = host.whole_log().await;
    let mut releases = vec![BTreeSet::new(); KEYS];
    for (number, id) in ids.iter().enumerate() {
        let line = log
            .lines()
            .find(|line| line.contains(&format!("event=\"{id}\"")));
        let release = line.and_then(|line| line.split_once("release=")).unwrap().1;
        releases[number % KEYS].insert(release.split(' ').next().unwrap());
    }
    assert!(releases.iter().all(|one| one.len() == 1), "{releases:?}");
    let used: BTreeSet<_> = releases.iter().flatten().copied().collect();
    assert_eq!(used, BTreeSet::from(["1", "2"]));
}

#[tokio::test]
async fn release_that_traps_on_deliveries_falls_back_to_one_that_takes_them() {
    let host = host(&["inbox"]).await;
    host.limit("inbox", &["--failures", "3"]).await;
    let path = "/windows/inbox?yes=true&fallback=true";
    put(&host, path, guest("prober").await).await;
    host.write_grants("inbox", &all(&["to: /trap"]));
    let ids = emit(&host, &[event("one", "x")]).await;
    eventually("it has fallen back", || async {
        let live = host.window("inbox").await.live.map(|live| live.number);
        (live == Some(1)).then_some(())
    })
    .await;
    each_once(&host, "inbox", &ids).await;
    assert_eq!(deliveries(&host, "inbox").await[0].attempt, 4);
    gauge_is(&host, "parked", "inbox", 0).await;
}

#[tokio::test]
async fn events_wait_for_a_stopped_window_without_an_attempt() {
    let host = host(&["inbox"]).await;
    host.write_grants("inbox", &all(&[]));
    post(&host, "/windows/inbox/stop").await;
    let ids = emit(&host, &[event("one", "x")]).await;
    came_to(&host, "inbox", "not-tried").await;
    post(&host, "/windows/inbox/start").await;
    each_once(&host, "inbox", &ids).await;
    assert_eq!(deliveries(&host, "inbox").await[0].attempt, 1);
    assert_eq!(outcomes(&host, "inbox", "again").await, 0);
}
