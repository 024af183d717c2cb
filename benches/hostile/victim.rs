//! What a well-behaved neighbour sees: a steady open-loop load on one window, its times taken from
//! when each request was due.

use bytes::Bytes;
use hms_harness::http::try_request;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio_util::task::TaskTracker;

/// Requests a second.
pub const RATE: u32 = 200;

/// The longest that one may take; more is a failure.
const LONGEST: Duration = Duration::from_secs(20);

/// A load that runs.
pub struct Victim {
    shared: Arc<Shared>,
    pacer: JoinHandle<()>,
    tracker: TaskTracker,
}

struct Shared {
    client: Client<HttpConnector, Empty<Bytes>>,
    url: String,
    seen: Mutex<Seen>,
    stopped: AtomicBool,
}

/// What came out since the last look.
#[derive(Default, Clone)]
pub struct Seen {
    times: Vec<Duration>,
    pub failed: Vec<String>,
}

impl Victim {
    /// Starts to ask for `url`; goes on until it is stopped.
    pub async fn start(url: String) -> Self {
        // Its connections are there before anything is measured.
        let _ = try_request(http::Method::GET, &url, &[], Vec::new()).await;
        let shared = Arc::new(Shared {
            client: Client::builder(TokioExecutor::new()).build_http(),
            url,
            seen: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let tracker = TaskTracker::new();
        let pacer = {
            let (shared, tracker) = (shared.clone(), tracker.clone());
            let runtime = tokio::runtime::Handle::current();
            std::thread::spawn(move || {
                let (start, between) = (Instant::now(), Duration::from_secs(1) / RATE);
                for turn in 0.. {
                    let due = start + between * turn;
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    if shared.stopped.load(Relaxed) {
                        return;
                    }
                    let shared = shared.clone();
                    tracker.spawn_on(async move { shared.once(due).await }, &runtime);
                }
            })
        };
        Victim {
            shared,
            pacer,
            tracker,
        }
    }

    /// What it saw in `time`, from now. Requests that are still under way at its end count for the
    /// next look.
    pub async fn look(&self, time: Duration) -> Seen {
        self.take();
        tokio::time::sleep(time).await;
        self.take()
    }

    /// What it saw since the last look.
    pub fn take(&self) -> Seen {
        std::mem::take(&mut *self.shared.seen.lock().unwrap())
    }

    /// Starts no more, and waits for those under way.
    pub async fn stop(self) {
        self.shared.stopped.store(true, Relaxed);
        let _ = tokio::task::spawn_blocking(move || self.pacer.join()).await;
        self.tracker.close();
        self.tracker.wait().await;
    }
}

impl Shared {
    async fn once(&self, due: Instant) {
        let outcome = tokio::time::timeout(LONGEST, self.exchange()).await;
        let outcome = outcome.unwrap_or_else(|_| Err("no answer in time".into()));
        let mut seen = self.seen.lock().unwrap();
        match outcome {
            Ok(()) => seen.times.push(due.elapsed()),
            Err(error) => seen.failed.push(error),
        }
    }

    async fn exchange(&self) -> Result<(), String> {
        let request = Request::get(&self.url).body(Empty::new());
        let request = request.map_err(|error| error.to_string())?;
        let asked = self.client.request(request).await;
        let response = asked.map_err(|error| format!("{error:?}"))?;
        let status = response.status();
        let body = response.into_body().collect().await;
        body.map_err(|error| error.to_string())?;
        if status == 200 {
            Ok(())
        } else {
            Err(status.to_string())
        }
    }
}

impl Seen {
    /// Milliseconds within which that share of the answers came.
    pub fn ms(&self, share: f64) -> f64 {
        let mut times = self.times.clone();
        times.sort_unstable();
        let at = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len().max(1)) - 1;
        times
            .get(at)
            .map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
    }

    pub fn add(&mut self, more: Seen) {
        self.times.extend(more.times);
        self.failed.extend(more.failed);
    }
}
