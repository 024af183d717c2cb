//! Changes of a window whose record another host, over the same store, has changed meanwhile.

use super::*;

/// The window on disk, as far as two hosts have it in common.
fn stored(fixture: &Fixture) -> Option<WindowRecord> {
    let seen = Seen {
        record: fixture.on_disk(),
        serving: String::new(),
        data: true,
    };
    seen.comparable().record
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_by_an_uninformed_host_undoes_nothing_of_another() {
    let fixture = Fixture::new(false).await;
    let states = fixture.states().await;
    for state in &states {
        for theirs in VERBS {
            for ours in VERBS {
                let case = format!("{theirs:?} by another and then {ours:?} on {state:#?}");
                fixture.set_up(state).await;
                let before = fixture.seen(&fixture.registry).comparable();
                let other = fixture.restarted().await;
                let upload = fixture.upload(3).await;
                let changed = run(other, theirs, Some(upload)).await;
                let now = model(theirs, &before).unwrap_or(before.clone());
                assert_eq!(stored(&fixture), now.record, "{case}: {changed:?}");
                let outcome = begin(&fixture, ours).await.await;
                let on_disk = stored(&fixture);
                let is_untouched = on_disk == now.record;
                match (model(ours, &before), model(ours, &now)) {
                    // Nothing is to be done, as far as it knows.
                    (Ok(end), _) if end == before => {
                        assert!(outcome.is_ok() && is_untouched, "{case}: {outcome:?}");
                        continue;
                    }
                    // It is refused for what the window was.
                    (Err(why), _) => {
                        assert!(outcome == Err(why) && is_untouched, "{case}: {outcome:?}");
                        continue;
                    }
                    (Ok(_), Ok(_)) if changed.is_ok() && matches!(ours, Deploy | Canary) => {
                        let overtaken = now == before || outcome == Err("changed-meanwhile");
                        assert!(
                            overtaken && (now == before || is_untouched),
                            "{case}: {outcome:?}"
                        );
                    }
                    (Ok(_), Ok(end)) => {
                        assert_eq!((outcome, &on_disk), (Ok(()), &end.record), "{case}");
                    }
                    (Ok(_), Err(why)) => {
                        let refused = [Err(why), Err("changed-meanwhile")].contains(&outcome);
                        // A removal finds it done.
                        let gone = now.record.is_none() && matches!(ours, Remove | RemoveWithStore);
                        assert!((refused || gone) && is_untouched, "{case}: {outcome:?}");
                    }
                }
                // It has learnt of the other.
                let seen = fixture.seen(&fixture.registry);
                assert_eq!(seen.record, fixture.on_disk(), "{case}");
                match seen.record {
                    Some(record) => {
                        let open = opened(record, seen.data);
                        assert_eq!(seen.serving, open.serving, "{case}");
                    }
                    None => assert_eq!(seen.serving, "nothing", "{case}"),
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queued_change_does_not_overwrite_that_of_another_host() {
    let fixture = Fixture::new(false).await;
    let [open, _, canary] = fixture.states().await;
    let theirs = WindowRecord {
        limits: open.limits.with(&limits(9)).unwrap(),
        ..open.clone()
    };
    for (ours, state) in [
        (Stop, &open),
        (Remove, &open),
        (RemoveWithStore, &open),
        (Rollback, &open),
        (Limits, &open),
        (Abort, &canary),
        (Share, &canary),
    ] {
        fixture.set_up(state).await;
        fixture.disk.trouble(Trouble::Full);
        assert_eq!(begin(&fixture, ours).await.await, Ok(()), "{ours:?}");
        fixture.disk.trouble(Trouble::None);
        fixture.put_by_another(&theirs).await;
        settled(&fixture).await;
        let expected = match ours {
            // What is closed stays closed.
            Stop => Some(WindowRecord {
                stopped: true,
                ..theirs.clone()
            }),
            Remove | RemoveWithStore => {
                gone(&fixture).await;
                None
            }
            _ => Some(theirs.clone()),
        };
        let seen = fixture.seen(&fixture.registry);
        assert_eq!(seen.record, fixture.on_disk(), "{ours:?}");
        assert_eq!(seen.data, ours != RemoveWithStore, "{ours:?}");
        let expected = expected.map(|record| opened(record, seen.data));
        match expected {
            Some(expected) => assert_eq!(seen.comparable(), expected, "{ours:?}"),
            None => assert_eq!((seen.record, &*seen.serving), (None, "nothing")),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn window_removed_and_recreated_by_another_host_is_a_different_one() {
    let fixture = Fixture::new(false).await;
    let [open, ..] = fixture.states().await;
    fixture.set_up(&open).await;
    let other = fixture.restarted().await;
    other.remove(&name(), false).await.unwrap();
    // Release 2 once more, with the component of what was release 1.
    for mark in [2, 1] {
        let upload = fixture.upload(mark).await;
        run(other.clone(), Deploy, Some(upload)).await.unwrap();
    }
    assert_eq!(begin(&fixture, Limits).await.await, Ok(()));
    let window = fixture.registry.window(&name()).unwrap();
    let record = fixture.on_disk().unwrap();
    let (release, _) = window.lease(&call()).unwrap();
    assert_eq!(release.record.number, 2);
    assert_eq!(release.record.digest, open.release(1).unwrap().digest);
    assert_eq!(fixture.seen(&fixture.registry).record, Some(record));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restored_copy_of_the_records_is_overruled_where_no_other_host_writes() {
    let fixture = Fixture::new(false).await;
    let [open, stopped, _] = fixture.states().await;
    for (earlier, state) in [(&stopped, &open), (&open, &stopped)] {
        fixture.set_up(state).await;
        let before = fixture.seen(&fixture.registry);
        fixture.put_by_another(earlier).await;
        fixture.disk.is_alone();
        let set = fixture.registry.set_limits(&name(), &limits(7)).await;
        assert!(set.unwrap().1.is_none());
        let after = fixture.seen(&fixture.registry);
        assert_eq!(after.serving, before.serving);
        let record = after.record.unwrap();
        assert_eq!(record.stopped, state.stopped);
        assert_eq!(Some(record), fixture.on_disk());
    }
}
