use super::*;
use proptest::prelude::*;

fn log(sequence: u64) -> Ref {
    Ref {
        source: 0,
        log: 1,
        sequence,
        origin: Origin::Log,
    }
}

fn flow(keys: &[Option<u64>]) -> Flow {
    let mut flow = Flow::default();
    flow.add_source(Done::default());
    for (sequence, key) in (1..).zip(keys) {
        flow.found(0, sequence, sequence, *key, Tries::default());
    }
    flow
}

fn later(next_ms: u64) -> Tries {
    Tries {
        count: 1,
        first_ms: 1,
        next_ms,
    }
}

#[test]
fn event_that_fails_keeps_its_key_and_lets_others_flow() {
    let mut flow = flow(&[Some(1), Some(1), Some(2), None]);
    let taken: Vec<_> = std::iter::from_fn(|| flow.take(0)).collect();
    assert_eq!(taken, [log(1), log(3), log(4)]);
    flow.again(log(1), later(50));
    flow.finished(log(3));
    flow.finished(log(4));
    assert_eq!((flow.take(49), flow.next_time()), (None, Some(50)));
    assert_eq!(flow.sources[0].done.upto(), 0);
    assert_eq!(flow.take(50), Some(log(1)));
    flow.finished(log(1));
    assert_eq!(flow.take(50), Some(log(2)));
    flow.finished(log(2));
    assert_eq!(flow.sources[0].done, Done::up_to(4));
    assert!(flow.keys.is_empty() && flow.later.is_empty());
}

#[test]
fn held_key_goes_on_only_with_what_was_parked() {
    let mut flow = flow(&[Some(1), Some(1)]);
    assert_eq!(flow.take(0), Some(log(1)));
    flow.hold(0, 1, 1);
    flow.finished(log(1));
    assert_eq!(flow.take(0), None);
    let parked = Ref::parked(0, 1);
    flow.retry_parked(parked, 1, Some(1));
    assert_eq!(flow.take(0), Some(parked));
    flow.finished(parked);
    assert_eq!(flow.take(0), None);
    flow.release(0, 1, 1);
    assert_eq!(flow.take(0), Some(log(2)));
}

#[test]
fn parked_event_that_is_tried_again_comes_before_later_ones_of_its_key() {
    let mut flow = flow(&[Some(1)]);
    flow.passed(0, 2, 4);
    flow.found(0, 5, 5, Some(1), later(90));
    assert_eq!(flow.take(0), Some(log(1)));
    flow.retry_parked(Ref::parked(0, 3), 3, Some(1));
    assert_eq!(flow.take(0), None);
    flow.finished(log(1));
    let parked = flow.take(0).unwrap();
    assert_eq!((parked.sequence, parked.origin), (3, Origin::Parked));
    flow.finished(parked);
    assert_eq!((flow.take(0), flow.take(90)), (None, Some(log(5))));
}

#[test]
fn unfinished_events_are_bounded_and_room_comes_back() {
    let mut flow = flow(&[None; MAX_UNFINISHED]);
    assert_eq!(flow.room(0), 0);
    let first = flow.take(0).unwrap();
    let second = flow.take(0).unwrap();
    flow.finished(second);
    assert_eq!((flow.room(0), flow.sources[0].done.upto()), (1, 0));
    flow.finished(first);
    assert_eq!((flow.room(0), flow.sources[0].done.upto()), (2, 2));
}

proptest! {
    /// Against what must hold: one of a key at once, in order, each finished once, none lost.
    #[test]
    fn events_of_a_key_are_taken_in_order_and_all_of_them(
        keys in prop::collection::vec(prop::option::of(0u64..4), 1..40),
        steps in prop::collection::vec((0u8..5, 0usize..8), 0..400),
    ) {
        let mut flow = flow(&keys);
        let (mut busy, mut done) = (Vec::<Ref>::new(), Vec::<u64>::new());
        let mut now = 1;
        let key = |at: &Ref| keys[at.sequence as usize - 1];
        let mut step = |flow: &mut Flow, what: u8, which: usize, done: &mut Vec<u64>| {
            now += 1;
            match what {
                0 | 1 => if let Some(at) = flow.take(now) {
                    if let Some(key) = key(&at) {
                        prop_assert!(busy.iter().all(|other| keys[other.sequence as usize - 1] != Some(key)));
                        let before = (1..at.sequence).filter(|s| keys[*s as usize - 1] == Some(key));
                        for sequence in before {
                            prop_assert!(done.contains(&sequence), "{sequence} is passed by {at:?}");
                        }
                    }
                    busy.push(at);
                }
                _ if busy.is_empty() => {}
                what => {
                    let at = busy.remove(which % busy.len());
                    match what {
                        2 => flow.again(at, later(now + which as u64)),
                        3 => flow.put_back(at),
                        _ => {
                            prop_assert!(!done.contains(&at.sequence));
                            done.push(at.sequence);
                            flow.finished(at);
                        }
                    }
                }
            }
            Ok(())
        };
        for (what, which) in steps {
            step(&mut flow, what, which, &mut done)?;
        }
        for _ in 0..keys.len() * 20 {
            step(&mut flow, 0, 0, &mut done)?;
            step(&mut flow, 4, 0, &mut done)?;
        }
        prop_assert_eq!(done.len(), keys.len());
        prop_assert_eq!(&flow.sources[0].done, &Done::up_to(keys.len() as u64));
        prop_assert_eq!((flow.busy(), flow.unfinished()), (0, 0));
    }
}

#[test]
fn event_that_was_put_off_by_a_clock_far_ahead_is_offered() {
    let mut flow = flow(&[Some(1), None]);
    let year = 365 * 24 * 3_600_000;
    for sequence in [1, 2] {
        assert_eq!(flow.take(year), Some(log(sequence)));
        flow.again(log(sequence), later(year + 1_000));
    }
    assert_eq!((flow.take(5), flow.take(5)), (Some(log(1)), Some(log(2))));
    flow.again(log(1), later(24 * 3_600_000));
    assert_eq!(flow.take(5), None);
}
