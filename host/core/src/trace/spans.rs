//! The record of one trace: what was done for a request, a delivery or a deploy, and when.
//!
//! [`Spans`] is the handle that travels with the work: it knows the record and the span above.
//! [`Span`] is one part of the work, from its creation until it is ended or dropped. All of them
//! may be used from several threads at once, and end after the record is [`Finished`]: a guest may
//! work on once its answer is out.
//!
//! The times are those of one clock, in nanoseconds since the record began.

use super::context::TraceContext;
use http::{Method, Response};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

/// Spans of one record, beside that of the whole. 64: enough for a request that calls and writes a
/// few dozen times, and 3 KiB. Further ones are counted.
pub const MAX_SPANS: usize = 64;

/// The parent of those that are directly below the whole.
const ROOT: u8 = u8::MAX;

/// Bytes of a path or an id that are kept: a record is kept for long.
const MAX_TEXT: usize = 256;

/// What a span is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SpanKind {
    /// The request sides of the route's plugins.
    Plugins,
    /// Who asks, as `auth` proves it.
    Auth,
    /// Waiting for a place among the window's instances.
    Queue,
    /// Until an instance has accepted the request.
    InstanceStart,
    /// The guest's work, from there until its instance is done with the request.
    Guest,
    /// A write of the guest, until it is durable.
    StoreCommit,
    /// A call of the guest to a service of the network, to the head of its answer.
    Call,
    /// A call of the guest to another window, to the head of its answer.
    CallWindow,
    /// A window as a middleware, to the head of its answer.
    Middleware,
    /// The route's upstream where that is a service, to the head of its answer.
    Upstream,
    /// A step of a deploy: the component is checked.
    Check,
    /// It is compiled.
    Compile,
    /// One instance is started on trial.
    Trial,
    /// The release is recorded.
    Record,
    /// The release begins to serve.
    Swap,
    /// The release before ends its requests.
    Drain,
}

impl SpanKind {
    const ALL: [SpanKind; 16] = [
        SpanKind::Plugins,
        SpanKind::Auth,
        SpanKind::Queue,
        SpanKind::InstanceStart,
        SpanKind::Guest,
        SpanKind::StoreCommit,
        SpanKind::Call,
        SpanKind::CallWindow,
        SpanKind::Middleware,
        SpanKind::Upstream,
        SpanKind::Check,
        SpanKind::Compile,
        SpanKind::Trial,
        SpanKind::Record,
        SpanKind::Swap,
        SpanKind::Drain,
    ];

    /// Its name, as it is shown and exported.
    pub fn name(self) -> &'static str {
        match self {
            SpanKind::Plugins => "plugins",
            SpanKind::Auth => "auth",
            SpanKind::Queue => "queue",
            SpanKind::InstanceStart => "instance-start",
            SpanKind::Guest => "guest",
            SpanKind::StoreCommit => "store-commit",
            SpanKind::Call => "call",
            SpanKind::CallWindow => "call-window",
            SpanKind::Middleware => "middleware",
            SpanKind::Upstream => "upstream",
            SpanKind::Check => "check",
            SpanKind::Compile => "compile",
            SpanKind::Trial => "trial",
            SpanKind::Record => "record",
            SpanKind::Swap => "swap",
            SpanKind::Drain => "drain",
        }
    }

    /// Whether somebody else is asked over the network.
    pub fn is_client(self) -> bool {
        matches!(self, SpanKind::Call | SpanKind::Upstream)
    }
}

/// One place of a record. Written by whoever has taken it.
#[derive(Default)]
struct Slot {
    /// Nanoseconds since the record began, and 1; 0: not begun.
    begun: AtomicU64,
    /// The same for the end; 0: it has not ended.
    ended: AtomicU64,
    /// The kind, the parent's place in the second byte, [`FAILED`], and from [`STATUS`] on the
    /// status of an answer.
    about: AtomicU64,
    detail: OnceLock<Arc<str>>,
}

const FAILED: u64 = 1 << 16;
const STATUS: u32 = 32;

impl Slot {
    fn clear(&mut self) {
        *self.begun.get_mut() = 0;
        *self.ended.get_mut() = 0;
        *self.about.get_mut() = 0;
        self.detail.take();
    }
}

/// How a record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Its place in its trace.
    pub context: TraceContext,
    /// The span above it, of whoever asks and is trusted.
    pub parent: Option<u64>,
    /// What an untrusted client says of its own trace.
    pub link: Option<TraceContext>,
}

impl Start {
    /// A new trace.
    pub fn new(sampled: bool) -> Self {
        Start {
            context: TraceContext::new(sampled),
            parent: None,
            link: None,
        }
    }

    /// Continues the trace of `above`.
    pub fn below(above: TraceContext) -> Self {
        Start {
            context: above.child(),
            parent: Some(above.span_id),
            link: None,
        }
    }
}

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A request of a client.
    Request,
    /// A delivery of an event.
    Delivery,
    /// A deploy.
    Deploy,
}

impl What {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            What::Request => "request",
            What::Delivery => "delivery",
            What::Deploy => "deploy",
        }
    }
}

/// What came of it, known once it is over.
#[derive(Debug, Clone)]
pub struct Outline {
    /// What it is.
    pub what: What,
    /// The id by which it is found.
    pub request_id: String,
    /// The method; POST for deliveries.
    pub method: Method,
    /// `http` or `https`, as the client connected; empty where there is none.
    pub scheme: &'static str,
    /// The route; the subscription of a delivery.
    pub route: Option<Arc<str>>,
    /// Without the query.
    pub path: String,
    /// The label of the upstream: a window's name, or the authority of a service.
    pub upstream: Option<String>,
    /// Whether that is a window.
    pub window: bool,
    /// The number of the release that served it.
    pub release: Option<u64>,
    /// The status of the answer; 0 where there is none, as for a deploy.
    pub status: u16,
    /// The code of the failure.
    pub error: Option<&'static str>,
    /// To the head of the answer; none where there is none.
    pub head: Option<Duration>,
}

impl Outline {
    /// Whether it counts as failed: 5xx, or a failure of a deploy.
    pub fn is_failed(&self) -> bool {
        match self.status {
            0 => self.error.is_some(),
            status => status >= 500,
        }
    }
}

/// What came of it, and how long it took.
#[derive(Debug)]
pub struct Finished {
    /// What came of it.
    pub outline: Outline,
    /// From the beginning to the last byte of the answer.
    pub duration: Duration,
    /// Whether the head of its answer took longer than is usual.
    pub slow: bool,
}

/// The record of one request, delivery or deploy.
pub struct SpanLog {
    start: Start,
    started: Instant,
    started_at: SystemTime,
    /// Spans begun, those beyond the bound included.
    begun: AtomicU32,
    slots: [Slot; MAX_SPANS],
    finished: OnceLock<Finished>,
}

/// A span of a record, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its place in the record.
    pub index: usize,
    /// The place of its parent; none: the whole.
    pub parent: Option<usize>,
    /// What it is about.
    pub kind: SpanKind,
    /// Whom it is about: a window, an origin.
    pub detail: Option<Arc<str>>,
    /// Its own id.
    pub span_id: u64,
    /// Since the record began.
    pub begun: Duration,
    /// The same for the end; none where it has not ended.
    pub ended: Option<Duration>,
    /// Whether that part of the work failed.
    pub failed: bool,
    /// The status of its answer, where it has one.
    pub status: Option<u16>,
}

impl SpanLog {
    /// Begins now.
    pub fn new(start: Start) -> Self {
        SpanLog {
            start,
            started: Instant::now(),
            started_at: SystemTime::now(),
            begun: AtomicU32::new(0),
            slots: std::array::from_fn(|_| Slot::default()),
            finished: OnceLock::new(),
        }
    }

    /// Makes it one that begins now, with nothing of what it held.
    pub fn restart(&mut self, start: Start) {
        let used = *self.begun.get_mut() as usize;
        self.slots.iter_mut().take(used).for_each(Slot::clear);
        *self.begun.get_mut() = 0;
        self.finished.take();
        self.start = start;
        self.started = Instant::now();
        self.started_at = SystemTime::now();
    }

    /// Where it stands in its trace.
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// When it began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The same by the clock of the machine.
    pub fn started_at(&self) -> SystemTime {
        self.started_at
    }

    /// It is over. `slow_from` is how long the head of an answer may take before it is slow.
    pub fn finish(&self, mut outline: Outline, slow_from: Duration) -> &Finished {
        cut(&mut outline.path);
        cut(&mut outline.request_id);
        let duration = self.started.elapsed();
        let slow = match outline.what {
            What::Request | What::Delivery => outline.head.unwrap_or(duration) >= slow_from,
            // Compiling takes long.
            What::Deploy => false,
        };
        self.finished.get_or_init(|| Finished {
            outline,
            duration,
            slow,
        })
    }

    /// What came of it; none while it lasts.
    pub fn finished(&self) -> Option<&Finished> {
        self.finished.get()
    }

    /// The spans, in the order in which they began.
    pub fn spans(&self) -> impl Iterator<Item = Recorded> + '_ {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(index, slot)| {
            let begun = slot.begun.load(Acquire).checked_sub(1)?;
            let about = slot.about.load(Relaxed);
            let [kind, parent, ..] = about.to_le_bytes();
            Some(Recorded {
                index,
                parent: (parent != ROOT).then_some(usize::from(parent)),
                kind: *SpanKind::ALL.get(usize::from(kind))?,
                detail: slot.detail.get().cloned(),
                span_id: self.id_of(index),
                begun: Duration::from_nanos(begun),
                ended: (slot.ended.load(Acquire).checked_sub(1)).map(Duration::from_nanos),
                failed: about & FAILED != 0,
                status: Some((about >> STATUS) as u16).filter(|status| *status > 0),
            })
        })
    }

    /// Spans beyond the bound, of which nothing is known.
    pub fn left_out(&self) -> u32 {
        self.begun.load(Relaxed).saturating_sub(MAX_SPANS as u32)
    }

    /// The id of the span at `index`: made of that of the whole, so that none is drawn for spans
    /// that nobody exports. By the finalizer of SplitMix64, which is a bijection: no two are equal.
    fn id_of(&self, index: usize) -> u64 {
        let mut id = self
            .start
            .context
            .span_id
            .wrapping_add((index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        id = (id ^ (id >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        id = (id ^ (id >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (id ^ (id >> 31)).max(1)
    }

    /// Nanoseconds since it began, and 1.
    fn stamp(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.started);
        u64::try_from(since.as_nanos())
            .unwrap_or(u64::MAX)
            .saturating_add(1)
    }

    /// Takes a place. None where all are taken.
    fn begin(&self, kind: SpanKind, parent: u8) -> Option<u8> {
        let index = self.begun.fetch_add(1, Relaxed);
        let slot = self.slots.get(index as usize)?;
        let about = u64::from(u16::from_le_bytes([kind as u8, parent]));
        slot.about.store(about, Relaxed);
        slot.begun.store(self.stamp(Instant::now()), Release);
        u8::try_from(index).ok()
    }
}

/// Keeps what fits.
fn cut(text: &mut String) {
    if text.len() > MAX_TEXT {
        let end = text.floor_char_boundary(MAX_TEXT);
        text.truncate(end);
        text.shrink_to_fit();
    }
}

impl std::fmt::Debug for SpanLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpanLog")
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

/// Where spans are noted: a record, and the span above them. The default notes nothing.
#[derive(Debug, Clone, Default)]
pub struct Spans {
    log: Option<Arc<SpanLog>>,
    /// The place of the span above, and 1; 0: the whole.
    above: u8,
}

impl Spans {
    /// Directly below the whole.
    pub fn of(log: Arc<SpanLog>) -> Self {
        Spans {
            log: Some(log),
            above: 0,
        }
    }

    /// Begins a span.
    pub fn begin(&self, kind: SpanKind) -> Span {
        let parent = self.above.checked_sub(1).unwrap_or(ROOT);
        let taken = self.log.as_ref().and_then(|log| {
            let index = log.begin(kind, parent)?;
            Some((log.clone(), index))
        });
        // Where there is no place, what is below it is noted with its parent.
        let (spans, taken) = match taken {
            Some((log, index)) => (
                Spans {
                    log: Some(log),
                    above: index + 1,
                },
                true,
            ),
            None => (self.clone(), false),
        };
        Span { spans, taken }
    }

    /// Where they are in the trace, for whoever is asked on behalf of the span above.
    pub fn context(&self) -> Option<TraceContext> {
        let log = self.log.as_deref()?;
        let context = log.start.context;
        Some(match self.above.checked_sub(1) {
            None => context,
            Some(index) => TraceContext {
                span_id: log.id_of(usize::from(index)),
                ..context
            },
        })
    }

    /// The record.
    pub fn log(&self) -> Option<&Arc<SpanLog>> {
        self.log.as_ref()
    }
}

/// A part of the work. Ends when it is dropped, if it has not before.
#[derive(Debug)]
pub struct Span {
    /// Below this span.
    spans: Spans,
    taken: bool,
}

impl Span {
    /// Where to note what is done for this part.
    pub fn spans(&self) -> &Spans {
        &self.spans
    }

    /// Says whom it is about.
    pub fn about(&self, detail: impl FnOnce() -> Arc<str>) {
        if let Some(slot) = self.slot() {
            slot.detail.get_or_init(detail);
        }
    }

    /// It was answered with this status.
    pub fn answered(&self, status: u16) {
        if let Some(slot) = self.slot() {
            slot.about.fetch_or(u64::from(status) << STATUS, Relaxed);
        }
    }

    /// It failed.
    pub fn fail(&self) {
        if let Some(slot) = self.slot() {
            slot.about.fetch_or(FAILED, Relaxed);
        }
    }

    /// It ends now. The first end counts.
    pub fn end(&self) {
        if let (Some(slot), Some(log)) = (self.slot(), self.spans.log.as_deref())
            && slot.ended.load(Relaxed) == 0
        {
            let now = log.stamp(Instant::now());
            let _ = slot.ended.compare_exchange(0, now, Release, Relaxed);
        }
    }

    /// It failed if `outcome` is a failure; else it was answered with that status.
    pub fn note<B, E>(&self, outcome: &Result<Response<B>, E>) {
        match outcome {
            Ok(response) => self.answered(response.status().as_u16()),
            Err(_) => self.fail(),
        }
    }

    /// Ends, as a failure if `outcome` is one.
    pub fn ended<T, E>(self, outcome: Result<T, E>) -> Result<T, E> {
        if outcome.is_err() {
            self.fail();
        }
        outcome
    }

    fn slot(&self) -> Option<&Slot> {
        let log = self.spans.log.as_deref().filter(|_| self.taken)?;
        let index = self.spans.above.checked_sub(1)?;
        log.slots.get(usize::from(index))
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline() -> Outline {
        Outline {
            what: What::Request,
            request_id: "abc".into(),
            method: Method::GET,
            scheme: "http",
            route: None,
            path: "/".into(),
            upstream: None,
            window: false,
            release: None,
            status: 200,
            error: None,
            head: None,
        }
    }

    #[test]
    fn spans_are_a_tree_with_times_and_ids_of_their_own() {
        let log = Arc::new(SpanLog::new(Start::new(true)));
        let spans = Spans::of(log.clone());
        let guest = spans.begin(SpanKind::Guest);
        let call = guest.spans().begin(SpanKind::Call);
        call.about(|| "https://a.example".into());
        call.answered(502);
        let sent = call.spans().context().unwrap();
        call.fail();
        drop(call);
        let recorded: Vec<_> = log.spans().collect();
        assert_eq!(recorded[0].kind.name(), "guest");
        assert_eq!((recorded[0].parent, recorded[0].ended), (None, None));
        assert_eq!(recorded[1].parent, Some(0));
        assert_eq!(recorded[1].detail.as_deref(), Some("https://a.example"));
        assert_eq!((recorded[0].status, recorded[1].status), (None, Some(502)));
        assert!(recorded[1].failed && recorded[1].ended >= Some(recorded[1].begun));
        assert_eq!(recorded[1].span_id, sent.span_id);
        assert_eq!(sent.trace_id, log.start().context.trace_id);
        let ids = [
            recorded[0].span_id,
            recorded[1].span_id,
            log.start().context.span_id,
        ];
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    }

    #[test]
    fn spans_beyond_the_bound_are_counted_and_theirs_go_to_the_span_above() {
        let log = Arc::new(SpanLog::new(Start::new(true)));
        let spans = Spans::of(log.clone());
        let above = spans.begin(SpanKind::Guest);
        for _ in 0..MAX_SPANS + 4 {
            let commit = above.spans().begin(SpanKind::StoreCommit);
            assert!(commit.spans().context().is_some());
        }
        assert_eq!((log.spans().count(), log.left_out()), (MAX_SPANS, 5));
        drop(above);
        let guest = log.spans().next().unwrap();
        assert!(guest.ended.is_some() && !guest.failed);
    }

    #[test]
    fn restarted_record_has_nothing_of_the_one_before() {
        let mut log = Arc::new(SpanLog::new(Start::new(true)));
        let span = Spans::of(log.clone()).begin(SpanKind::Call);
        span.about(|| "https://a.example".into());
        span.fail();
        drop(span);
        log.finish(outline(), Duration::from_secs(1));
        let start = Start::new(false);
        Arc::get_mut(&mut log).unwrap().restart(start);
        assert_eq!((log.spans().count(), log.left_out()), (0, 0));
        assert!(log.finished().is_none());
        assert_eq!(*log.start(), start);
        drop(Spans::of(log.clone()).begin(SpanKind::Guest));
        let recorded: Vec<_> = log.spans().collect();
        assert!(recorded[0].detail.is_none() && !recorded[0].failed);
    }

    #[test]
    fn long_texts_of_a_record_are_cut() {
        let log = SpanLog::new(Start::new(true));
        let path = format!("/{}", "é".repeat(4000));
        let outline = Outline { path, ..outline() };
        let finished = log.finish(outline, Duration::from_secs(1));
        assert_eq!(finished.outline.path.len(), MAX_TEXT - 1);
    }

    #[test]
    fn kinds_are_read_back_by_their_numbers() {
        for (number, kind) in SpanKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
        }
    }

    #[test]
    fn nothing_is_noted_without_a_record() {
        let span = Spans::default().begin(SpanKind::Guest);
        span.fail();
        assert!(span.spans().context().is_none());
    }
}
