//! The record of one trace: what was done for a request, a delivery or a deploy, and when.
//!
//! Its places are taken one after the other, and each is written by whoever has taken it, without a
//! lock. The times are those of one clock, in nanoseconds since the record began.

use super::context::TraceContext;
use super::details::{AllDetails, SpanDetails};
use super::kind::SpanKind;
use http::Method;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

/// Spans of one record, beside that of the whole. 64: enough for a request that calls and writes a
/// few dozen times, and 3.5 KiB. Further ones are counted.
pub const MAX_SPANS: usize = 64;

/// The parent of those that are directly below the whole.
const ROOT: u8 = u8::MAX;

/// Bytes of a path or an id that are kept: a record is kept for long.
pub(super) const MAX_TEXT: usize = 256;

/// One place of a record. Written by whoever has taken it.
#[derive(Default)]
pub(super) struct SpanSlot {
    /// Nanoseconds since the record began, and 1; 0: not begun.
    begun: AtomicU64,
    /// The same for the end; 0: it has not ended.
    ended: AtomicU64,
    /// The kind, the parent's place from [`PARENT`] on, [`FAILED`], and from [`STATUS`] on the
    /// status of an answer.
    about: AtomicU64,
    /// What it used: milliseconds of CPU time and 1, from [`CPU_MS`] on, and KiB of memory. 0: not
    /// known.
    used: AtomicU64,
    detail: OnceLock<Arc<str>>,
}

const PARENT: u32 = 8;
const FAILED: u64 = 1 << 16;
const STATUS: u32 = 32;
const CPU_MS: u32 = 32;
const KIB: u64 = 1024;

impl SpanSlot {
    fn clear(&mut self) {
        *self.begun.get_mut() = 0;
        *self.ended.get_mut() = 0;
        *self.about.get_mut() = 0;
        *self.used.get_mut() = 0;
        self.detail.take();
    }

    /// Says whom it is about. The first one counts.
    pub(super) fn about(&self, detail: impl FnOnce() -> Arc<str>) {
        self.detail.get_or_init(|| short(detail()));
    }

    /// It was answered with this status.
    pub(super) fn answered(&self, status: u16) {
        self.about.fetch_or(u64::from(status) << STATUS, Relaxed);
    }

    /// It failed.
    pub(super) fn fail(&self) {
        self.about.fetch_or(FAILED, Relaxed);
    }

    /// It is below the span at `parent`, or the whole.
    pub(super) fn move_below(&self, parent: Option<u8>) {
        let parent = u64::from(parent.unwrap_or(ROOT)) << PARENT;
        let others = !(u64::from(u8::MAX) << PARENT);
        let moved = |about| Some((about & others) | parent);
        // It refuses nothing.
        let _ = self.about.fetch_update(Relaxed, Relaxed, moved);
    }

    /// It has used so much.
    pub(super) fn used(&self, used: Used) {
        let most = u64::from(u32::MAX);
        let cpu_ms = u64::try_from(used.cpu.as_millis()).unwrap_or(most);
        let kib = used.memory_bytes.div_ceil(KIB).min(most);
        let used = (cpu_ms.saturating_add(1).min(most) << CPU_MS) | kib;
        self.used.store(used, Relaxed);
    }

    /// It ends now, in the record `log`. The first end counts.
    pub(super) fn end(&self, log: &SpanLog, at: impl FnOnce() -> Instant) {
        if self.ended.load(Relaxed) == 0 {
            let now = log.stamp(at());
            let _ = self.ended.compare_exchange(0, now, Release, Relaxed);
        }
    }
}

/// What a guest has used for a part of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// Kept to the millisecond.
    pub cpu: Duration,
    /// The most memory that its instance had, kept to the KiB.
    pub memory_bytes: u64,
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
    slots: [SpanSlot; MAX_SPANS],
    details: AllDetails,
    finished: OnceLock<Finished>,
}

/// A span of a record, as it is now.
#[derive(Debug, Clone, PartialEq)]
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
    /// What it has used, where that is known.
    pub used: Option<Used>,
    /// What a guest says of its own.
    pub details: Option<Arc<SpanDetails>>,
}

impl SpanLog {
    /// Begins now.
    pub fn new(start: Start) -> Self {
        SpanLog {
            start,
            started: Instant::now(),
            started_at: SystemTime::now(),
            begun: AtomicU32::new(0),
            slots: std::array::from_fn(|_| SpanSlot::default()),
            details: AllDetails::default(),
            finished: OnceLock::new(),
        }
    }

    /// Makes it one that begins now, with nothing of what it held.
    pub fn restart(&mut self, start: Start) {
        let used = *self.begun.get_mut() as usize;
        self.slots.iter_mut().take(used).for_each(SpanSlot::clear);
        *self.begun.get_mut() = 0;
        self.details = AllDetails::default();
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

    /// It is over, and took `duration`. `slow_from` is how long the head of an answer may take
    /// before it is slow.
    pub fn finish(
        &self,
        mut outline: Outline,
        duration: Duration,
        slow_from: Duration,
    ) -> &Finished {
        cut(&mut outline.path);
        cut(&mut outline.request_id);
        // Any token is a method, as long as a head may be.
        let method = outline.method.as_str().as_bytes();
        let method = method.get(..MAX_TEXT).map(Method::from_bytes);
        if let Some(Ok(method)) = method {
            outline.method = method;
        }
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
        let begun = self.begun.load(Acquire) as usize;
        let slots = self.slots.iter().take(begun).enumerate();
        slots.filter_map(|(index, slot)| {
            let begun = slot.begun.load(Acquire).checked_sub(1)?;
            let about = slot.about.load(Relaxed);
            let [kind, parent, ..] = about.to_le_bytes();
            let used = slot.used.load(Relaxed);
            let cpu_ms = (used >> CPU_MS).checked_sub(1);
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
                used: cpu_ms.map(|cpu_ms| Used {
                    cpu: Duration::from_millis(cpu_ms),
                    memory_bytes: u64::from(used as u32) * KIB,
                }),
                details: self.details.of(index),
            })
        })
    }

    /// Spans beyond the bound, of which nothing is known.
    pub fn left_out(&self) -> u32 {
        self.begun.load(Relaxed).saturating_sub(MAX_SPANS as u32)
    }

    pub(super) fn details(&self) -> &AllDetails {
        &self.details
    }

    pub(super) fn slot(&self, index: u8) -> Option<&SpanSlot> {
        self.slots.get(usize::from(index))
    }

    /// The id of the span at `index`: made of that of the whole, so that none is drawn for spans
    /// that nobody exports. By the finalizer of SplitMix64, which is a bijection: no two are equal.
    pub fn id_of(&self, index: usize) -> u64 {
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

    /// Takes a place, below that of `parent` or else the whole. None where all are taken.
    pub(super) fn begin(&self, kind: SpanKind, parent: Option<u8>, at: Instant) -> Option<u8> {
        let index = self.begun.fetch_add(1, Relaxed);
        let slot = self.slots.get(index as usize)?;
        let about = u64::from(u16::from_le_bytes([kind as u8, parent.unwrap_or(ROOT)]));
        slot.about.store(about, Relaxed);
        slot.begun.store(self.stamp(at), Release);
        u8::try_from(index).ok()
    }
}

/// What fits of a text that is shared.
fn short(text: Arc<str>) -> Arc<str> {
    if text.len() <= MAX_TEXT {
        return text;
    }
    let end = text.floor_char_boundary(MAX_TEXT);
    text.get(..end).unwrap_or_default().into()
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
