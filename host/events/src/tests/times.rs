//! Timers and schedules.

use super::fixture::{EPOCH, clock, event};
use super::*;
use crate::limits::EventsLimits;
use crate::records::Id;
use crate::schedules::Known;
use crate::upkeep::Chore;
use hms_grants::schedule::{Missed, Overlap, Schedule};
use hms_grants::subscription::{Filter, Subscription};
use hms_store::conformance::Memory;
use hms_store::{Backend, NewEvent, Store, StoreError, StoreId, StoreLimits};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

fn minutely(overlap: Overlap) -> Schedule {
    Schedule {
        name: "job".into(),
        cron: "* * * * *".into(),
        time_zone: "UTC".into(),
        to: "/jobs".into(),
        missed: Missed::Last,
        within: Duration::from_secs(3_600),
        overlap,
        jitter: Duration::ZERO,
        line: 1,
    }
}

#[tokio::test(start_paused = true)]
async fn timer_is_delivered_when_it_is_due_and_not_before() {
    let mut host = Host::new(&[("a", subscription("own", "a"))]).await;
    let due = clock() + 90_000;
    let timer = NewEvent {
        not_before_ms: Some(due),
        name: Some("remind".into()),
        ..event("x")
    };
    host.transact("a", vec![timer]).await;
    host.pass(Duration::from_secs(30)).await;
    // A timer outlives the host, whose store is opened for it.
    host.restart().await;
    host.pass(Duration::from_secs(50)).await;
    assert_eq!(host.sequences(), [0; 0]);
    host.pass(Duration::from_secs(20)).await;
    let seen = host.seen();
    assert_eq!(seen.len(), 1);
    assert!(
        seen[0].at_ms >= due && seen[0].at_ms - due < 50,
        "{}",
        seen[0].at_ms - due
    );
}

#[tokio::test(start_paused = true)]
async fn schedule_runs_at_its_times() {
    let mut host = Host::new(&[]).await;
    host.schedule("a", minutely(Overlap::Skip));
    host.pass(Duration::from_secs(130)).await;
    let seen = host.seen();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(seen[0].subscription, "hms.schedule.job");
    let expected = EPOCH + 60_000;
    assert!(
        seen[0].at_ms.abs_diff(expected) < 1_100,
        "{}",
        seen[0].at_ms
    );
    // None of it is run twice.
    host.restart().await;
    host.settle().await;
    assert!(host.seen().is_empty());
    let shown = host.events.schedules();
    assert_eq!(
        (shown.len(), shown[0].running, shown[0].left_out),
        (1, false, 0)
    );
    host.events.run_schedule("a", "job").await.unwrap();
    host.settle().await;
    assert_eq!(host.seen().len(), 1);
    assert!(host.events.run_schedule("a", "other").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn run_is_left_out_while_the_last_one_is_not_over_or_waits() {
    for (overlap, expected) in [(Overlap::Skip, 2), (Overlap::Queue, 3)] {
        let host = Host::new(&[]).await;
        host.script(|_| Reply::In(Duration::from_secs(100)));
        let began = clock();
        host.schedule("a", minutely(overlap));
        // To the middle of a minute, so that times of the expression are not met by chance.
        let offset = 60_000 - (began - EPOCH) % 60_000;
        host.pass(Duration::from_millis(offset)).await;
        host.pass(Duration::from_secs(215)).await;
        let seen = host.seen();
        assert_eq!(seen.len(), expected, "{overlap:?}: {seen:?}");
        let shown = host.events.schedules().remove(0);
        let last = shown.last_left_out.map(|last| last.second());
        let wanted = match overlap {
            Overlap::Skip => (2, Some(0)),
            Overlap::Queue => (0, None),
        };
        assert_eq!((shown.left_out, last), wanted);
        assert_eq!(host.most_at_once(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn store_that_hangs_or_fails_keeps_no_timer_of_another_waiting_and_is_left_alone_for_a_moment()
 {
    let host = Host::new(&[("b", subscription("own", "b"))]).await;
    let shared = &host.events.shared;
    shared.chore(Chore::Promote, "a", async |_, _| {
        std::future::pending().await
    });
    let timer = NewEvent {
        not_before_ms: Some(clock() + 1_000),
        ..event("x")
    };
    host.transact("b", vec![timer]).await;
    let begun = Arc::new(AtomicUsize::new(0));
    for _ in 0..100 {
        for window in ["a", "c"] {
            let begun = begun.clone();
            shared.chore(Chore::Promote, window, async move |_, _| {
                begun.fetch_add(1, Relaxed);
                false
            });
        }
        host.pass(Duration::from_millis(20)).await;
    }
    assert_eq!(host.sequences(), [1]);
    // That of c, once a second.
    assert_eq!(begun.load(Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn runs_of_a_schedule_go_to_others_only_where_a_filter_names_them() {
    let runs = Subscription {
        filters: vec![Filter::Prefix(vec![("type".into(), "hms.".into())])],
        ..subscription("runs", "a")
    };
    let all = subscription("all", "a");
    let host = Host::new(&[("b", all), ("c", runs)]).await;
    host.schedule("a", minutely(Overlap::Skip));
    host.settle().await;
    host.events.run_schedule("a", "job").await.unwrap();
    host.emit("a", &["x"]).await;
    host.settle().await;
    let mut seen: Vec<_> = host
        .seen()
        .into_iter()
        .map(|seen| (seen.window, seen.sequence))
        .collect();
    seen.sort();
    let one = |window: &str, sequence| (window.to_owned(), sequence);
    assert_eq!(seen, [one("a", 1), one("b", 2), one("c", 1)]);
}

#[tokio::test(start_paused = true)]
async fn schedule_whose_runs_are_paused_or_parked_says_so() {
    let host = Host::new(&[]).await;
    host.schedule("a", minutely(Overlap::Skip));
    host.settle().await;
    for (status, expected) in [(400, (1, false)), (410, (1, true))] {
        host.script(move |_| Reply::Status(status));
        host.events.run_schedule("a", "job").await.unwrap();
        host.settle().await;
        let shown = host.events.schedules().remove(0);
        assert_eq!((shown.parked, shown.paused.is_some()), expected);
        let runs = host.events.subscriptions().remove(0);
        assert_eq!((runs.parked, runs.paused.is_some()), expected);
        assert_eq!(runs.name, "hms.schedule.job");
    }
}

#[tokio::test(start_paused = true)]
async fn edits_of_subscriptions_whose_window_hangs_keep_no_timer_waiting() {
    let all = ["x", "y", "z"].map(|name| subscription(name, "a"));
    let subscriptions = all.iter().map(|one| ("b", one.clone()));
    let mut subscriptions: Vec<_> = subscriptions.collect();
    subscriptions.push(("c", subscription("own", "c")));
    let host = Host::new(&subscriptions).await;
    host.script(|seen| match seen.window.as_str() {
        "b" => Reply::In(Duration::from_secs(3_600)),
        _ => Reply::Status(200),
    });
    host.emit("a", &["x"]).await;
    host.settle().await;
    let began = clock();
    let due = began + 2_000;
    let timer = NewEvent {
        not_before_ms: Some(due),
        ..event("t")
    };
    host.transact("c", vec![timer]).await;
    let edited = all.map(|one| Subscription {
        concurrency: 2,
        ..one
    });
    host.grant("b", edited.to_vec());
    host.pass(Duration::from_secs(60)).await;
    let seen = host.seen();
    let timer = seen.iter().find(|seen| seen.window == "c").unwrap();
    assert!(timer.at_ms - due < 1_100, "{}", timer.at_ms - due);
    // All of them end at once: each is delivered again when the longest time is over.
    let again: Vec<_> = seen.iter().filter(|seen| seen.window == "b").collect();
    assert!(again.len() >= 6, "{again:?}");
    assert!(again.iter().all(|seen| seen.at_ms < began + 16_000));
}

#[tokio::test(start_paused = true)]
async fn schedule_that_is_edited_or_put_back_runs_for_no_time_before() {
    let host = Host::new(&[]).await;
    let at = |cron: &str| Schedule {
        cron: cron.into(),
        ..minutely(Overlap::Skip)
    };
    host.schedule("a", at("0 12 * * *"));
    host.pass(Duration::from_secs(30 * 60)).await;
    // It would have been ten minutes ago.
    host.schedule("a", at("20 * * * *"));
    host.pass(Duration::from_secs(40 * 60)).await;
    assert_eq!(host.seen().len(), 0);
    host.pass(Duration::from_secs(15 * 60)).await;
    assert_eq!(host.seen().len(), 1);
    host.declare("a", Vec::new(), Vec::new());
    host.pass(Duration::from_secs(60 * 60)).await;
    host.schedule("a", at("20 * * * *"));
    host.pass(Duration::from_secs(10 * 60)).await;
    assert_eq!(host.seen().len(), 0);
    // What else it says is no reason.
    let within = Schedule {
        within: Duration::from_secs(60),
        ..at("20 * * * *")
    };
    host.pass(Duration::from_secs(44 * 60 + 58)).await;
    host.schedule("a", within);
    host.pass(Duration::from_secs(60)).await;
    assert_eq!(host.seen().len(), 1);
}

/// Stores that are made only once the test says so.
struct Gated(Memory, Mutex<Receiver<()>>, Arc<AtomicUsize>);

impl Backend for Gated {
    fn open(&self, name: &str, create: bool) -> Result<Option<Arc<dyn Store>>, StoreError> {
        if create {
            self.2.fetch_add(1, Relaxed);
            // Nothing is sent: it ends with the sender.
            let _ = self.1.lock().recv();
        }
        self.0.open(name, create)
    }

    fn list(&self) -> Result<BTreeMap<String, StoreId>, StoreError> {
        self.0.list()
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.0.remove(name)
    }
}

#[tokio::test(start_paused = true)]
async fn run_that_an_operator_begins_puts_back_no_time_of_a_schedule() {
    let (end, closed) = channel();
    let opened = Arc::new(AtomicUsize::new(0));
    let memory = Memory::new(StoreLimits::default());
    let stores = Box::new(Gated(memory, Mutex::new(closed), opened.clone()));
    let host = Host::over(&[], EventsLimits::default(), stores).await;
    host.schedule("a", minutely(Overlap::Skip));
    host.pass(Duration::from_secs(59)).await;
    tokio::time::advance(Duration::from_secs(2)).await;
    // The run at the full minute waits for the store, and time stands still.
    while opened.load(Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    let events = host.events.clone();
    let by_hand = tokio::spawn(async move { events.run_schedule("a", "job").await });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    drop(end);
    by_hand.await.unwrap().unwrap();
    host.settle().await;
    let last = |_: &Id, known: &Known, _: &Schedule| known.record.last_ms;
    let last = host.events.shared.schedules.each(last);
    assert_eq!(last, [EPOCH + 60_000]);
    assert_eq!(host.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn schedule_goes_on_after_the_store_of_its_window_was_made_anew() {
    let host = Host::new(&[]).await;
    host.schedule("a", minutely(Overlap::Skip));
    host.settle().await;
    for _ in 0..20 {
        host.events.run_schedule("a", "job").await.unwrap();
    }
    host.settle().await;
    host.stores.remove("a").unwrap();
    host.events.store_deleted("a");
    host.seen();
    host.pass(Duration::from_secs(125)).await;
    assert_eq!(host.seen().len(), 2);
    assert_eq!(host.events.schedules()[0].left_out, 0);
}

#[tokio::test(start_paused = true)]
async fn reason_why_something_waits_is_logged_once() {
    let host = Host::new(&[]).await;
    let is_news = |why| host.events.shared.is_news("a/job", why);
    let full = Some("the outbox is full");
    assert_eq!([full, full].map(is_news), [true, false]);
    assert_eq!([Some("the disk is full"), full].map(is_news), [true, true]);
    is_news(None);
    assert!(is_news(full) && host.events.shared.is_news("b/job", full));
}
