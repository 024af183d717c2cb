//! OTLP: traces, metrics and the log for a collector, as protobuf over HTTP.
//!
//! [`settings`] reads the standard variables (`OTEL_*`). [`Exporter`] is a task of the tokio
//! runtime that is beside the gateway's threads: it takes records of traces and lines of the log
//! from bounded queues, encodes them ([`spans`], [`logs`]), and sends them ([`send`]) over the
//! host's own HTTP client. What finds its queue full, or cannot be delivered, is dropped and
//! counted; nobody waits for a collector. [`metrics`] translates what `/metrics` says.
//!
//! Not by the OpenTelemetry SDK, whose batch thread has no reactor and whose spans cost several
//! times as much.

mod logs;
mod metrics;
pub mod proto;
mod send;
mod settings;
mod spans;
mod wire;

pub(crate) use logs::LogLayer;
pub use settings::{Gathering, OtlpSettings};

use hms_core::trace::SpanLog;
use logs::LogLine;
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use proto::{KeyValue, Message};
use send::{Failed, Sender};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, mpsc};
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
/// That of the log.
const LOGS: &str = "logs";

impl OtlpMetrics {
    /// Registers the counters.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "otlp_exported",
            "Traces, log lines and metric collections that a collector has accepted",
            self.exported.clone(),
        );
        registry.register(
            "otlp_dropped",
            "Traces, log lines and metric collections that were dropped: queue-full, unreachable, \
             refused, too-late, not-rendered",
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

/// What is gathered in a queue and sent many at once.
trait Gathered: Send + Sized + 'static {
    /// The word for it in metrics.
    const SIGNAL: &'static str;

    /// Those of one request.
    type Batch: Default + Send;

    /// Adds it to those of one request.
    fn add_to(self, batch: &mut Self::Batch);

    /// The body of one request with all of them.
    fn encode(resource: &[KeyValue], batch: Self::Batch) -> Vec<u8>;
}

/// A record is written as it comes, and not kept: it is soon free for another request.
impl Gathered for Arc<SpanLog> {
    const SIGNAL: &'static str = TRACES;

    type Batch = Vec<u8>;

    fn add_to(self, batch: &mut Vec<u8>) {
        spans::append(batch, &self);
    }

    fn encode(resource: &[KeyValue], batch: Vec<u8>) -> Vec<u8> {
        spans::request(resource, &batch)
    }
}

impl Gathered for LogLine {
    const SIGNAL: &'static str = LOGS;

    type Batch = Vec<LogLine>;

    fn add_to(self, batch: &mut Vec<LogLine>) {
        batch.push(self);
    }

    fn encode(resource: &[KeyValue], batch: Vec<LogLine>) -> Vec<u8> {
        logs::request(resource, &batch).encode_to_vec()
    }
}

/// The export queue of one signal.
#[derive(Debug)]
struct Queue<T> {
    queue: mpsc::Sender<T>,
    /// Wakes who reads from it before it is full.
    filling: Arc<Notify>,
    metrics: OtlpMetrics,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Queue {
            queue: self.queue.clone(),
            filling: self.filling.clone(),
            metrics: self.metrics.clone(),
        }
    }
}

impl<T: Gathered> Queue<T> {
    /// Takes it, or drops and counts it. Never waits.
    fn push(&self, one: T) {
        if self.queue.try_send(one).is_err() {
            self.metrics.dropped(T::SIGNAL, "queue-full", 1);
        }
        if self.queue.capacity() <= self.queue.max_capacity() / 2 {
            self.filling.notify_one();
        }
    }
}

/// The export queue of traces.
#[derive(Debug, Clone)]
pub struct TraceQueue(Queue<Arc<SpanLog>>);

impl TraceQueue {
    /// Takes it, or drops and counts it. Never waits.
    pub fn push(&self, log: Arc<SpanLog>) {
        self.0.push(log);
    }
}

/// The export queue of log lines.
#[derive(Debug, Clone)]
pub struct LogQueue(Queue<LogLine>);

/// How long after one record the next are left to gather, unless they fill half of their queue. 10
/// ms: at the highest rate that a host has been seen to answer, 300 of the 4,096 for which there is
/// room.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The task that exports.
#[derive(Debug)]
pub struct Exporter {
    settings: OtlpSettings,
    records: Gatherer<Arc<SpanLog>>,
    lines: Gatherer<LogLine>,
    metrics: OtlpMetrics,
    end: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// Both ends of a queue; the one that is read from until the exporter is started.
#[derive(Debug)]
struct Gatherer<T> {
    queue: Queue<T>,
    read: Mutex<Option<mpsc::Receiver<T>>>,
}

impl<T> Gatherer<T> {
    fn new(most: usize, metrics: &OtlpMetrics) -> Self {
        let (queue, read) = mpsc::channel(most);
        let metrics = metrics.clone();
        Gatherer {
            queue: Queue {
                queue,
                filling: Arc::default(),
                metrics,
            },
            read: Mutex::new(Some(read)),
        }
    }
}

impl Exporter {
    /// Takes records and lines from now on. They are sent once it is started.
    pub fn new(settings: OtlpSettings) -> Self {
        let metrics = OtlpMetrics::default();
        Exporter {
            records: Gatherer::new(settings.records.queue, &metrics),
            lines: Gatherer::new(settings.lines.queue, &metrics),
            settings,
            metrics,
            end: CancellationToken::new(),
            tasks: Mutex::default(),
        }
    }

    /// What it counts.
    pub fn metrics(&self) -> OtlpMetrics {
        self.metrics.clone()
    }

    /// Where records go; none if no traces are exported.
    pub fn queue(&self) -> Option<TraceQueue> {
        let exported = self.settings.traces.as_ref();
        exported.map(|_| TraceQueue(self.records.queue.clone()))
    }

    /// Where lines of the log go; none if the log is not exported.
    pub fn log_queue(&self) -> Option<LogQueue> {
        let exported = self.settings.logs.as_ref();
        exported.map(|_| LogQueue(self.lines.queue.clone()))
    }

    /// Starts to send, on the runtime that it is called on: records, lines, and what `render`
    /// gives.
    pub fn start(&self, render: Render) {
        let sender = Arc::new(Sender::new(&self.settings));
        let mut tasks = self.tasks.lock();
        let batches = |endpoint: &Option<http::Uri>, gathering, filling: &Arc<Notify>| {
            Some(Batches {
                sender: sender.clone(),
                endpoint: endpoint.clone()?,
                resource: self.settings.resource.clone(),
                gathering,
                filling: filling.clone(),
                metrics: self.metrics(),
                end: self.end.clone(),
            })
        };
        let (traces, logs) = (&self.settings.traces, &self.settings.logs);
        let (records, lines) = (&self.records.queue, &self.lines.queue);
        if let Some(batches) = batches(traces, self.settings.records, &records.filling)
            && let Some(records) = self.records.read.lock().take()
        {
            tasks.push(tokio::spawn(batches.run(records)));
        }
        if let Some(batches) = batches(logs, self.settings.lines, &lines.filling)
            && let Some(lines) = self.lines.read.lock().take()
        {
            tasks.push(tokio::spawn(batches.run(lines)));
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

/// Sends records or lines, many at once.
struct Batches {
    sender: Arc<Sender>,
    endpoint: http::Uri,
    resource: Vec<KeyValue>,
    gathering: Gathering,
    filling: Arc<Notify>,
    metrics: OtlpMetrics,
    end: CancellationToken,
}

impl Batches {
    async fn run<T: Gathered>(self, mut queue: mpsc::Receiver<T>) {
        loop {
            let (batch, count) = self.batch(&mut queue).await;
            if count > 0 {
                self.send::<T>(batch, count).await;
            } else if self.end.is_cancelled() {
                return;
            }
        }
    }

    /// As many as fit into one request, or those that come until it is time to send them; and how
    /// many they are.
    async fn batch<T: Gathered>(&self, queue: &mut mpsc::Receiver<T>) -> (T::Batch, usize) {
        let (mut batch, mut count) = (T::Batch::default(), 0);
        let due = Instant::now() + self.gathering.delay;
        let mut looked = Instant::now();
        while count < self.gathering.batch {
            // Whatever is there already goes first, also at the end.
            if let Ok(one) = queue.try_recv() {
                one.add_to(&mut batch);
                count += 1;
                looked = Instant::now();
                continue;
            }
            if self.end.is_cancelled() || Instant::now() >= due {
                break;
            }
            // While they come in numbers nobody is to be woken by each of them.
            if looked.elapsed() < LOOK_EVERY {
                tokio::select! {
                    () = sleep_until(due.min(Instant::now() + LOOK_EVERY)) => {}
                    () = self.filling.notified() => {}
                    () = self.end.cancelled() => {}
                }
                continue;
            }
            tokio::select! {
                one = queue.recv() => match one {
                    Some(one) => {
                        one.add_to(&mut batch);
                        count += 1;
                        looked = Instant::now();
                    }
                    None => break,
                },
                () = sleep_until(due) => break,
                () = self.end.cancelled() => {}
            }
        }
        (batch, count)
    }

    async fn send<T: Gathered>(&self, batch: T::Batch, count: usize) {
        let body = T::encode(&self.resource, batch);
        match self.sender.send(&self.endpoint, body, &self.end).await {
            Ok(()) => self.metrics.exported(T::SIGNAL, count),
            Err(failed) => drop_batch(&self.metrics, T::SIGNAL, count, &failed, &self.endpoint),
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
            let Ok(text) = text else {
                self.metrics.dropped(METRICS, "not-rendered", 1);
                if self.end.is_cancelled() {
                    return;
                }
                continue;
            };
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
