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
async fn is_done_at_last(house: &House, verb: Verb, end: Seen) {
    house.disk.trouble(Trouble::None);
    settled(house).await;
    if matches!(verb, Remove | RemoveWithStore) {
        gone(house).await;
    }
    let seen = house.seen(&house.registry);
    assert_eq!(house.on_disk(), seen.record, "{verb:?}");
    assert_eq!(seen.comparable(), end, "{verb:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_what_takes_away_holds_at_once_and_is_on_disk_when_it_can_be() {
    let house = House::new(false).await;
    let states = house.states().await;
    for (verb, at) in TAKING {
        house.disk.trouble(Trouble::None);
        house.set_up(&states[at]).await;
        let before = house.seen(&house.registry);
        let end = model(verb, &before.clone().comparable()).unwrap();
        house.disk.trouble(Trouble::Full);
        assert_eq!(begin(&house, verb).await.await, Ok(()), "{verb:?}");
        let now = house.seen(&house.registry).comparable();
        assert_eq!(now.front, end.front, "{verb:?}");
        assert_eq!(house.registry.unsaved(), 1, "{verb:?}");
        let (status, _) = house.registry.status(&name()).unwrap();
        let unsaved = status.unsaved.unwrap();
        assert!(
            unsaved.enforced && unsaved.why.contains("full"),
            "{unsaved:?}"
        );
        // Whoever ends the host now has the window as it was, with all that it has stored.
        assert_eq!(house.on_disk(), before.record, "{verb:?}");
        assert!(house.store().exists(), "{verb:?}");
        is_done_at_last(&house, verb, end).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_what_gives_something_is_refused_and_nothing_is_as_it_was_not() {
    let house = House::new(false).await;
    let states = house.states().await;
    for (verb, at) in [(Deploy, 0), (Canary, 0), (Start, 1), (Promote, 2)] {
        for trouble in [Trouble::Full, Trouble::TakesAndFails] {
            house.disk.trouble(Trouble::None);
            house.set_up(&states[at]).await;
            let before = house.seen(&house.registry);
            house.disk.trouble(trouble.clone());
            assert!(begin(&house, verb).await.await.is_err(), "{verb:?}");
            assert_eq!(house.seen(&house.registry), before, "{verb:?}, {trouble:?}");
            // The disk may have what does not hold.
            house.disk.trouble(Trouble::None);
            settled(&house).await;
            assert_eq!(house.on_disk(), before.record, "{verb:?}, {trouble:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reserve_is_for_what_takes_away_and_not_for_a_deploy() {
    let house = House::new(true).await;
    let [open, ..] = house.states().await;
    let reserve = house.dir.path().join("reserve");
    house.disk.trouble(Trouble::FullWhile(reserve.clone()));
    assert_eq!(begin(&house, Deploy).await.await, Err("canary-running"));
    assert_eq!(begin(&house, Promote).await.await, Err("disk"));
    assert!(reserve.exists());
    assert_eq!(begin(&house, Stop).await.await, Ok(()));
    assert!(!reserve.exists());
    let (status, _) = house.registry.status(&name()).unwrap();
    assert!(status.unsaved.is_none());
    assert!(house.on_disk().unwrap().stopped && !open.stopped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_the_disk_has_not_taken_keeps_its_name_from_another_window() {
    let house = House::new(false).await;
    let [open, ..] = house.states().await;
    house.set_up(&open).await;
    house.disk.trouble(Trouble::Full);
    assert_eq!(begin(&house, RemoveWithStore).await.await, Ok(()));
    let (status, _) = house.registry.status(&name()).unwrap();
    assert_eq!(status.state, "removing");
    for verb in [Start, Stop, Rollback, Limits] {
        assert_eq!(
            begin(&house, verb).await.await,
            Err("no-window"),
            "{verb:?}"
        );
    }
    // It would find what was to be deleted.
    assert_eq!(begin(&house, Deploy).await.await, Err("window-removing"));
    house.disk.trouble(Trouble::None);
    assert_eq!(begin(&house, Deploy).await.await, Ok(()));
    let seen = house.seen(&house.registry);
    assert_eq!((seen.front.as_str(), seen.data), ("1", false));
    assert_eq!(house.on_disk(), seen.record);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_keeps_nobody_from_closing_a_window() {
    let house = House::of_operators().await;
    let states = house.states().await;
    for (verb, at) in TAKING {
        house.set_up(&states[at]).await;
        let before = house.seen(&house.registry);
        let end = model(verb, &before.clone().comparable()).unwrap();
        house.disk.trouble(Trouble::Hangs);
        // Twice: the second finds the first one's write still under way.
        for _ in 0..2 {
            let asked = Instant::now();
            let outcome = begin(&house, verb).await.await;
            assert!(asked.elapsed() < Duration::from_secs(4), "{verb:?}");
            assert_eq!(house.registry.unsaved(), 1, "{verb:?}");
            if outcome != Ok(()) {
                // It had it, or has nothing more to be taken away.
                assert!(
                    matches!(verb, Rollback | Abort | Share),
                    "{verb:?}: {outcome:?}"
                );
            }
        }
        let now = house.seen(&house.registry).comparable();
        assert_eq!(now.front, end.front, "{verb:?}");
        let (status, _) = house.registry.status(&name()).unwrap();
        let why = status.unsaved.unwrap().why;
        assert!(
            why.contains("not answered") || why.contains("another change"),
            "{why}"
        );
        is_done_at_last(&house, verb, end).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_refuses_what_gives_in_time_and_keeps_what_was_before() {
    let house = House::of_operators().await;
    let states = house.states().await;
    for (verb, at) in [(Deploy, 0), (Canary, 0), (Start, 1), (Promote, 2)] {
        house.set_up(&states[at]).await;
        let before = house.seen(&house.registry);
        let (first, second) = (begin(&house, verb).await, begin(&house, verb).await);
        house.disk.trouble(Trouble::Hangs);
        // Twice: the second finds the first one's write still under way.
        for change in [Box::pin(first), Box::pin(second)] {
            let asked = Instant::now();
            assert_eq!(change.await, Err("disk-timeout"), "{verb:?}");
            assert!(asked.elapsed() < Duration::from_secs(4), "{verb:?}");
            assert_eq!(house.seen(&house.registry), before, "{verb:?}");
        }
        house.disk.trouble(Trouble::None);
        settled(&house).await;
        let seen = house.seen(&house.registry);
        assert_eq!(seen, before, "{verb:?}");
        assert_eq!(house.on_disk(), seen.record, "{verb:?}");
        assert_eq!(begin(&house, verb).await.await, Ok(()), "{verb:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_window_of_a_name_has_no_limits_of_one_that_the_disk_has_not_let_go() {
    let house = House::new(false).await;
    let [open, ..] = house.states().await;
    house.set_up(&open).await;
    assert_eq!(begin(&house, Limits).await.await, Ok(()));
    let queue = || {
        let (limits, set) = house.registry.limits(&name()).unwrap();
        (limits.get(Limit::Queue), set == LimitsSet::default())
    };
    assert_eq!(queue(), (7, false));
    house.disk.trouble(Trouble::Full);
    assert_eq!(begin(&house, Remove).await.await, Ok(()));
    house.disk.trouble(Trouble::None);
    assert_eq!(begin(&house, Deploy).await.await, Ok(()));
    let (queue, none_set) = queue();
    assert!(none_set);
    let default = crate::windows::WindowLimits::default();
    assert_eq!(queue, default.get(Limit::Queue));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_says_whether_its_store_goes() {
    let house = House::new(false).await;
    let [open, ..] = house.states().await;
    house.set_up(&open).await;
    house.disk.trouble(Trouble::Full);
    for asked in [true, false] {
        let removed = house.registry.remove(&name(), asked).await.unwrap();
        assert!(removed.delete_store && removed.unsaved.is_some(), "{asked}");
    }
    house.disk.trouble(Trouble::None);
    gone(&house).await;
    assert!(!house.store().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_host_tries_once_more() {
    let house = House::new(false).await;
    let [open, ..] = house.states().await;
    house.set_up(&open).await;
    house.disk.trouble(Trouble::Full);
    assert_eq!(begin(&house, Stop).await.await, Ok(()));
    house.disk.trouble(Trouble::None);
    house.registry.settle_all(PATIENCE).await;
    assert_eq!(house.registry.unsaved(), 0);
    assert!(house.on_disk().unwrap().stopped);
}
