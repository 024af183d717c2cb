//! A window that reports its own work by `wasi:otel` 0.2.0-rc.2, as an OpenTelemetry SDK does.
//!
//!     GET  /outer         the host's span: its trace, its id, whether it is sampled, its tracestate
//!     POST /work          spans in spans, with a write in them
//!     POST /log?text=     a record of the log in a span
//!     POST /flood?spans=  so many spans, each said to be below the next

use hms_window::{Problem, Request, Response, Store, window};

wasip3::wit_bindgen::generate!({
    inline: "
        package hms:traced;
        world imports {
            import wasi:otel/tracing@0.2.0-rc.2;
            import wasi:otel/logs@0.2.0-rc.2;
        }
    ",
    path: ["../../../wit/foreign/otel"],
    runtime_path: "wasip3::wit_bindgen::rt",
    generate_all,
});

use wasi::clocks::wall_clock::Datetime;
use wasi::otel::logs::{LogRecord, on_emit};
use wasi::otel::tracing::{
    Event, Link, SpanContext, SpanData, SpanKind, Status, TraceFlags, on_end, on_start,
    outer_span_context,
};
use wasi::otel::types::{InstrumentationScope, KeyValue};

window!(handle);

/// A time that no clock has now: the host is to use its own.
const LONG_AGO: Datetime = Datetime {
    seconds: 1,
    nanoseconds: 0,
};

async fn handle(request: Request) -> Result<Response, Problem> {
    let text = match &*request.segments() {
        ["outer"] => {
            let outer = outer_span_context();
            let sampled = outer.trace_flags.contains(TraceFlags::SAMPLED);
            let (trace, span) = (&outer.trace_id, &outer.span_id);
            format!("{trace} {span} {sampled} {:?}", outer.trace_state)
        }
        ["work"] => work()?,
        ["log"] => {
            let span = context(1);
            on_start(&span);
            let text = request.param::<String>("text")?.unwrap_or_default();
            on_emit(&record(&span, &text));
            on_end(&ended(&span, &outer_span_context().span_id, "logging"));
            "logged".into()
        }
        ["flood"] => {
            let spans = request.param("spans")?.unwrap_or(0);
            for number in 1..=spans {
                on_start(&context(number));
            }
            for number in 1..=spans {
                let above = context(number + 1).span_id;
                let mut span = ended(&context(number), &above, &"n".repeat(100_000));
                span.attributes = vec![attribute("flood", &"v".repeat(1000)); 100];
                on_end(&span);
            }
            format!("{spans} spans")
        }
        _ => return Err(Problem::not_found()),
    };
    Ok(Response::text(200, text + "\n"))
}

fn work() -> Result<String, Problem> {
    let [outer, inner, late] = [1, 2, 3].map(context);
    on_start(&outer);
    on_start(&inner);
    Store::open("kept")?.set("key", b"value")?;
    on_end(&SpanData {
        span_kind: SpanKind::Client,
        attributes: vec![
            attribute("db.system", "\"sqlite\""),
            attribute("db.rows", "3"),
            attribute("hms.window", "\"forged\""),
        ],
        events: vec![Event {
            name: "retry".into(),
            time: LONG_AGO,
            attributes: Vec::new(),
        }],
        links: vec![Link {
            span_context: late.clone(),
            attributes: Vec::new(),
        }],
        status: Status::Error("no such table".into()),
        ..ended(&inner, &outer.span_id, "the query")
    });
    on_start(&late);
    on_end(&SpanData {
        status: Status::Ok,
        ..ended(&outer, &outer_span_context().span_id, "the order")
    });
    on_end(&ended(&late, &inner.span_id, "the rest"));
    // Of nobody.
    on_end(&ended(&context(4), &outer.span_id, "never begun"));
    Ok("worked".into())
}

/// A span of the host's trace.
fn context(number: u64) -> SpanContext {
    SpanContext {
        trace_id: outer_span_context().trace_id,
        span_id: format!("{number:016x}"),
        trace_flags: TraceFlags::SAMPLED,
        is_remote: false,
        trace_state: Vec::new(),
    }
}

fn ended(context: &SpanContext, above: &str, name: &str) -> SpanData {
    SpanData {
        span_context: context.clone(),
        parent_span_id: above.into(),
        span_kind: SpanKind::Internal,
        name: name.into(),
        start_time: LONG_AGO,
        end_time: LONG_AGO,
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
        status: Status::Unset,
        instrumentation_scope: scope(),
        dropped_attributes: 0,
        dropped_events: 0,
        dropped_links: 0,
    }
}

fn record(span: &SpanContext, text: &str) -> LogRecord {
    LogRecord {
        timestamp: Some(LONG_AGO),
        observed_timestamp: None,
        severity_text: Some("WARN".into()),
        severity_number: Some(13),
        body: Some(format!("\"{text}\"")),
        attributes: Some(vec![attribute("order", "7")]),
        event_name: None,
        resource: None,
        instrumentation_scope: Some(scope()),
        trace_id: Some(span.trace_id.clone()),
        span_id: Some(span.span_id.clone()),
        trace_flags: Some(TraceFlags::SAMPLED),
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "orders".into(),
        version: Some("1.2.3".into()),
        schema_url: None,
        attributes: Vec::new(),
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: value.into(),
    }
}
