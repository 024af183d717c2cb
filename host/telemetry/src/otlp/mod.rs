//! OTLP: traces, metrics and the log for a collector, as protobuf over HTTP.
//!
//! [`settings`] reads the standard variables (`OTEL_*`). [`Exporter`] is a task of the tokio runtime
//! that is beside the gateway's threads: it takes records from a bounded queue, encodes them
//! ([`spans`]), and sends them ([`send`]) over the host's own HTTP client. What finds the queue full,
//! or cannot be delivered, is dropped and counted; nobody waits for a collector. [`metrics`]
//! translates what `/metrics` says.
//!
//! Not by the OpenTelemetry SDK, whose batch thread has no reactor and whose spans cost several
//! times as much.

mod metrics;
pub mod proto;
mod send;
mod settings;
mod spans;

pub use settings::OtlpSettings;

use hms_core::trace::SpanLog;
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use proto::Message;
use send::{Failed, Sender};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// Renders the metrics of the host as OpenMetrics text.
pub type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// What was exported, and what was dropped. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct OtlpMetrics {
    exported: Family<SignalLabel, Counter>,
    dropped: Family<DroppedLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SignalLabel {
    signal: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DroppedLabels {
    signal: &'static str,
    reason: &'static str,
}

/// The signal of records.
const TRACES: &str = "traces";
/// That of metrics.
const METRICS: &str = "metrics";

impl OtlpMetrics {
    /// Registers the counters.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "otlp_exported",
            "Traces, and times that metrics were taken, that a collector has accepted",
            self.exported.clone(),
        );
        registry.register(
            "otlp_dropped",
            "Traces, and times that metrics were taken, that were dropped: queue-full, unreachable, refused, too-late",
            self.dropped.clone(),
        );
    }

    fn exported(&self, signal: &'static str, count: usize) {
        let label = SignalLabel { signal };
        self.exported.get_or_create(&label).inc_by(count as u64);
    }

    fn dropped(&self, signal: &'static str, reason: &'static str, count: usize) {
        let labels = DroppedLabels { signal, reason };
        self.dropped.get_or_create(&labels).inc_by(count as u64);
    }
}

/// Where records go that are to be exported.
#[derive(Debug, Clone)]
pub struct TraceQueue {
    queue: mpsc::Sender<Arc<SpanLog>>,
    metrics: OtlpMetrics,
}

impl TraceQueue {
    /// Takes it, or drops and counts it. Never waits.
    pub fn push(&self, log: Arc<SpanLog>) {
        if self.queue.try_send(log).is_err() {
            self.metrics.dropped(TRACES, "queue-full", 1);
        }
    }
}

/// The task that exports.
#[derive(Debug)]
pub struct Exporter {
    settings: OtlpSettings,
    records: Mutex<Option<mpsc::Receiver<Arc<SpanLog>>>>,
    queue: TraceQueue,
    end: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Exporter {
    /// Takes records from now on. They are sent once it is started.
    pub fn new(settings: OtlpSettings) -> Self {
        let (queue, records) = mpsc::channel(settings.queue);
        let metrics = OtlpMetrics::default();
        Exporter {
            settings,
            records: Mutex::new(Some(records)),
            queue: TraceQueue { queue, metrics },
            end: CancellationToken::new(),
            tasks: Mutex::default(),
        }
    }

    /// What it counts.
    pub fn metrics(&self) -> OtlpMetrics {
        self.queue.metrics.clone()
    }

    /// Where records go; none if no traces are exported.
    pub fn queue(&self) -> Option<TraceQueue> {
        self.settings.traces.as_ref().map(|_| self.queue.clone())
    }

    /// Starts to send, on the runtime that it is called on: records, and what `render` gives.
    pub fn start(&self, render: Render) {
        let sender = Arc::new(Sender::new(&self.settings));
        let mut tasks = self.tasks.lock();
        if let Some(endpoint) = self.settings.traces.clone()
            && let Some(records) = self.records.lock().take()
        {
            let batches = Batches {
                sender: sender.clone(),
                endpoint,
                settings: self.settings.clone(),
                metrics: self.metrics(),
                end: self.end.clone(),
            };
            tasks.push(tokio::spawn(batches.run(records)));
        }
        if let Some(endpoint) = self.settings.metrics.clone() {
            let readings = Readings {
                sender,
                endpoint,
                settings: self.settings.clone(),
                metrics: self.metrics(),
                end: self.end.clone(),
                render,
                since: SystemTime::now(),
            };
            tasks.push(tokio::spawn(readings.run()));
        }
    }

    /// Sends what is left, and ends: within `longest`.
    pub async fn finish(&self, longest: Duration) {
        self.end.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        let by = Instant::now() + longest;
        for mut task in tasks {
            let left = by.saturating_duration_since(Instant::now());
            if timeout(left, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}

/// Sends records, many at once.
struct Batches {
    sender: Arc<Sender>,
    endpoint: http::Uri,
    settings: OtlpSettings,
    metrics: OtlpMetrics,
    end: CancellationToken,
}

impl Batches {
    async fn run(self, mut records: mpsc::Receiver<Arc<SpanLog>>) {
        loop {
            let batch = self.batch(&mut records).await;
            if !batch.is_empty() {
                self.send(batch).await;
            } else if self.end.is_cancelled() {
                return;
            }
        }
    }

    /// As many records as fit into one request, or those that come until it is time to send them.
    async fn batch(&self, records: &mut mpsc::Receiver<Arc<SpanLog>>) -> Vec<Arc<SpanLog>> {
        let most = self.settings.batch;
        let mut batch = Vec::new();
        let due = Instant::now() + self.settings.delay;
        while batch.len() < most {
            // Whatever is there already goes first, also at the end.
            if let Ok(record) = records.try_recv() {
                batch.push(record);
                continue;
            }
            if self.end.is_cancelled() {
                break;
            }
            tokio::select! {
                record = records.recv() => match record {
                    Some(record) => batch.push(record),
                    None => break,
                },
                () = sleep_until(due) => break,
                () = self.end.cancelled() => {}
            }
        }
        batch
    }

    async fn send(&self, batch: Vec<Arc<SpanLog>>) {
        let count = batch.len();
        let request = spans::request(&self.settings.resource, &batch);
        drop(batch);
        let body = request.encode_to_vec();
        match self.sender.send(&self.endpoint, body, &self.end).await {
            Ok(()) => self.metrics.exported(TRACES, count),
            Err(failed) => drop_batch(&self.metrics, TRACES, count, &failed, &self.endpoint),
        }
    }
}

/// Sends what the metrics say, again and again.
struct Readings {
    sender: Arc<Sender>,
    endpoint: http::Uri,
    settings: OtlpSettings,
    metrics: OtlpMetrics,
    end: CancellationToken,
    render: Render,
    since: SystemTime,
}

impl Readings {
    async fn run(self) {
        loop {
            let due = Instant::now() + self.settings.metrics_interval;
            tokio::select! {
                () = sleep_until(due) => {}
                () = self.end.cancelled() => {}
            }
            let render = self.render.clone();
            let text = tokio::task::spawn_blocking(move || render()).await;
            let text = text.unwrap_or_default();
            let now = SystemTime::now();
            let request = metrics::request(&self.settings.resource, &text, self.since, now);
            let body = request.encode_to_vec();
            match self.sender.send(&self.endpoint, body, &self.end).await {
                Ok(()) => self.metrics.exported(METRICS, 1),
                Err(failed) => drop_batch(&self.metrics, METRICS, 1, &failed, &self.endpoint),
            }
            if self.end.is_cancelled() {
                return;
            }
        }
    }
}

fn drop_batch(
    metrics: &OtlpMetrics,
    signal: &'static str,
    count: usize,
    failed: &Failed,
    endpoint: &http::Uri,
) {
    metrics.dropped(signal, failed.reason(), count);
    // Without the user and the password that a URL may have.
    let host = endpoint.host().unwrap_or_default();
    tracing::warn!(signal, count, host, "not exported: {failed}");
}

#[cfg(test)]
mod tests;
