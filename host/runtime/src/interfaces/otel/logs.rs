//! Log records of the guest, each a line of the window's log.

use super::bindings::wasi::otel::logs::{Host, LogRecord};
use super::value::words;
use super::{Reports, span_id};
use crate::log::Level;
use hms_core::trace::logged;
use std::fmt::Write;

/// Attributes of one record that are in its line.
const MAX_ATTRIBUTES: usize = 32;

/// Bytes from which on no further attribute is added: a line has fewer.
const ENOUGH: usize = 8 << 10;

impl Host for Reports<'_> {
    fn on_emit(&mut self, record: LogRecord) -> wasmtime::Result<()> {
        let Reports(context) = self;
        let level = level(record.severity_number, record.severity_text.as_deref());
        let scope = record.instrumentation_scope.as_ref();
        let scope = scope.map_or("", |scope| &*scope.name);
        let line = line(&record);
        let id = record.span_id.as_deref().and_then(span_id);
        let requests = context.at_work.requests();
        let given = requests.zip(id).and_then(|(all, id)| all.given(id));
        let work = given.or_else(|| context.at_work.work());
        logged::about(work, || context.log.entry(level, scope, &line));
        Ok(())
    }
}

/// The level of a severity. The number counts; where there is none, the text.
fn level(number: Option<u8>, text: Option<&str>) -> Level {
    match number {
        Some(1..=4) => Level::Trace,
        Some(5..=8) => Level::Debug,
        Some(9..=12) => Level::Info,
        Some(13..=16) => Level::Warn,
        Some(17..=20) => Level::Error,
        Some(21..=24) => Level::Critical,
        _ => {
            let is = |word: &str| text.is_some_and(|text| text.eq_ignore_ascii_case(word));
            let words = [
                ("trace", Level::Trace),
                ("debug", Level::Debug),
                ("warn", Level::Warn),
                ("warning", Level::Warn),
                ("error", Level::Error),
                ("fatal", Level::Critical),
                ("critical", Level::Critical),
            ];
            let found = words.into_iter().find(|(word, _)| is(word));
            found.map_or(Level::Info, |(_, level)| level)
        }
    }
}

/// The body, or else the name of the event, and the attributes.
fn line(record: &LogRecord) -> String {
    let event = record.event_name.as_deref().filter(|name| !name.is_empty());
    let mut line = match &record.body {
        Some(body) => words(body).into_owned(),
        None => event.unwrap_or_default().to_owned(),
    };
    let mut add = |key: &str, value: &str| {
        if line.len() < ENOUGH {
            // A text cannot refuse.
            let _ = write!(line, " {key}={value}");
        }
    };
    if let (Some(_), Some(event)) = (&record.body, event) {
        add("event.name", event);
    }
    let attributes = record.attributes.iter().flatten();
    for attribute in attributes.take(MAX_ATTRIBUTES) {
        add(&attribute.key, &words(&attribute.value));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::types::KeyValue;
    use super::*;

    fn record(body: Option<&str>, event: Option<&str>, attributes: &[(&str, &str)]) -> LogRecord {
        let attributes = attributes.iter().map(|(key, value)| KeyValue {
            key: (*key).into(),
            value: (*value).into(),
        });
        LogRecord {
            timestamp: None,
            observed_timestamp: None,
            severity_text: None,
            severity_number: None,
            body: body.map(Into::into),
            attributes: Some(attributes.collect()),
            event_name: event.map(Into::into),
            resource: None,
            instrumentation_scope: None,
            trace_id: None,
            span_id: None,
            trace_flags: None,
        }
    }

    #[test]
    fn level_is_that_of_the_number_or_else_of_the_text() {
        for (number, text, wanted) in [
            (Some(1), None, Level::Trace),
            (Some(8), Some("ERROR"), Level::Debug),
            (Some(9), None, Level::Info),
            (Some(13), None, Level::Warn),
            (Some(20), None, Level::Error),
            (Some(24), None, Level::Critical),
            (Some(25), Some("Warning"), Level::Warn),
            (None, Some("FATAL"), Level::Critical),
            (None, None, Level::Info),
        ] {
            assert_eq!(level(number, text), wanted, "{number:?} {text:?}");
        }
    }

    #[test]
    fn line_is_the_body_or_the_event_and_the_attributes() {
        let some = [("id", "7"), ("by", "\"ann\"")];
        let of = |body, event| line(&record(body, event, &some));
        assert_eq!(of(Some("\"paid\""), None), "paid id=7 by=ann");
        assert_eq!(of(None, Some("order.paid")), "order.paid id=7 by=ann");
        assert_eq!(
            of(Some("paid"), Some("order.paid")),
            "paid event.name=order.paid id=7 by=ann"
        );
    }

    #[test]
    fn line_stops_growing() {
        let long = "x".repeat(5000);
        let many = vec![("k", long.as_str()); 30];
        assert!(line(&record(None, None, &many)).len() < ENOUGH + 5010);
        let many = vec![("k", "1"); 1000];
        assert_eq!(line(&record(None, None, &many)).len(), 4 * MAX_ATTRIBUTES);
    }
}
