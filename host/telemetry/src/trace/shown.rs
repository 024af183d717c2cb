//! A record as the admin API shows it.

use hms_api::{RequestTrace, SpanTrace};
use hms_core::trace::{SpanLog, What};
use std::time::Duration;
use time::OffsetDateTime;

/// How much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    Outline,
    Spans,
}

/// The window that it was for.
pub(super) fn window(log: &SpanLog) -> Option<&String> {
    let outline = &log.finished()?.outline;
    outline.upstream.as_ref().filter(|_| outline.window)
}

/// The record; none while it lasts.
pub(super) fn shown(log: &SpanLog, detail: Detail) -> Option<RequestTrace> {
    let finished = log.finished()?;
    let (outline, start) = (&finished.outline, log.start());
    let spans = match detail {
        Detail::Outline => Vec::new(),
        Detail::Spans => spans(log, finished.duration),
    };
    Some(RequestTrace {
        request_id: outline.request_id.clone(),
        trace_id: format!("{:032x}", start.context.trace_id),
        span_id: hex(start.context.span_id),
        kind: outline.what.name().to_owned().into(),
        method: outline.method.to_string(),
        route: outline.route.as_deref().map(str::to_owned),
        path: outline.path.clone(),
        window: window(log).cloned(),
        service: outline.upstream.clone().filter(|_| !outline.window),
        release: outline.release,
        status: (outline.what != What::Deploy).then_some(outline.status),
        error: outline.error.map(Into::into),
        started: OffsetDateTime::from(log.started_at()),
        head_ms: outline.head.map(ms),
        duration_ms: ms(finished.duration),
        failed: outline.is_failed(),
        slow: finished.slow,
        sampled: start.context.sampled,
        spans,
        spans_left_out: log.left_out(),
    })
}

fn spans(log: &SpanLog, duration: Duration) -> Vec<SpanTrace> {
    let spans: Vec<_> = log.spans().collect();
    let id_at = |index: usize| {
        let at = spans.iter().find(|span| span.index == index);
        at.map(|span| span.span_id)
    };
    let root = log.start().context.span_id;
    let shown = spans.iter().map(|span| SpanTrace {
        name: span.kind.name().into(),
        detail: span.detail.as_deref().map(str::to_owned),
        span_id: hex(span.span_id),
        parent_id: hex(span.parent.and_then(id_at).unwrap_or(root)),
        start_ms: ms(span.begun),
        duration_ms: ms(span.ended.unwrap_or(duration).saturating_sub(span.begun)),
        open: span.ended.is_none(),
        failed: span.failed,
        cpu_ms: (span.used).map(|used| u64::try_from(used.cpu.as_millis()).unwrap_or(u64::MAX)),
        memory_peak_bytes: span.used.map(|used| used.memory_bytes),
    });
    shown.collect()
}

fn hex(id: u64) -> String {
    format!("{id:016x}")
}

/// To the microsecond.
fn ms(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
