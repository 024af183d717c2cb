//! Timers of real windows, and schedules by a clock that the test moves.

use super::Fixture;
use super::office::{all, deliveries, each_once, gauge_is, host, transact};
use hms_events::system_clock;
use hms_grants::schedule::{Missed, Overlap, Schedule};
use hms_grants::{Grants, WindowGrants};
use hms_harness::{Host, eventually};
use serde_json::{Value, json};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

fn timer(subject: &str, after_ms: u64) -> Value {
    json!({ "name": "remind", "subject": subject, "after_ms": after_ms })
}

/// Has `emitter` set timers and cancel others. Gives the ids.
async fn set(host: &Host, timers: &[Value], cancel: &[&str]) -> Vec<String> {
    let cancel: Vec<_> = cancel.iter().map(|subject| ("remind", subject)).collect();
    let done = transact(host, &json!({ "timers": timers, "cancel": cancel })).await;
    serde_json::from_value(done["ids"].clone()).unwrap()
}

#[tokio::test]
async fn timer_that_is_due_while_the_host_is_away_is_delivered_once_after() {
    let mut host = host(&["inbox"]).await;
    host.write_grants("inbox", &all(&[]));
    let before = system_clock();
    let ids = set(&host, &[timer("a", 300)], &[]).await;
    host.kill();
    let due = Duration::from_millis((before + 300).saturating_sub(system_clock()));
    tokio::time::sleep(due).await;
    host.boot().await;
    each_once(&host, "inbox", &ids).await;
    gauge_is(&host, "lag", "inbox", 0).await;
    assert_eq!(deliveries(&host, "inbox").await.len(), 1);
}

#[tokio::test]
async fn timer_that_is_replaced_or_cancelled_is_not_delivered() {
    let host = host(&["inbox"]).await;
    host.write_grants("inbox", &all(&[]));
    let far = 3_600_000;
    set(
        &host,
        &[timer("replaced", far), timer("cancelled", 1_000)],
        &[],
    )
    .await;
    let sooner = set(&host, &[timer("replaced", 100)], &["cancelled"]).await;
    each_once(&host, "inbox", &sooner).await;
    // It is due after the one that was cancelled.
    let last = set(&host, &[timer("last", 1_000)], &[]).await;
    each_once(&host, "inbox", &[sooner, last].concat()).await;
    let subjects = deliveries(&host, "inbox").await.into_iter();
    let subjects: Vec<_> = subjects.map(|one| one.subject.unwrap()).collect();
    assert_eq!(subjects, ["replaced", "last"]);
}

const HOUR_MS: u64 = 3_600_000;

/// How far the test has moved the clock.
static AHEAD_MS: AtomicU64 = AtomicU64::new(0);

/// It began at 00:30 on 5 January 2026.
fn clock() -> u64 {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    1_767_573_000_000 + BEGUN.elapsed().as_millis() as u64 + AHEAD_MS.load(SeqCst)
}

/// Has `jobs` be asked at each full hour.
fn declare(fixture: &Fixture) {
    let hourly = Schedule {
        name: "hourly".into(),
        cron: "0 * * * *".into(),
        time_zone: "UTC".into(),
        to: "/cas/inbox/all".into(),
        missed: Missed::Last,
        within: Duration::from_secs(24 * 3600),
        overlap: Overlap::Skip,
        jitter: Duration::ZERO,
        line: 1,
    };
    let grants = Grants {
        schedules: vec![hourly],
        ..Grants::default()
    };
    fixture.grants.window("jobs").store(WindowGrants {
        grants,
        ..WindowGrants::default()
    });
    fixture.events.grants_changed();
}

/// The times of the runs, once there are so many.
async fn runs(fixture: &Fixture, count: usize) -> Vec<String> {
    eventually("the runs are in the window's store", || async {
        let runs = fixture.appended("jobs").await;
        let time = |run: &String| -> String {
            let run: Value = serde_json::from_str(run).unwrap();
            run["time"].as_str().unwrap().to_owned()
        };
        (runs.len() >= count).then(|| runs.iter().map(time).collect())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedule_runs_at_its_time_and_once_for_the_times_that_a_host_was_away() {
    let data = tempfile::tempdir().unwrap();
    let fixture = Fixture::open_at(data.path(), clock).await;
    fixture.deploy("jobs", "prober").await;
    declare(&fixture);
    fixture.events.start();
    eventually("it is known", || async {
        (fixture.events.schedules().len() == 1).then_some(())
    })
    .await;
    AHEAD_MS.fetch_add(HOUR_MS, SeqCst);
    runs(&fixture, 1).await;
    fixture.close().await;

    AHEAD_MS.fetch_add(3 * HOUR_MS, SeqCst);
    let fixture = Fixture::open_at(data.path(), clock).await;
    declare(&fixture);
    fixture.registry.restore().await.unwrap();
    fixture.events.start();
    runs(&fixture, 2).await;
    AHEAD_MS.fetch_add(HOUR_MS, SeqCst);
    let times = runs(&fixture, 3).await;
    let wanted = ["01", "04", "05"].map(|hour| format!("2026-01-05T{hour}:00:00Z"));
    assert_eq!(times, wanted);
    fixture.close().await;
}
