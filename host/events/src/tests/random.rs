//! Random answers and ends of the host, against what must hold of every event.

use super::*;
use hms_core::error::Problem;
use parking_lot::Mutex;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Clone)]
enum Step {
    /// An event of each of these keys.
    Emit(Vec<u8>),
    Pass(u64),
    Restart,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => prop::collection::vec(0u8..4, 1..12).prop_map(Step::Emit),
        4 => (1u64..3_000).prop_map(Step::Pass),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..16)
}

/// What was taken so far, and what was wrong.
#[derive(Default)]
struct Told {
    taken: BTreeSet<u64>,
    keys: Vec<u8>,
    wrong: Vec<String>,
    random: u64,
}

impl Told {
    fn answer(&mut self, seen: &super::fixture::Seen) -> Reply {
        let key = |sequence: u64| self.keys.get(sequence as usize - 1);
        let own = key(seen.sequence);
        let earlier = (1..seen.sequence).filter(|before| key(*before) == own);
        let passed: Vec<u64> = earlier
            .filter(|before| !self.taken.contains(before))
            .collect();
        if !passed.is_empty() {
            self.wrong
                .push(format!("{} before {passed:?}", seen.sequence));
        }
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let reply = match (self.random >> 33) % 10 {
            0..=5 => Reply::Status(200),
            6 | 7 => Reply::Status(500),
            8 => Reply::Fails(Problem::InstanceLimit),
            _ => Reply::In(Duration::from_millis(40)),
        };
        if matches!(reply, Reply::Status(200) | Reply::In(_)) {
            self.taken.insert(seen.sequence);
        }
        reply
    }
}

async fn run(steps: Vec<Step>, seed: u64) -> Result<(), TestCaseError> {
    let mut host = Host::new(&[("b", subscription("all", "a"))]).await;
    let told = Arc::new(Mutex::new(Told {
        random: seed,
        ..Told::default()
    }));
    let telling = told.clone();
    host.script(move |seen| telling.lock().answer(seen));
    for step in steps {
        match step {
            Step::Emit(keys) => {
                told.lock().keys.extend(&keys);
                let keys: Vec<String> = keys.iter().map(u8::to_string).collect();
                let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                host.emit("a", &keys).await;
            }
            Step::Pass(ms) => host.pass(Duration::from_millis(ms)).await,
            Step::Restart => host.restart().await,
            Step::Crash => host.crash().await,
        }
    }
    if !told.lock().keys.is_empty() {
        host.caught_up("b", "all").await;
    }
    let status = host.events.subscription("b", "all").unwrap();
    let told = told.lock();
    prop_assert!(told.wrong.is_empty(), "out of order: {:?}", told.wrong);
    let all: BTreeSet<u64> = (1..=told.keys.len() as u64).collect();
    prop_assert_eq!(&told.taken, &all, "lost");
    prop_assert_eq!(status.parked, 0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_event_is_taken_in_order_whatever_happens(steps in steps(), seed: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(steps, seed))?;
    }
}
