use super::*;
use futures_util::FutureExt;
use hms_core::body;
use hms_core::call::{Asker, CallingWindow, WindowCall};
use hms_core::outgoing::{CallChain, MAX_CALL_DEPTH};
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
    queue.acquire(Ask::plain(weight)).now_or_never()?.ok()
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
    let mut waiting: Vec<_> = (0..4)
        .map(|_| Box::pin(queue.acquire(Ask::plain(1))))
        .collect();
    for one in &mut waiting {
        assert!(one.as_mut().now_or_never().is_none());
    }
    assert_eq!(queue.load(), (2, 4));
    assert!(matches!(
        queue.acquire(Ask::plain(1)).now_or_never(),
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
    let mut more = Box::pin(greedy.acquire(Ask::plain(1)));
    assert!(more.as_mut().now_or_never().is_none());
    let mut first = Box::pin(late.acquire(Ask::plain(1)));
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
    let mut waiting = Box::pin(large.acquire(Ask::plain(3)));
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
        queue.acquire(Ask::plain(1)).await,
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
        ask: Ask,
    },
    Leave(usize),
    Terms {
        window: usize,
        most: u32,
        reserved: u32,
    },
}

fn asks() -> impl Strategy<Value = Ask> {
    (1..4u32, 0..6usize, any::<bool>()).prop_map(|(weight, level, waits)| Ask {
        weight,
        level,
        waits,
    })
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..3usize, asks()).prop_map(|(window, ask)| Act::Ask { window, ask }),
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
                Act::Ask { window, ask } => holders.push(Box::pin(queues[window].acquire(ask))),
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
            let used: u32 = held.iter().map(|permit| permit.given.ask.weight).sum();
            prop_assert_eq!(state.used, used);
            prop_assert!(used <= TOTAL);
            prop_assert_eq!(state.committed, state.accounts.values().map(Account::committed).sum::<u32>());
            prop_assert_eq!(state.waiting, holders.len());
            let mut waits = Waits::default();
            for permit in held.iter().filter(|permit| permit.given.shared) {
                waits.add(permit.given.ask.counted_level().unwrap(), permit.given.ask.weight);
            }
            prop_assert_eq!(state.waits, waits);
            for account in state.accounts.values() {
                let levels = account.queue.iter().map(|waiter| Reverse(waiter.ask.level));
                prop_assert!(levels.is_sorted());
            }
            prop_assert!(state.next_served().is_none(), "somebody waits for what is free");
        }
        drop((holders, held));
        prop_assert_eq!(pool.state().used, 0);
    }
}

fn ask(level: usize, waits: bool) -> Ask {
    Ask {
        level,
        waits,
        ..Ask::plain(1)
    }
}

#[tokio::test]
async fn requests_that_wait_for_nobody_have_all_of_the_pool() {
    let pool = Pool::new(16);
    let queue = pool.queue(terms(100, 0));
    let taken: Vec<_> = std::iter::from_fn(|| now(&queue, 1)).collect();
    assert_eq!(taken.len(), 16);
}

#[tokio::test]
async fn each_level_of_those_that_may_wait_leaves_room_for_the_next() {
    let pool = Pool::new(32);
    let (calls, called) = (pool.queue(terms(100, 0)), pool.queue(terms(100, 0)));
    let more = |queue: &WindowQueue, ask: Ask| {
        std::iter::from_fn(|| queue.acquire(ask).now_or_never()?.ok()).collect::<Vec<_>>()
    };
    let levels: Vec<_> = (0..4)
        .map(|level| more(&calls, ask(level, level < 3)))
        .collect();
    let counts: Vec<_> = levels.iter().map(Vec::len).collect();
    assert_eq!(counts, [24, 4, 2, 2]);
    assert!(now(&called, 1).is_none());
}

#[tokio::test]
async fn request_of_a_client_takes_no_room_that_a_level_below_it_needs() {
    let pool = Pool::new(32);
    let queue = pool.queue(terms(100, 0));
    let more = |ask: Ask| {
        std::iter::from_fn(|| queue.acquire(ask).now_or_never()?.ok()).collect::<Vec<_>>()
    };
    let levels: Vec<_> = [2, 1, 0].map(|level| more(ask(level, true))).into();
    let counts: Vec<_> = levels.iter().map(Vec::len).collect();
    assert_eq!(counts, [30, 0, 0]);
    assert_eq!(more(ask(3, false)).len(), 2);
}

#[tokio::test]
async fn reserved_permits_are_there_for_calls_of_their_window_too() {
    let pool = Pool::new(16);
    let (greedy, modest) = (pool.queue(terms(100, 0)), pool.queue(terms(100, 4)));
    let first = ask(0, true);
    let taken: Vec<_> = std::iter::from_fn(|| greedy.acquire(first).now_or_never()?.ok()).collect();
    // Three quarters of what is shared.
    assert_eq!(taken.len(), 9);
    let own: Vec<_> = std::iter::from_fn(|| modest.acquire(first).now_or_never()?.ok()).collect();
    assert_eq!(own.len(), 4);
}

#[tokio::test]
async fn call_that_others_wait_for_goes_first_even_past_a_full_queue() {
    let pool = Pool::new(2);
    let queue = pool.queue(terms(2, 0));
    let mut permits = vec![now(&queue, 1).unwrap(), now(&queue, 1).unwrap()];
    let mut waiting: Vec<_> = (0..4)
        .map(|_| Box::pin(queue.acquire(Ask::plain(1))))
        .collect();
    for one in &mut waiting {
        assert!(one.as_mut().now_or_never().is_none());
    }
    let mut deeper = Box::pin(queue.acquire(ask(1, false)));
    assert!(deeper.as_mut().now_or_never().is_none());
    permits.pop();
    assert!(waiting[0].as_mut().now_or_never().is_none());
    assert!(deeper.await.is_ok());
}

#[tokio::test]
async fn unrelated_window_gets_its_share_beside_one_that_calls_often() {
    let pool = Pool::new(12);
    let (called, unrelated) = (pool.queue(terms(100, 0)), pool.queue(terms(100, 0)));
    let calls = || called.acquire(ask(1, false));
    let mut permits: Vec<_> = std::iter::from_fn(|| calls().now_or_never()?.ok()).collect();
    let mut deeper: Vec<_> = (0..4).map(|_| Box::pin(calls())).collect();
    for one in &mut deeper {
        assert!(one.as_mut().now_or_never().is_none());
    }
    let mut waiting = Box::pin(unrelated.acquire(Ask::plain(1)));
    assert!(waiting.as_mut().now_or_never().is_none());
    permits.pop();
    assert!(waiting.now_or_never().is_some_and(|permit| permit.is_ok()));
}

#[tokio::test]
async fn room_that_a_large_instance_waits_for_is_there_for_the_calls_of_those_who_have_it() {
    let pool = Pool::new(8);
    let [calls, called, large] = [(); 3].map(|()| pool.queue(terms(100, 0)));
    let _waits = calls.acquire(ask(0, true)).await.unwrap();
    let held = now(&called, 1).unwrap();
    let mut whole = Box::pin(large.acquire(Ask::plain(8)));
    assert!(whole.as_mut().now_or_never().is_none());
    assert!(
        now(&called, 1).is_none(),
        "it takes what the large one waits for"
    );
    assert!(called.acquire(ask(1, false)).now_or_never().is_some());
    drop(held);
}

/// The ask of the window after `before` in a chain of calls, which may call others itself.
fn ask_after(before: &[&str]) -> Ask {
    let mut call = WindowCall::of_client(http::Request::new(body::empty()));
    call.waiting = before.len();
    let mut chain = CallChain::default();
    for pair in before.windows(2) {
        chain = chain.onward(&pair[0].into(), pair[1]).unwrap();
    }
    if let Some(caller) = before.last() {
        let window: Arc<str> = (*caller).into();
        let chain = chain.onward(&window, "next").unwrap();
        call.from = Some(Box::new(Asker::Window(CallingWindow {
            window,
            chain,
            deadline: None,
        })));
    }
    Ask::of(&call, 1, true)
}

#[tokio::test]
async fn last_window_of_the_longest_chain_gets_a_permit_at_pool_exhaustion() {
    let pool = Pool::new(12);
    let [a, b, c, d] = [(); 4].map(|()| pool.queue(terms(100, 0)));
    let chain = ["a", "b", "c"];
    let more = |queue: &WindowQueue, before: &[&str]| {
        let ask = ask_after(before);
        std::iter::from_fn(|| queue.acquire(ask).now_or_never()?.ok()).collect::<Vec<_>>()
    };
    let held = [
        more(&a, &chain[..0]),
        more(&b, &chain[..1]),
        more(&c, &chain[..2]),
    ];
    assert_eq!(held.each_ref().map(Vec::len), [9, 1, 1]);
    let last = ask_after(&chain);
    assert!(!last.waits, "it may call nobody");
    assert!(d.acquire(last).now_or_never().is_some());
}

/// A request at `chain`'s first window, which calls the second, and so on; each keeps its permit
/// until the next has answered. Where `all_call`, each window may call others, and the last of the
/// chain does not.
async fn chain(
    queues: &[(WindowQueue, u32)],
    windows: &[usize],
    level: usize,
    all_call: bool,
) -> bool {
    let Some((window, rest)) = windows.split_first() else {
        return true;
    };
    let (queue, weight) = &queues[*window];
    let ask = Ask {
        weight: *weight,
        level,
        waits: !rest.is_empty() || (all_call && level + 1 < MAX_CALL_DEPTH),
    };
    let Ok(_permit) = queue.acquire(ask).await else {
        return false;
    };
    tokio::time::sleep(Duration::from_millis(1)).await;
    Box::pin(chain(queues, rest, level + 1, all_call)).await
}

proptest! {
    /// Time is paused: it goes on only where nobody can, so a wait of minutes is a deadlock.
    #[test]
    fn chains_of_calls_at_pool_exhaustion_complete(
        chains in proptest::collection::vec(
            proptest::sample::subsequence(vec![0usize, 1, 2, 3, 4], 1..5).prop_shuffle(), 1..120),
        weights in proptest::collection::vec(1..4u32, 5),
        reserved in 0..3u32,
        total in 24..60u32,
        all_call in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        let pool = Pool::new(total);
        let many = Terms { queue: 1000, wait: Duration::from_secs(600), ..terms(16, reserved) };
        let queues: Vec<_> = weights.iter().map(|weight| (pool.queue(many), *weight)).collect();
        // Each release has started an instance before it serves.
        let tried = queues.iter().filter_map(|(queue, weight)| now(queue, *weight));
        prop_assert_eq!(tried.count(), queues.len());
        let served = runtime.block_on(futures_util::future::join_all(
            chains.iter().map(|windows| chain(&queues, windows, 0, all_call))));
        prop_assert!(served.iter().all(|served| *served), "a chain got no permit");
        let state = pool.state();
        prop_assert_eq!((state.used, state.waits), (0, Waits::default()));
    }
}
