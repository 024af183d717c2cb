//! Changes that meet a disk that is full, or that hangs.

use super::*;

/// What takes something away, on the state of which it does.
const TAKING: [(Verb, usize); 7] = [
    (Stop, 0),
    (Rollback, 0),
    (Limits, 0),
    (Share, 2),
    (Abort, 2),
    (Remove, 0),
    (RemoveWithStore, 0),
];

/// The disk works again: what was asked for is as it is to be, in memory and on disk.
async fn is_done_at_last(fixture: &Fixture, verb: Verb, end: Seen) {
    fixture.disk.trouble(Trouble::None);
    settled(fixture).await;
    if matches!(verb, Remove | RemoveWithStore) {
        gone(fixture).await;
    }
    let seen = fixture.seen(&fixture.registry);
    assert_eq!(fixture.on_disk(), seen.record, "{verb:?}");
    assert_eq!(seen.comparable(), end, "{verb:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoking_change_on_a_full_disk_holds_at_once_and_is_saved_later() {
    let fixture = Fixture::new(false).await;
    let states = fixture.states().await;
    for (verb, at) in TAKING {
        fixture.disk.trouble(Trouble::None);
        fixture.set_up(&states[at]).await;
        let before = fixture.seen(&fixture.registry);
        let end = model(verb, &before.clone().comparable()).unwrap();
        fixture.disk.trouble(Trouble::Full);
        assert_eq!(begin(&fixture, verb).await.await, Ok(()), "{verb:?}");
        let now = fixture.seen(&fixture.registry).comparable();
        assert_eq!(now.serving, end.serving, "{verb:?}");
        assert_eq!(fixture.registry.unsaved(), 1, "{verb:?}");
        let (status, _) = fixture.registry.status(&name()).unwrap();
        let unsaved = status.unsaved.unwrap();
        assert!(
            unsaved.enforced && unsaved.why.contains("full"),
            "{unsaved:?}"
        );
        // Whoever ends the host now has the window as it was, with all that it has stored.
        assert_eq!(fixture.on_disk(), before.record, "{verb:?}");
        assert!(fixture.store().exists(), "{verb:?}");
        is_done_at_last(&fixture, verb, end).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn granting_change_on_a_full_disk_is_refused_without_effect() {
    let fixture = Fixture::new(false).await;
    let states = fixture.states().await;
    for (verb, at) in [(Deploy, 0), (Canary, 0), (Start, 1), (Promote, 2)] {
        for trouble in [Trouble::Full, Trouble::TakesAndFails] {
            fixture.disk.trouble(Trouble::None);
            fixture.set_up(&states[at]).await;
            let before = fixture.seen(&fixture.registry);
            fixture.disk.trouble(trouble.clone());
            assert!(begin(&fixture, verb).await.await.is_err(), "{verb:?}");
            assert_eq!(
                fixture.seen(&fixture.registry),
                before,
                "{verb:?}, {trouble:?}"
            );
            // The disk may have what does not hold.
            fixture.disk.trouble(Trouble::None);
            settled(&fixture).await;
            assert_eq!(fixture.on_disk(), before.record, "{verb:?}, {trouble:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reserve_serves_revoking_changes_and_no_deploy() {
    let fixture = Fixture::new(true).await;
    let [open, ..] = fixture.states().await;
    let reserve = fixture.dir.path().join("reserve");
    fixture.disk.trouble(Trouble::FullWhile(reserve.clone()));
    assert_eq!(begin(&fixture, Deploy).await.await, Err("canary-running"));
    assert_eq!(begin(&fixture, Promote).await.await, Err("disk"));
    assert!(reserve.exists());
    assert_eq!(begin(&fixture, Stop).await.await, Ok(()));
    assert!(!reserve.exists());
    let (status, _) = fixture.registry.status(&name()).unwrap();
    assert!(status.unsaved.is_none());
    assert!(fixture.on_disk().unwrap().stopped && !open.stopped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsaved_removal_keeps_its_name_from_another_window() {
    let fixture = Fixture::new(false).await;
    let [open, ..] = fixture.states().await;
    fixture.set_up(&open).await;
    fixture.disk.trouble(Trouble::Full);
    assert_eq!(begin(&fixture, RemoveWithStore).await.await, Ok(()));
    let (status, _) = fixture.registry.status(&name()).unwrap();
    assert_eq!(status.state, WindowState::Removing);
    for verb in [Start, Stop, Rollback, Limits] {
        assert_eq!(
            begin(&fixture, verb).await.await,
            Err("no-window"),
            "{verb:?}"
        );
    }
    // It would find what was to be deleted.
    assert_eq!(begin(&fixture, Deploy).await.await, Err("window-removing"));
    fixture.disk.trouble(Trouble::None);
    assert_eq!(begin(&fixture, Deploy).await.await, Ok(()));
    let seen = fixture.seen(&fixture.registry);
    assert_eq!((seen.serving.as_str(), seen.data), ("1", false));
    assert_eq!(fixture.on_disk(), seen.record);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hung_disk_keeps_nobody_from_closing_a_window() {
    let fixture = Fixture::of_operators().await;
    let states = fixture.states().await;
    for (verb, at) in TAKING {
        fixture.set_up(&states[at]).await;
        let before = fixture.seen(&fixture.registry);
        let end = model(verb, &before.clone().comparable()).unwrap();
        fixture.disk.trouble(Trouble::Hangs);
        // Twice: the second finds the first one's write still under way.
        for _ in 0..2 {
            let asked = Instant::now();
            let outcome = begin(&fixture, verb).await.await;
            assert!(asked.elapsed() < Duration::from_secs(4), "{verb:?}");
            assert_eq!(fixture.registry.unsaved(), 1, "{verb:?}");
            if outcome != Ok(()) {
                // It had it, or has nothing more to be taken away.
                assert!(
                    matches!(verb, Rollback | Abort | Share),
                    "{verb:?}: {outcome:?}"
                );
            }
        }
        let now = fixture.seen(&fixture.registry).comparable();
        assert_eq!(now.serving, end.serving, "{verb:?}");
        let (status, _) = fixture.registry.status(&name()).unwrap();
        let why = status.unsaved.unwrap().why;
        assert!(
            why.contains("not answered") || why.contains("another change"),
            "{why}"
        );
        is_done_at_last(&fixture, verb, end).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hung_disk_refuses_granting_changes_in_time_and_keeps_the_old_state() {
    let fixture = Fixture::of_operators().await;
    let states = fixture.states().await;
    for (verb, at) in [(Deploy, 0), (Canary, 0), (Start, 1), (Promote, 2)] {
        fixture.set_up(&states[at]).await;
        let before = fixture.seen(&fixture.registry);
        let (first, second) = (begin(&fixture, verb).await, begin(&fixture, verb).await);
        fixture.disk.trouble(Trouble::Hangs);
        // Twice: the second finds the first one's write still under way.
        for change in [Box::pin(first), Box::pin(second)] {
            let asked = Instant::now();
            assert_eq!(change.await, Err("disk-timeout"), "{verb:?}");
            assert!(asked.elapsed() < Duration::from_secs(4), "{verb:?}");
            assert_eq!(fixture.seen(&fixture.registry), before, "{verb:?}");
        }
        fixture.disk.trouble(Trouble::None);
        settled(&fixture).await;
        let seen = fixture.seen(&fixture.registry);
        assert_eq!(seen, before, "{verb:?}");
        assert_eq!(fixture.on_disk(), seen.record, "{verb:?}");
        assert_eq!(begin(&fixture, verb).await.await, Ok(()), "{verb:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn window_reusing_a_name_inherits_no_limits_from_an_unsaved_removal() {
    let fixture = Fixture::new(false).await;
    let [open, ..] = fixture.states().await;
    fixture.set_up(&open).await;
    assert_eq!(begin(&fixture, Limits).await.await, Ok(()));
    let queue = || {
        let shown = fixture.registry.limits(&name()).unwrap().values;
        (shown.limits["queue"], shown.set.is_empty())
    };
    assert_eq!(queue(), (7, false));
    fixture.disk.trouble(Trouble::Full);
    assert_eq!(begin(&fixture, Remove).await.await, Ok(()));
    fixture.disk.trouble(Trouble::None);
    assert_eq!(begin(&fixture, Deploy).await.await, Ok(()));
    let (queue, none_set) = queue();
    assert!(none_set);
    let default = crate::WindowLimits::default();
    assert_eq!(queue, default.get(Limit::Queue));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removal_reports_whether_its_store_is_deleted() {
    let fixture = Fixture::new(false).await;
    let [open, ..] = fixture.states().await;
    fixture.set_up(&open).await;
    fixture.disk.trouble(Trouble::Full);
    for asked in [true, false] {
        let removed = fixture.registry.remove(&name(), asked).await.unwrap();
        assert!(removed.delete_store && removed.unsaved.is_some(), "{asked}");
    }
    fixture.disk.trouble(Trouble::None);
    gone(&fixture).await;
    assert!(!fixture.store().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_retries_unsaved_changes_once() {
    let fixture = Fixture::new(false).await;
    let [open, ..] = fixture.states().await;
    fixture.set_up(&open).await;
    fixture.disk.trouble(Trouble::Full);
    assert_eq!(begin(&fixture, Stop).await.await, Ok(()));
    fixture.disk.trouble(Trouble::None);
    fixture.registry.save_all(PATIENCE).await;
    assert_eq!(fixture.registry.unsaved(), 0);
    assert!(fixture.on_disk().unwrap().stopped);
}
