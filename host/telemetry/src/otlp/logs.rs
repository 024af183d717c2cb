//! Lines of the log for a collector: what goes to stderr, with the trace that each is about.
//!
//! [`LogLayer`] takes them as they are logged, on the thread that logs, and copies what they say:
//! two allocations, whatever they have. Everything else is done where they are sent.

use super::LogQueue;
use super::proto::{
    AnyValue, KeyValue, LogRecord, LogsRequest, Resource, ResourceLogs, Scope, ScopeLogs, Severity,
    Value,
};
use hms_core::trace::{TraceContext, logged};
use std::collections::BTreeMap;
use std::fmt::{self, Debug, Write};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Bytes of one line with all its fields. 4 KiB of a window's line, and what the host says beside.
const MAX_TEXT: usize = (4 << 10) + 512;

/// Bytes of its message, and of each other field: none takes the place of who has said it.
const MAX_MESSAGE: usize = (4 << 10) + 256;
const MAX_FIELD: usize = 1 << 10;

/// Fields of one line. The access log has 15.
const MAX_FIELDS: usize = 32;

/// Where the lines come from that are not exported: what the exporter does and says would go on for
/// ever.
const OWN: [&str; 6] = [
    "hms_telemetry::otlp",
    "h2",
    "hyper",
    "rustls",
    "tokio_rustls",
    "hms_net::client",
];

/// The field of the message.
const MESSAGE: &str = "message";

/// Takes what is logged, once there is somewhere to put it.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogLayer {
    to: Arc<OnceLock<LogQueue>>,
}

impl LogLayer {
    /// What is logged goes there from now on. The first one counts.
    pub(crate) fn export_to(&self, queue: LogQueue) {
        self.to.get_or_init(|| queue);
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if let Some(queue) = self.to.get()
            && is_exported(event.metadata().target())
        {
            queue.0.push(LogLine::of(event));
        }
    }
}

fn is_exported(target: &str) -> bool {
    !OWN.into_iter().any(|own| {
        let rest = target.strip_prefix(own);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::") || rest.starts_with('_'))
    })
}

/// A line, as it was logged.
#[derive(Debug)]
pub(super) struct LogLine {
    metadata: &'static Metadata<'static>,
    at: SystemTime,
    /// What it is about.
    work: Option<TraceContext>,
    /// The texts of all fields, one behind the other.
    text: String,
    fields: Vec<(&'static str, Said)>,
    left_out: u32,
}

/// What a field says.
#[derive(Debug, Clone, Copy)]
enum Said {
    /// Up to there in the text of the line.
    Text(usize),
    Int(i64),
    Double(f64),
    Bool(bool),
}

impl LogLine {
    fn of(event: &Event<'_>) -> Self {
        let mut line = LogLine {
            metadata: event.metadata(),
            at: SystemTime::now(),
            work: logged::work(),
            text: String::with_capacity(256),
            fields: Vec::with_capacity(event.metadata().fields().len().min(MAX_FIELDS)),
            left_out: 0,
        };
        event.record(&mut line);
        line
    }

    fn add(&mut self, field: &Field, said: Said) {
        if self.fields.len() < MAX_FIELDS {
            self.fields.push((field.name(), said));
        } else {
            self.left_out += 1;
        }
    }

    fn severity(&self) -> Severity {
        match *self.metadata.level() {
            Level::ERROR => Severity::Error,
            Level::WARN => Severity::Warn,
            Level::INFO => Severity::Info,
            Level::DEBUG => Severity::Debug,
            Level::TRACE => Severity::Trace,
        }
    }

    fn record(&self) -> LogRecord {
        let mut attributes = Vec::with_capacity(self.fields.len());
        let (mut message, mut begin) = (None, 0);
        for (name, said) in &self.fields {
            let value = match *said {
                Said::Text(end) => {
                    let text = self.text.get(begin..end).unwrap_or_default();
                    begin = end;
                    Value::Text(text.to_owned())
                }
                Said::Int(value) => Value::Int(value),
                Said::Double(value) => Value::Double(value),
                Said::Bool(value) => Value::Bool(value),
            };
            match known(name) {
                Some(MESSAGE) => message = Some(value),
                Some(name) => attributes.push(KeyValue::of(name, value)),
                None => {}
            }
        }
        let message = message.unwrap_or_else(|| Value::Text(summary(&attributes)));
        let at = self.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        let (trace_id, span_id, flags) = match self.work {
            Some(work) => (
                work.trace_id.to_be_bytes().to_vec(),
                work.span_id.to_be_bytes().to_vec(),
                u32::from(work.sampled),
            ),
            None => Default::default(),
        };
        LogRecord {
            time_unix_nano: at,
            observed_time_unix_nano: at,
            severity_number: self.severity().into(),
            severity_text: self.metadata.level().as_str().to_owned(),
            body: Some(AnyValue {
                value: Some(message),
            }),
            attributes,
            dropped_attributes_count: self.left_out,
            flags,
            trace_id,
            span_id,
        }
    }
}

/// The name of a field as an attribute: as spans have it, if they have it. None for the trace,
/// which the record has a place for.
fn known(name: &'static str) -> Option<&'static str> {
    match name.strip_prefix("r#").unwrap_or(name) {
        "trace_id" => None,
        "window" => Some("hms.window"),
        "release" => Some("hms.release"),
        "request_id" => Some("hms.request_id"),
        name => Some(name),
    }
}

/// What a line without a message says, as those of the access log: `GET /path 200`.
fn summary(attributes: &[KeyValue]) -> String {
    let mut said = String::new();
    for name in ["method", "path", "status"] {
        let found = attributes.iter().find(|it| it.key == name);
        let value = found.and_then(|it| it.value.as_ref()?.value.as_ref());
        let space = if said.is_empty() { "" } else { " " };
        // A text cannot refuse.
        let _ = match value {
            Some(Value::Text(text)) => write!(said, "{space}{text}"),
            Some(Value::Int(number)) => write!(said, "{space}{number}"),
            _ => Ok(()),
        };
    }
    said
}

impl Visit for LogLine {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Said::Double(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Said::Int(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Said::Int(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Said::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let most = match field.name() {
            MESSAGE => MAX_MESSAGE,
            _ => MAX_FIELD,
        };
        let end = (self.text.len() + most).min(MAX_TEXT);
        // What does not fit is left out, and the rest is a line all the same.
        let _ = write!(Bounded(&mut self.text, end), "{value:?}");
        self.add(field, Said::Text(self.text.len()));
    }
}

/// A text that grows up to so many bytes.
struct Bounded<'a>(&'a mut String, usize);

impl Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.1.saturating_sub(self.0.len());
        let end = text.floor_char_boundary(room);
        self.0.push_str(text.get(..end).unwrap_or_default());
        if end < text.len() {
            return Err(fmt::Error);
        }
        Ok(())
    }
}

/// One request with all of these lines, each below the part of the host that logged it.
pub(super) fn request(resource: &[KeyValue], lines: &[LogLine]) -> LogsRequest {
    let mut targets: BTreeMap<&str, Vec<LogRecord>> = BTreeMap::new();
    for line in lines {
        let records = targets.entry(line.metadata.target()).or_default();
        records.push(line.record());
    }
    let scopes = targets.into_iter().map(|(target, log_records)| ScopeLogs {
        scope: Some(Scope {
            name: target.to_owned(),
            ..Scope::host()
        }),
        log_records,
    });
    LogsRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(Resource {
                attributes: resource.to_vec(),
            }),
            scope_logs: scopes.collect(),
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::{Gatherer, OtlpMetrics};
    use tracing_subscriber::layer::SubscriberExt;

    /// The records of what `say` logs, where so many lines have room.
    fn logged_by(room: usize, say: impl FnOnce()) -> (Vec<LogRecord>, OtlpMetrics) {
        let metrics = OtlpMetrics::default();
        let gatherer = Gatherer::<LogLine>::new(room, &metrics);
        let layer = LogLayer::default();
        layer.export_to(LogQueue(gatherer.queue.clone()));
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, say);
        let mut queue = gatherer.read.lock().take().unwrap();
        let mut lines = Vec::new();
        while let Ok(line) = queue.try_recv() {
            lines.push(line);
        }
        let request = request(&[], &lines);
        let scopes = request
            .resource_logs
            .into_iter()
            .flat_map(|it| it.scope_logs);
        (scopes.flat_map(|it| it.log_records).collect(), metrics)
    }

    fn text(value: &str) -> Option<AnyValue> {
        KeyValue::text("", value).value
    }

    #[test]
    fn line_has_its_level_its_fields_and_the_work_that_it_is_about() {
        let work = TraceContext::new(true);
        let (records, _) = logged_by(9, || {
            tracing::info!(target: "window", window = "payments", "first");
            logged::about(Some(work), || {
                tracing::warn!(target: "window", window = "payments", "said {}", 1);
            });
            tracing::info!(target: "access", method = %"GET", path = %"/a", status = 200u16,
                duration_ms = 1.5, kept = true, user = None::<&str>, trace_id = "abc");
        });
        let [access, first, about] = records.as_slice() else {
            panic!("{records:?}");
        };
        assert_eq!(first.body, text("first"));
        assert_eq!(first.attributes, [KeyValue::text("hms.window", "payments")]);
        assert!(first.trace_id.is_empty() && first.flags == 0);
        assert_eq!(first.severity_number(), Severity::Info);
        assert_eq!(about.body, text("said 1"));
        assert_eq!(about.severity_number(), Severity::Warn);
        assert_eq!(about.trace_id, work.trace_id.to_be_bytes());
        assert_eq!(about.span_id, work.span_id.to_be_bytes());
        assert_eq!(about.flags, 1);
        assert_eq!(access.body, text("GET /a 200"));
        let wanted = [
            KeyValue::text("method", "GET"),
            KeyValue::text("path", "/a"),
            KeyValue::int("status", 200),
            KeyValue::double("duration_ms", 1.5),
            KeyValue::of("kept", Value::Bool(true)),
        ];
        assert_eq!(access.attributes, wanted);
    }

    #[test]
    fn line_is_bounded_and_those_that_find_no_room_are_counted() {
        let (records, metrics) = logged_by(2, || {
            let long = "é".repeat(MAX_TEXT);
            tracing::info!(target: "window", window = "payments", "{long}");
            for _ in 0..4 {
                tracing::info!(target: "window", "more");
            }
        });
        assert_eq!(records.len(), 2);
        let long = records[0].body.as_ref().unwrap();
        let Some(Value::Text(long)) = &long.value else {
            panic!("{long:?}");
        };
        assert!(
            (MAX_MESSAGE - 16..=MAX_MESSAGE).contains(&long.len()),
            "{}",
            long.len()
        );
        let window = KeyValue::text("hms.window", "payments");
        assert_eq!(records[0].attributes, [window]);
        let label = crate::otlp::DroppedLabels {
            signal: "logs",
            reason: "queue-full",
        };
        assert_eq!(metrics.dropped.get_or_create(&label).get(), 3);
    }

    #[test]
    fn long_method_path_and_user_leave_room_for_who_asked() {
        let (records, _) = logged_by(9, || {
            let long = "a".repeat(60_000);
            tracing::info!(target: "access", method = %long, path = %long, user = %long,
                request_id = "abc");
        });
        let all = records[0].attributes.iter().map(|it| match &it.value {
            Some(AnyValue {
                value: Some(Value::Text(text)),
            }) => text.len(),
            _ => 0,
        });
        assert_eq!(all.sum::<usize>(), 3 * MAX_FIELD + 3);
        let id = KeyValue::text("hms.request_id", "abc");
        assert!(records[0].attributes.contains(&id), "{records:?}");
    }

    #[test]
    fn log_lines_of_the_exporter_are_not_exported() {
        for (target, wanted) in [
            ("hms_telemetry::otlp", false),
            ("hyper_util::client::legacy", false),
            ("h2::proto", false),
            ("hms_telemetry", true),
            ("window", true),
            ("h2o", true),
            ("hms_gateway::server", true),
        ] {
            assert_eq!(is_exported(target), wanted, "{target}");
        }
    }
}
