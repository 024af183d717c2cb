//! Spans of the guest, in the record of the request that it works for.

use super::super::spans::masked_name;
use super::bindings::wasi::otel::tracing::{
    Host, SpanContext, SpanData, SpanKind, Status, TraceFlags,
};
use super::{Reports, span_id, value};
use crate::in_flight_set::InFlightSet;
use hms_core::trace::{Attribute, Role, Span, SpanDetails};
use hms_grants::{WindowGrants, mask};

/// Attributes of one span that are kept. 32: the conventions for a database call have a dozen.
const MAX_ATTRIBUTES: usize = 32;

/// Bytes of an attribute's name. Longer ones are of nobody's conventions.
const MAX_KEY: usize = 256;

/// What the host's own attributes begin with: no guest says them.
const HOSTS_OWN: &str = "hms.";

/// Entries of a `tracestate`, as W3C bounds them.
const MAX_STATES: usize = 32;

impl Host for Reports<'_> {
    fn on_start(&mut self, context: SpanContext) -> wasmtime::Result<()> {
        let requests = self.0.at_work.requests();
        if let Some((requests, id)) = requests.zip(span_id(&context.span_id)) {
            requests.begin_given(id);
        }
        Ok(())
    }

    fn on_end(&mut self, data: SpanData) -> wasmtime::Result<()> {
        let requests = self.0.at_work.requests();
        let known = requests.zip(span_id(&data.span_context.span_id));
        let above = span_id(&data.parent_span_id);
        let Some(span) = known.and_then(|(requests, id)| requests.end_given(id, above)) else {
            return Ok(());
        };
        span.end();
        let granted = self.0.grants.load();
        if !data.name.is_empty() {
            span.about(|| masked_name(&granted, &data.name));
        }
        if matches!(data.status, Status::Error(_)) {
            span.fail();
        }
        let details = details(&granted, &span, &data);
        if details != SpanDetails::default() {
            span.describe(details);
        }
        Ok(())
    }

    /// An SDK makes no spans for a request whose trace is not sampled. The record is taken whatever
    /// the sampler says, so here every request counts as sampled that has one.
    fn outer_span_context(&mut self) -> wasmtime::Result<SpanContext> {
        let requests = self.0.at_work.requests();
        let (context, state) = match requests.and_then(InFlightSet::outer) {
            Some((context, state)) => (Some(context), state),
            None => (None, None),
        };
        Ok(SpanContext {
            trace_id: format!("{:032x}", context.map_or(0, |context| context.trace_id)),
            span_id: format!("{:016x}", context.map_or(0, |context| context.span_id)),
            trace_flags: match context {
                Some(_) => TraceFlags::SAMPLED,
                None => TraceFlags::empty(),
            },
            is_remote: false,
            trace_state: states(state.as_deref().unwrap_or_default()),
        })
    }
}

/// The entries of a `tracestate`.
fn states(text: &str) -> Vec<(String, String)> {
    let entries = text.split(',').filter_map(|entry| {
        let (key, value) = entry.trim().split_once('=')?;
        Some((key.to_owned(), value.to_owned()))
    });
    entries.take(MAX_STATES).collect()
}

fn details(granted: &WindowGrants, span: &Span, data: &SpanData) -> SpanDetails {
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let mut details = SpanDetails {
        role: match data.span_kind {
            SpanKind::Client => Role::Client,
            SpanKind::Server => Role::Server,
            SpanKind::Producer => Role::Producer,
            SpanKind::Consumer => Role::Consumer,
            SpanKind::Internal => Role::Internal,
        },
        succeeded: matches!(data.status, Status::Ok),
        dropped_attributes: data.dropped_attributes,
        dropped_events: data.dropped_events.saturating_add(count(data.events.len())),
        dropped_links: data.dropped_links.saturating_add(count(data.links.len())),
        ..SpanDetails::default()
    };
    if let Status::Error(why) = &data.status
        && !why.is_empty()
    {
        let why = value::short(granted, why);
        details.failure = span.takes(why.len()).then(|| why.into());
    }
    let scope = &data.instrumentation_scope;
    let version = scope.version.as_deref().unwrap_or_default();
    for (key, text) in [
        ("otel.scope.name", &*scope.name),
        ("otel.scope.version", version),
    ] {
        if !text.is_empty() {
            let value = Some(value::text(granted, text));
            keep(&mut details, granted, span, key, value);
        }
    }
    let (looked_at, rest) = data
        .attributes
        .split_at_checked(MAX_ATTRIBUTES)
        .unwrap_or((&data.attributes, &[]));
    for attribute in looked_at {
        let value = value::attribute(granted, &attribute.value);
        keep(&mut details, granted, span, &attribute.key, value);
    }
    details.dropped_attributes = details.dropped_attributes.saturating_add(count(rest.len()));
    details
}

/// Keeps an attribute, or counts it.
fn keep(
    details: &mut SpanDetails,
    granted: &WindowGrants,
    span: &Span,
    key: &str,
    value: Option<Attribute>,
) {
    let may_be = key.len() <= MAX_KEY && !key.starts_with(HOSTS_OWN);
    let kept = value
        .filter(|_| may_be)
        .filter(|value| span.takes(value::bytes(key, value)));
    match kept {
        Some(value) => {
            let key = mask::masked(granted, key).into();
            details.attributes.push((key, value));
        }
        None => details.dropped_attributes = details.dropped_attributes.saturating_add(1),
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::{InstrumentationScope, KeyValue};
    use super::*;
    use hms_core::trace::{SpanLog, Spans, Start};
    use std::sync::Arc;
    use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;

    fn data(attributes: Vec<KeyValue>) -> SpanData {
        let time = Datetime {
            seconds: 0,
            nanoseconds: 0,
        };
        SpanData {
            span_context: SpanContext {
                trace_id: String::new(),
                span_id: String::new(),
                trace_flags: TraceFlags::empty(),
                is_remote: false,
                trace_state: Vec::new(),
            },
            parent_span_id: String::new(),
            span_kind: SpanKind::Client,
            name: "work".into(),
            start_time: time,
            end_time: time,
            attributes,
            events: Vec::new(),
            links: Vec::new(),
            status: Status::Error("it broke".into()),
            instrumentation_scope: InstrumentationScope {
                name: "orders".into(),
                version: None,
                schema_url: None,
                attributes: Vec::new(),
            },
            dropped_attributes: 2,
            dropped_events: 3,
            dropped_links: u32::MAX,
        }
    }

    fn attribute(key: &str, value: &str) -> KeyValue {
        KeyValue {
            key: key.into(),
            value: value.into(),
        }
    }

    fn details_of(attributes: Vec<KeyValue>) -> SpanDetails {
        let log = Arc::new(SpanLog::new(Start::new(true)));
        details_in(&log, attributes)
    }

    fn details_in(log: &Arc<SpanLog>, attributes: Vec<KeyValue>) -> SpanDetails {
        let span = Spans::of(log.clone()).begin(hms_core::trace::SpanKind::Own);
        details(&WindowGrants::default(), &span, &data(attributes))
    }

    #[test]
    fn guest_attributes_of_a_span_are_kept_but_under_no_name_of_the_host() {
        let details = details_of(vec![
            attribute("db.rows", "3"),
            attribute("hms.window", "\"payments\""),
            attribute(&"k".repeat(MAX_KEY + 1), "1"),
        ]);
        let attributes = vec![
            ("otel.scope.name".into(), Attribute::Text("orders".into())),
            ("db.rows".into(), Attribute::Int(3)),
        ];
        assert_eq!(details.attributes, attributes);
        assert_eq!(details.role, Role::Client);
        assert_eq!(details.failure.as_deref(), Some("it broke"));
        assert_eq!((details.dropped_attributes, details.dropped_events), (4, 3));
        assert_eq!(details.dropped_links, u32::MAX);
    }

    #[test]
    fn attributes_are_bounded_in_number_and_in_bytes() {
        let details = details_of(vec![attribute("a", "1"); 1000]);
        assert_eq!(details.attributes.len(), MAX_ATTRIBUTES + 1);
        assert_eq!(details.dropped_attributes, 2 + 1000 - MAX_ATTRIBUTES as u32);
        let long = "x".repeat(1000);
        let details = details_of(vec![attribute("a", &long); MAX_ATTRIBUTES]);
        assert!((15..=17).contains(&details.attributes.len()), "{details:?}");
    }

    #[test]
    fn empty_attributes_of_all_spans_of_a_request_are_bounded() {
        let log = Arc::new(SpanLog::new(Start::new(true)));
        let each = |_| details_in(&log, vec![attribute("", "\"\""); MAX_ATTRIBUTES]);
        let kept = (0..64).map(each).map(|details| details.attributes.len());
        assert!(kept.sum::<usize>() < 300);
    }

    #[test]
    fn states_of_a_trace_are_its_entries() {
        let wanted = [("a".to_owned(), "1".to_owned()), ("b".into(), "2=3".into())];
        assert_eq!(states("a=1, b=2=3,broken"), wanted);
        assert_eq!(states(&"a=1,".repeat(99)).len(), MAX_STATES);
    }
}
