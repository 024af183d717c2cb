//! A host that is killed before and after each commit of a delivery, several times in a row: what
//! is delivered again has its effect once, and nothing is lost, parked twice or counted twice.

use super::office::{all, answering, deliveries, each_once, emit, event, gauge_is, host, noted};
use hms_api::{EventList, ScheduleList};
use hms_harness::http::try_request;
use hms_harness::{Host, eventually};
use hms_store::{Op, StoreLimits, open_file};
use http::Method;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

/// A host whose window `inbox` is subscribed by `grants`, and the id of an event that it has taken.
async fn begun(grants: &str) -> (Host, Vec<String>) {
    let mut host = host(&["inbox"]).await;
    host.write_grants("inbox", &all(&[]));
    let ids = emit(&host, &[event("one", "before")]).await;
    each_once(&host, "inbox", &ids).await;
    host.terminate().await;
    host.write_grants("inbox", grants);
    (host, ids)
}

/// Has the host do `task`, and end at the first of `points`; then be started and end at each of the
/// others, before it is even ready.
async fn killed_at(host: &mut Host, points: &[&str], task: &Value) {
    let (first, others) = points.split_first().unwrap();
    host.boot_with(&[("HMS_CRASH_AFTER", first)]).await;
    let url = format!("{}/emitter/do", host.gateway());
    // It may end before it has answered.
    let _ = try_request(Method::POST, &url, &[], task.to_string().into_bytes()).await;
    host.ended().await;
    for point in others {
        host.open_until_it_ends(&[("HMS_CRASH_AFTER", point)]).await;
    }
}

/// All events of the log of a window.
async fn log(host: &Host, window: &str) -> EventList {
    let path = format!("/windows/{window}/events?after=0");
    host.admin(Method::GET, &path, "").await.read()
}

/// How often what has these data was tried, as the window was told.
async fn attempts(host: &Host, data: &str) -> Vec<u32> {
    let all = deliveries(host, "inbox").await.into_iter();
    all.filter(|one| one.data == data)
        .map(|one| one.attempt)
        .collect()
}

#[tokio::test]
async fn event_is_delivered_until_that_is_on_disk_with_one_effect() {
    let (mut host, mut ids) = begun(&all(&[])).await;
    let task = json!({ "events": [event("one", "crash")] });
    let points = ["delivered", "acknowledging", "acknowledged"];
    killed_at(&mut host, &points, &task).await;
    host.boot().await;
    ids.push(log(&host, "emitter").await.events[1].id.clone());
    each_once(&host, "inbox", &ids).await;
    gauge_is(&host, "lag", "inbox", 0).await;
    assert_eq!(attempts(&host, "crash").await, [1, 1, 1]);
}

#[tokio::test]
async fn attempt_counts_once_it_is_on_disk() {
    let failing = answering(&json!({ "status": 503 }));
    let (mut host, mut ids) = begun(&format!("{}{failing}", all(&[]))).await;
    let task = json!({ "events": [event("one", "crash")] });
    let points = ["counting-attempt", "counting-attempt", "counted-attempt"];
    killed_at(&mut host, &points, &task).await;
    host.write_grants("inbox", &all(&[]));
    host.boot().await;
    ids.push(log(&host, "emitter").await.events[1].id.clone());
    each_once(&host, "inbox", &ids).await;
    assert_eq!(attempts(&host, "crash").await, [1, 1, 1, 2]);
}

#[tokio::test]
async fn event_is_parked_once_with_its_payload_and_its_key_goes_on() {
    let (mut host, mut ids) = begun(&all(&[])).await;
    let poison = json!({ "status": 422 }).to_string();
    let events = [event("one", poison.as_str()), event("one", "next")];
    let points = ["parking", "parking", "parked"];
    killed_at(&mut host, &points, &json!({ "events": events })).await;
    host.boot().await;
    ids.push(log(&host, "emitter").await.events[2].id.clone());
    each_once(&host, "inbox", &ids).await;
    gauge_is(&host, "parked", "inbox", 1).await;
    gauge_is(&host, "lag", "inbox", 0).await;
    assert_eq!(attempts(&host, &poison).await, [1, 1, 1]);
    host.terminate().await;
    assert_eq!(noted(&host, "inbox").await.parked, [poison]);
}

#[tokio::test]
async fn timer_comes_into_the_log_once() {
    let (mut host, mut ids) = begun(&all(&[])).await;
    let timer = json!({ "name": "remind", "subject": "one", "after_ms": 300 });
    let points = ["promoting", "promoting", "promoted"];
    killed_at(&mut host, &points, &json!({ "timers": [timer] })).await;
    host.boot().await;
    let log = eventually("it is due", || async {
        let log = log(&host, "emitter").await;
        (log.events.len() > 1).then_some(log)
    })
    .await;
    assert_eq!(log.events.len(), 2, "{log:?}");
    ids.push(log.events[1].id.clone());
    each_once(&host, "inbox", &ids).await;
    gauge_is(&host, "lag", "inbox", 0).await;
}

#[tokio::test]
async fn first_event_of_a_run_is_there_only_after_its_log_was_marked() {
    let (mut host, mut ids) = begun(&all(&[])).await;
    let task = json!({ "events": [event("one", "lost")] });
    for point in ["marking-log", "marked-log"] {
        killed_at(&mut host, &[point], &task).await;
    }
    host.boot().await;
    assert_eq!(log(&host, "emitter").await.events.len(), 1);
    ids.extend(emit(&host, &[event("one", "after")]).await);
    each_once(&host, "inbox", &ids).await;
}

#[tokio::test]
async fn schedule_runs_once_at_its_time() {
    let mut host = host(&["inbox"]).await;
    host.terminate().await;
    // It was due two minutes ago, and comes again in a day.
    let time = OffsetDateTime::now_utc() - Duration::minutes(2);
    let cron = format!("{} {} * * *", time.minute(), time.hour());
    host.write_grants(
        "inbox",
        &format!("schedules:\n  daily: {{cron: \"{cron}\", to: /once}}\n"),
    );
    looked_at(&host, time - Duration::minutes(10)).await;
    for point in [
        "running-schedule",
        "running-schedule",
        "ran-schedule",
        "ran-schedule",
        "noting-run",
        "noted-run",
    ] {
        host.open_until_it_ends(&[("HMS_CRASH_AFTER", point)]).await;
    }
    host.boot().await;
    let log = log(&host, "inbox").await;
    let [run] = &*log.events else {
        panic!("{log:?}");
    };
    assert_eq!(run.r#type, "hms.schedule.daily");
    each_once(&host, "inbox", std::slice::from_ref(&run.id)).await;
    eventually("the run is over", || async {
        let all: ScheduleList = host.admin(Method::GET, "/schedules", "").await.read();
        let one = &all.schedules[0];
        (one.last.is_some() && !one.running && one.left_out == 0).then_some(())
    })
    .await;
}

/// Has the schedule have been looked at then. While no host runs.
async fn looked_at(host: &Host, time: OffsetDateTime) {
    let file = host.data().join("events.redb");
    let record = json!({ "last_ms": time.unix_timestamp() * 1_000 });
    let written = tokio::task::spawn_blocking(move || {
        let store = open_file(file, "events", StoreLimits::default()).unwrap();
        let op = Op::Set {
            bucket: "schedules".into(),
            key: "inbox/daily".into(),
            value: record.to_string().into_bytes(),
        };
        (store.write(vec![op]), store)
    });
    let (written, store) = written.await.unwrap();
    written.await.unwrap();
    tokio::task::spawn_blocking(move || store.close())
        .await
        .unwrap();
}
