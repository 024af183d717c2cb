//! How long things take, as metrics: one set of buckets for all of the host.

use crate::trace::{SpanLog, TraceId};
use prometheus_client::encoding::{
    EncodeLabelKey, EncodeLabelSet, EncodeLabelValue, LabelSetEncoder,
};
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use std::fmt::{self, Write};
use std::time::{Duration, SystemTime};

/// Bounds of the buckets in seconds: those of OpenTelemetry's semantic conventions for HTTP, the
/// sub-milliseconds of a fresh instance below them, and the wall time of slow services above.
pub const BUCKETS: [f64; 18] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0,
    7.5, 10.0, 30.0,
];

/// The trace of an exemplar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfTrace(TraceId);

impl EncodeLabelSet for OfTrace {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> fmt::Result {
        let mut label = encoder.encode_label();
        let mut key = label.encode_label_key()?;
        EncodeLabelKey::encode(&"trace_id", &mut key)?;
        let mut value = key.encode_label_value()?;
        write!(value, "{}", self.0)?;
        value.finish()
    }
}

/// A histogram of times, each bucket with the trace of one that fell into it.
#[derive(Debug, Clone)]
pub struct Durations(HistogramWithExemplars<OfTrace>);

impl Default for Durations {
    fn default() -> Self {
        Durations(HistogramWithExemplars::new(BUCKETS.into_iter()))
    }
}

impl Durations {
    /// Counts one. The trace is named only if it is recorded: others can be opened nowhere.
    pub fn observe(&self, took: Duration, spans: Option<&SpanLog>) {
        observe(&self.0, took, spans);
    }

    /// The histogram, to be encoded.
    pub fn histogram(&self) -> &HistogramWithExemplars<OfTrace> {
        &self.0
    }
}

/// Counts one in `histogram`, as [`Durations::observe`] does.
pub fn observe(
    histogram: &HistogramWithExemplars<OfTrace>,
    took: Duration,
    spans: Option<&SpanLog>,
) {
    let context = spans.map(|spans| spans.start().context);
    let sampled = context.filter(|context| context.sampled);
    let exemplar = sampled.map(|context| OfTrace(TraceId(context.trace_id)));
    let at = exemplar.map(|_| SystemTime::now());
    histogram.observe(took.as_secs_f64(), exemplar, at);
}

/// Encoded as any label is.
impl EncodeLabelValue for TraceId {
    fn encode(&self, encoder: &mut prometheus_client::encoding::LabelValueEncoder) -> fmt::Result {
        write!(encoder, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Start;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    #[test]
    fn bucket_names_a_trace_that_is_recorded_and_no_other() {
        let durations = Durations::default();
        let (sampled, other) = (
            SpanLog::new(Start::new(true)),
            SpanLog::new(Start::new(false)),
        );
        durations.observe(Duration::from_millis(3), Some(&sampled));
        durations.observe(Duration::from_millis(30), Some(&other));
        durations.observe(Duration::from_millis(30), None);
        let mut registry = Registry::default();
        registry.register("took", "Time", durations.histogram().clone());
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let id = TraceId(sampled.start().context.trace_id);
        let wanted = format!("took_bucket{{le=\"0.005\"}} 1 # {{trace_id=\"{id}\"}} 0.003");
        assert!(text.contains(&wanted), "{text}");
        assert_eq!(text.matches("trace_id").count(), 1, "{text}");
    }
}
