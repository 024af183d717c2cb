//! What serves follows the record, by the difference between the two and no more.

use super::*;
use crate::window::Window;

/// Records of one window that differ in each thing that `settle` looks at.
async fn records(fixture: &Fixture) -> Vec<WindowRecord> {
    let [open, stopped, canary] = fixture.states().await;
    let running = canary.canary.unwrap();
    let of_canary = |running: CanaryRecord| WindowRecord {
        canary: Some(running),
        ..canary.clone()
    };
    let records = vec![
        WindowRecord {
            live: 1,
            ..open.clone()
        },
        WindowRecord {
            limits: open.limits.with(&limits(7)).unwrap(),
            ..open.clone()
        },
        WindowRecord {
            live: 3,
            canary: None,
            ..canary.clone()
        },
        WindowRecord {
            stopped: true,
            ..canary.clone()
        },
        of_canary(CanaryRecord {
            share: share("25%"),
            ..running
        }),
        of_canary(CanaryRecord {
            salt: running.salt + 1,
            ..running
        }),
        of_canary(CanaryRecord {
            number: 1,
            ..running
        }),
        WindowRecord::default(),
    ];
    [open, stopped, canary].into_iter().chain(records).collect()
}

/// All that can be seen of the window.
#[derive(Debug, PartialEq)]
struct Observed {
    seen: Seen,
    salt: Option<u64>,
    queue: u64,
    state: WindowState,
}

fn observed(fixture: &Fixture, window: &Window) -> Observed {
    Observed {
        seen: fixture.seen(&fixture.registry),
        salt: window.serving().canary().map(|canary| canary.salt),
        queue: window.limits.load().get(Limit::Queue),
        state: window.status().state,
    }
}

async fn settle(fixture: &Fixture, window: &Arc<Window>, record: &WindowRecord) {
    let change = Change::of_window(&fixture.registry, window).await;
    let settled = change.unwrap().settle(record.clone()).await;
    settled.unwrap();
}

/// The window as it is with no record.
fn empty(fixture: &Fixture) -> Arc<Window> {
    if let Ok(window) = fixture.registry.window(&name()) {
        fixture.registry.forget(&window);
    }
    fixture
        .registry
        .window_or_new(&name(), WindowRecord::default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serving_state_depends_on_the_record_alone_and_running_parts_are_kept() {
    let fixture = Fixture::new(false).await;
    let records = records(&fixture).await;
    for a in &records {
        for b in &records {
            let window = empty(&fixture);
            settle(&fixture, &window, b).await;
            let from_nothing = observed(&fixture, &window);
            let window = empty(&fixture);
            settle(&fixture, &window, a).await;
            let before = window.serving();
            settle(&fixture, &window, b).await;
            let after = window.serving();
            let case = format!("{a:#?} to {b:#?}");
            assert_eq!(observed(&fixture, &window), from_nothing, "{case}");
            for release in after.releases() {
                let number = release.record.number;
                let same = before.releases().find(|r| r.record.number == number);
                assert!(same.is_none_or(|same| Arc::ptr_eq(same, release)), "{case}");
            }
            let goes_on = |canary: &CanaryRecord| (canary.number, canary.salt);
            let open = !a.stopped && !b.stopped && b.canary.is_some();
            if open && a.canary.as_ref().map(goes_on) == b.canary.as_ref().map(goes_on) {
                let analysis = |serving: &Serving| serving.canary().unwrap().analysis.clone();
                assert!(Arc::ptr_eq(&analysis(&before), &analysis(&after)), "{case}");
            }
            settle(&fixture, &window, b).await;
            assert!(Arc::ptr_eq(&window.serving(), &after), "{case}, once more");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_release_keeps_draining_when_it_is_live_again() {
    let fixture = Fixture::new(false).await;
    let [open, ..] = fixture.states().await;
    let earlier = WindowRecord {
        live: 1,
        ..open.clone()
    };
    let window = empty(&fixture);
    settle(&fixture, &window, &open).await;
    let (lease, _) = window.lease(&call()).unwrap();
    for record in [&earlier, &open, &open] {
        settle(&fixture, &window, record).await;
        let draining = window.status().draining;
        assert!(draining.iter().any(|d| d.number == 2 && d.leases == 1));
    }
    let (again, _) = window.lease(&call()).unwrap();
    assert!(again.record.number == 2 && !Arc::ptr_eq(&again, &lease));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollback_to_the_live_release_leaves_it_unchanged() {
    let fixture = Fixture::new(false).await;
    let [open, ..] = fixture.states().await;
    fixture.set_up(&open).await;
    let window = fixture.registry.window(&name()).unwrap();
    let before = window.serving();
    fixture
        .registry
        .rollback(&name(), Some(2), false)
        .await
        .unwrap();
    assert!(Arc::ptr_eq(&window.serving(), &before));
    assert_eq!(fixture.on_disk(), Some(open));
}
