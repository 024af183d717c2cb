//! A steady open-loop load on the guest `marked`: requests start by a schedule, whatever the
//! earlier ones do, and a request's time counts from when it was due. Every answer is checked to
//! its last byte.
//!
//! [`ask`] is the mix, [`client`] the connections, [`check`] what a right answer is, [`ledger`]
//! which release may give it, [`result`] what came out.

mod ask;
mod check;
mod client;
mod ledger;
mod result;

pub use ledger::Ledger;
pub use result::{Failure, LoadResult, Period, Times};

use ask::Ask;
use client::Clients;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio_util::task::TaskTracker;

/// The longest that one request may take. The longest that is asked for takes 3 s; the rest is a
/// loaded machine's.
const REQUEST_TIME: Duration = Duration::from_secs(30);

/// Requests in flight at which no more are started, and each that is due counts as a failure: the
/// host cannot keep up with the rate. Below the host's 512 instances, so that these never are what
/// fails.
const MAX_IN_FLIGHT: usize = 500;

/// A load that runs.
pub struct Load {
    shared: Arc<Shared>,
    pacer: JoinHandle<()>,
    tracker: TaskTracker,
}

struct Shared {
    clients: Clients,
    ledger: Arc<Ledger>,
    result: Mutex<LoadResult>,
    period: AtomicU8,
    stopped: AtomicBool,
}

impl Load {
    /// Starts `rate` requests a second below `base`, a URL such as `http://127.0.0.1:9000/marked`.
    /// It goes on until it is stopped.
    pub fn start(base: &str, rate: u32, ledger: Arc<Ledger>) -> Load {
        let shared = Arc::new(Shared {
            clients: Clients::new(base),
            ledger,
            result: Mutex::default(),
            period: AtomicU8::new(Period::Warm as u8),
            stopped: AtomicBool::new(false),
        });
        let tracker = TaskTracker::new();
        // A thread of its own, because tokio's clock has steps of a millisecond.
        let pacer = {
            let (shared, tracker) = (shared.clone(), tracker.clone());
            let runtime = tokio::runtime::Handle::current();
            std::thread::spawn(move || pace(rate, &shared, &tracker, &runtime))
        };
        Load {
            shared,
            pacer,
            tracker,
        }
    }

    /// Requests that are due from now on count for `period`.
    pub fn enter(&self, period: Period) {
        self.shared.period.store(period as u8, Relaxed);
    }

    /// Requests that have come to their end so far.
    pub fn ended(&self) -> usize {
        self.shared.result.lock().unwrap().requests()
    }

    /// Starts no more, waits for those under way, closes every connection, and gives what came out.
    pub async fn stop(self) -> LoadResult {
        self.shared.stopped.store(true, Relaxed);
        tokio::task::spawn_blocking(move || self.pacer.join().unwrap())
            .await
            .unwrap();
        self.tracker.close();
        self.tracker.wait().await;
        std::mem::take(&mut *self.shared.result.lock().unwrap())
    }
}

fn pace(rate: u32, shared: &Arc<Shared>, tracker: &TaskTracker, runtime: &tokio::runtime::Handle) {
    let (start, between) = (Instant::now(), Duration::from_secs(1) / rate);
    for turn in 0.. {
        let due = start + between * turn;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if shared.stopped.load(Relaxed) {
            return;
        }
        let period = Period::of(shared.period.load(Relaxed));
        if tracker.len() >= MAX_IN_FLIGHT {
            let failure = Failure::overload(MAX_IN_FLIGHT);
            shared.result.lock().unwrap().failed(period, failure);
        } else {
            let shared = shared.clone();
            tracker.spawn_on(
                async move { shared.once(Ask::of(turn), due, period).await },
                runtime,
            );
        }
    }
}

impl Shared {
    async fn once(&self, ask: Ask, due: Instant, period: Period) {
        let exchange = check::exchange(&self.clients, &self.ledger, &ask);
        let outcome = match tokio::time::timeout(REQUEST_TIME, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::timeout(REQUEST_TIME)),
        };
        let took = due.elapsed();
        let mut result = self.result.lock().unwrap();
        match outcome {
            Ok(()) => result.answered(period, &ask, took),
            Err(failure) => result.failed(period, failure.of(&ask)),
        }
    }
}
