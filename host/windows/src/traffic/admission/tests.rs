use super::*;
use futures_util::FutureExt;
use proptest::prelude::*;

fn terms(most: u32, reserved: u32) -> Terms {
    Terms {
        most,
        reserved,
        queue: 4,
        wait: Duration::from_secs(60),
    }
}

/// A permit that is there at once.
fn now(queue: &WindowQueue, weight: u32) -> Option<Permit> {
    queue.acquire(weight).now_or_never()?.ok()
}

#[tokio::test]
async fn reserved_instances_are_available_however_much_others_take() {
    let pool = Pool::new(16);
    let (greedy, modest) = (pool.queue(terms(100, 0)), pool.queue(terms(100, 3)));
    let taken: Vec<_> = std::iter::from_fn(|| now(&greedy, 1)).collect();
    assert_eq!(taken.len(), 13);
    let own: Vec<_> = std::iter::from_fn(|| now(&modest, 1)).collect();
    assert_eq!(own.len(), 3);
}

#[tokio::test]
async fn reservations_over_half_the_pool_are_scaled_down() {
    let pool = Pool::new(8);
    let queues: Vec<_> = (0..4).map(|_| pool.queue(terms(100, 4))).collect();
    let first: Vec<_> = std::iter::from_fn(|| now(&queues[0], 1)).collect();
    // One is reserved for each of the other three.
    assert_eq!(first.len(), 5);
}

#[tokio::test]
async fn window_is_bounded_in_instances_and_queue_length() {
    let pool = Pool::new(16);
    let queue = pool.queue(terms(2, 0));
    let _permits = (now(&queue, 1).unwrap(), now(&queue, 1).unwrap());
    let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(queue.acquire(1))).collect();
    for one in &mut waiting {
        assert!(one.as_mut().now_or_never().is_none());
    }
    assert_eq!(queue.load(), (2, 4));
    assert!(matches!(
        queue.acquire(1).now_or_never(),
        Some(Err(WindowUnavailable::Busy))
    ));
    drop(waiting);
    assert_eq!(queue.load(), (2, 0));
}

#[tokio::test]
async fn freed_permit_goes_to_the_window_with_the_fewest() {
    let pool = Pool::new(4);
    let (greedy, late) = (pool.queue(terms(9, 0)), pool.queue(terms(9, 0)));
    let mut permits: Vec<_> = std::iter::from_fn(|| now(&greedy, 1)).collect();
    let mut more = Box::pin(greedy.acquire(1));
    assert!(more.as_mut().now_or_never().is_none());
    let mut first = Box::pin(late.acquire(1));
    assert!(first.as_mut().now_or_never().is_none());
    permits.pop();
    let _first = first.await.unwrap();
    assert!(more.as_mut().now_or_never().is_none());
    permits.pop();
    let _more = more.await.unwrap();
}

#[tokio::test]
async fn large_instance_is_not_passed_over_forever() {
    let pool = Pool::new(4);
    let (small, large) = (pool.queue(terms(9, 0)), pool.queue(terms(9, 0)));
    let mut permits: Vec<_> = std::iter::from_fn(|| now(&small, 1)).collect();
    let mut waiting = Box::pin(large.acquire(3));
    assert!(waiting.as_mut().now_or_never().is_none());
    for _ in 0..3 {
        permits.pop();
        assert!(
            now(&small, 1).is_none(),
            "it takes what the large one waits for"
        );
    }
    let _place = waiting.await.unwrap();
}

#[tokio::test]
async fn request_that_waits_too_long_is_refused_and_leaves_the_queue() {
    let pool = Pool::new(1);
    let hurried = Terms {
        wait: Duration::from_millis(10),
        ..terms(1, 0)
    };
    let queue = pool.queue(hurried);
    let _place = now(&queue, 1).unwrap();
    assert!(matches!(
        queue.acquire(1).await,
        Err(WindowUnavailable::Busy)
    ));
    assert_eq!(queue.load(), (1, 0));
}

#[tokio::test]
async fn removed_window_returns_its_permits_once_its_instances_end() {
    let pool = Pool::new(2);
    let (gone, other) = (pool.queue(terms(2, 0)), pool.queue(terms(2, 0)));
    let permits = (now(&gone, 1).unwrap(), now(&gone, 1).unwrap());
    drop(gone);
    assert!(now(&other, 1).is_none());
    drop(permits);
    assert!(now(&other, 1).is_some());
}

#[derive(Debug, Clone)]
enum Act {
    Ask {
        window: usize,
        weight: u32,
    },
    Leave(usize),
    Terms {
        window: usize,
        most: u32,
        reserved: u32,
    },
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..3usize, 1..4u32).prop_map(|(window, weight)| Act::Ask { window, weight }),
        4 => (0..20usize).prop_map(Act::Leave),
        1 => (0..3usize, 1..9u32, 0..4u32)
            .prop_map(|(window, most, reserved)| Act::Terms { window, most, reserved }),
    ]
}

proptest! {
    #[test]
    fn accounts_stay_consistent_through_any_sequence(acts in proptest::collection::vec(acts(), 1..80)) {
        const TOTAL: u32 = 10;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = runtime.enter();
        let pool = Pool::new(TOTAL);
        let queues: Vec<_> = (0..3).map(|_| pool.queue(terms(8, 1))).collect();
        let mut holders = Vec::new();
        let mut held: Vec<Permit> = Vec::new();
        for act in acts {
            match act {
                Act::Ask { window, weight } => holders.push(Box::pin(queues[window].acquire(weight))),
                Act::Leave(index) if index % 2 == 0 && !held.is_empty() => {
                    held.swap_remove(index % held.len());
                }
                Act::Leave(index) if !holders.is_empty() => {
                    drop(holders.swap_remove(index % holders.len()));
                }
                Act::Leave(_) => {}
                Act::Terms { window, most, reserved } => queues[window].set_terms(terms(most, reserved)),
            }
            // One that asks may set off a grant to another that was looked at before it.
            for _ in 0..2 {
                let mut still = Vec::new();
                for mut holder in holders {
                    match holder.as_mut().now_or_never() {
                        Some(Ok(permit)) => held.push(permit),
                        Some(Err(_)) => {}
                        None => still.push(holder),
                    }
                }
                holders = still;
            }
            let state = pool.state();
            let used: u32 = held.iter().map(|permit| permit.weight).sum();
            prop_assert_eq!(state.used, used);
            prop_assert!(used <= TOTAL);
            prop_assert_eq!(state.committed, state.accounts.values().map(Account::committed).sum::<u32>());
            prop_assert_eq!(state.waiting, holders.len());
            prop_assert!(state.next_served().is_none(), "somebody waits for what is free");
        }
        drop((holders, held));
        prop_assert_eq!(pool.state().used, 0);
    }
}
