//! Traces: who keeps the records of hms-core's `trace`.
//!
//! A [`Tracer`] begins a record for each request, delivery and deploy, decides whether its trace is
//! sampled ([`sampler`]), and takes it once it is over. [`recent`] keeps the last ones for
//! operators, always. [`crate::otlp`] sends them on, if there is an endpoint.
//!
//! Records are used again: each is 4 KiB that a thread takes from those which [`recent`] no longer
//! needs. So a request allocates nothing for its trace.

mod recent;
mod sampler;
mod shown;

pub use recent::{Filter, Recent};
pub use sampler::Sampler;

use crate::otlp::TraceQueue;
use hms_core::trace::{Outline, SpanLog, Start, TraceContext};
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

/// How long the head of an answer may take before the request is kept and exported as slow, if
/// nothing else is set. 1 s: people notice.
pub const SLOW_FROM: Duration = Duration::from_secs(1);

/// Records that a thread keeps for its next requests. 32: more than it finishes before it begins
/// others, and 120 KiB.
const SPARE: usize = 32;

thread_local! {
    static SPARES: RefCell<Vec<Arc<SpanLog>>> = const { RefCell::new(Vec::new()) };
}

/// The traceparent that came with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inbound {
    /// What it says.
    pub context: TraceContext,
    /// Whether whoever sent it is trusted, so that its trace goes on here.
    pub trusted: bool,
}

/// Begins and takes records.
#[derive(Debug)]
pub struct Tracer {
    sampler: Sampler,
    slow_from: Duration,
    recent: Recent,
    export: Option<TraceQueue>,
}

impl Default for Tracer {
    fn default() -> Self {
        Tracer::new(Sampler::off(), SLOW_FROM)
    }
}

impl Tracer {
    /// Keeps the last records. `slow_from`: how long the head of an answer may take before it is
    /// slow.
    pub fn new(sampler: Sampler, slow_from: Duration) -> Self {
        Tracer {
            sampler,
            slow_from,
            recent: Recent::default(),
            export: None,
        }
    }

    /// Exports to `queue`, if there is one: what is sampled, and whatever failed or was slow.
    #[must_use]
    pub fn exporting(self, queue: Option<TraceQueue>) -> Self {
        Tracer {
            export: queue,
            ..self
        }
    }

    /// What is kept.
    pub fn recent(&self) -> &Recent {
        &self.recent
    }

    /// How a record begins: below a trusted `inbound`; as a new trace otherwise, with a link to
    /// what an untrusted client says.
    pub fn start(&self, inbound: Option<Inbound>) -> Start {
        let (above, link) = match inbound {
            Some(Inbound { context, trusted }) if trusted => (Some(context), None),
            Some(Inbound { context, .. }) => (None, Some(context)),
            None => (None, None),
        };
        let mut start = above.map_or_else(|| Start::new(false), Start::below);
        start.context.sampled = self.sampler.decides(start.context.trace_id, above);
        start.link = link;
        start
    }

    /// Begins a record.
    pub fn begin(&self, inbound: Option<Inbound>) -> Arc<SpanLog> {
        let start = self.start(inbound);
        let spare = SPARES.with_borrow_mut(Vec::pop);
        match spare {
            Some(mut spare) => {
                if let Some(log) = Arc::get_mut(&mut spare) {
                    log.restart(start);
                    return spare;
                }
                Arc::new(SpanLog::new(start))
            }
            None => Arc::new(SpanLog::new(start)),
        }
    }

    /// Takes a record that is over now.
    pub fn finish(&self, log: Arc<SpanLog>, outline: Outline) {
        let took = log.started().elapsed();
        self.finish_after(log, outline, took);
    }

    /// Takes a record that is over, of which is known how long it took.
    pub fn finish_after(&self, log: Arc<SpanLog>, outline: Outline, took: Duration) {
        let finished = log.finish(outline, took, self.slow_from);
        if let Some(export) = &self.export
            && (log.start().context.sampled || finished.slow || finished.outline.is_failed())
        {
            export.push(log.clone());
        }
        if let Some(mut spare) = self.recent.push(log)
            && Arc::get_mut(&mut spare).is_some()
        {
            SPARES.with_borrow_mut(|spares| {
                if spares.len() < SPARE {
                    spares.push(spare);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORGED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn inbound(trusted: bool) -> Option<Inbound> {
        let context = TraceContext::parse(FORGED).unwrap();
        Some(Inbound { context, trusted })
    }

    #[test]
    fn trace_of_an_untrusted_client_is_a_link_and_its_flag_decides_nothing() {
        let start = Tracer::default().start(inbound(false));
        assert_eq!(start.link.unwrap().to_string(), FORGED);
        assert_eq!(start.parent, None);
        assert!(!start.context.sampled);
        assert_ne!(start.context.trace_id, start.link.unwrap().trace_id);
    }

    #[test]
    fn trace_of_a_trusted_proxy_goes_on_with_its_decision() {
        let start = Tracer::default().start(inbound(true));
        assert_eq!(start.parent, Some(0x00f0_67aa_0ba9_02b7));
        assert_eq!(start.link, None);
        assert!(start.context.sampled);
        let trace = format!("{:032x}", start.context.trace_id);
        assert_eq!(trace, "4bf92f3577b34da6a3ce929d0e0e4736");
    }
}
