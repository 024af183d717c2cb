//! Windows that report their own work by `wasi:otel`: in the record of the request, at a collector,
//! in the window's log, and only where the operator has switched it on.

use crate::collector::Collector;
use crate::telemetry::{ended, exporting, host, request};
use hms_api::RequestTrace;
use hms_harness::{Host, guest, guests};
use hms_telemetry::otlp::proto::{KeyValue, Kind, Severity, Span, StatusCode};
use http::Method;
use std::process::Command;

const ON: [&str; 1] = ["--wasi-otel"];

/// A host with the guest, and a collector that gets its traces and its log.
async fn traced() -> (Host, Collector) {
    let soon = [
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "50"),
    ];
    exporting("traced", &soon, &ON).await
}

async fn post(host: &Host, path: &str, id: &str) {
    let id = [("x-request-id", id)];
    let answer = host.call(Method::POST, path, &id, Vec::new()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn id_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The spans of a request by their names, each with the name of the one above.
fn tree(found: &RequestTrace) -> Vec<(&str, &str)> {
    let name = |span_id: &str| {
        let mut spans = found.spans.iter();
        let span = spans.find(|span| span.span_id == span_id);
        span.map_or("", |span| span.detail.as_deref().unwrap_or(&*span.name))
    };
    let spans = found.spans.iter();
    let spans = spans.map(|span| (name(&span.span_id), name(&span.parent_id)));
    spans.collect()
}

#[tokio::test]
async fn spans_of_a_guests_sdk_are_below_whom_they_name_in_the_record_and_at_the_collector() {
    let (mut host, collector) = traced().await;
    post(&host, "/traced/work", "worked").await;
    let found = ended(&host, "worked").await;
    let at_guest = found.spans.iter().position(|span| &*span.name == "guest");
    assert_eq!(
        tree(&found)[at_guest.unwrap() + 1..],
        [
            ("the order", "guest"),
            ("the query", "the order"),
            ("store-commit", "the query"),
            ("the rest", "the query"),
        ],
        "{found:?}"
    );
    for span in &found.spans {
        assert_eq!(span.failed, span.detail.as_deref() == Some("the query"));
        assert!(span.start_ms + span.duration_ms < 60_000.0, "{span:?}");
    }

    let request_id = KeyValue::text("hms.request_id", "worked");
    let spans = collector.trace(&request_id).await;
    let named = |name: &str| -> &Span {
        let found = spans.iter().find(|span| span.name == name);
        found.unwrap_or_else(|| panic!("no {name} in {spans:?}"))
    };
    let (order, query) = (named("the order"), named("the query"));
    assert_eq!(order.parent_span_id, named("guest").span_id);
    assert_eq!(query.parent_span_id, order.span_id);
    assert_eq!(named("store-commit").parent_span_id, query.span_id);
    assert_eq!((order.kind(), query.kind()), (Kind::Internal, Kind::Client));
    let status = |span: &Span| {
        let status = span.status.clone().unwrap();
        (status.code(), status.message)
    };
    assert_eq!(status(order), (StatusCode::Ok, String::new()));
    assert_eq!(status(query), (StatusCode::Error, "no such table".into()));
    let wanted = [
        KeyValue::text("otel.scope.name", "orders"),
        KeyValue::text("otel.scope.version", "1.2.3"),
        KeyValue::text("db.system", "sqlite"),
        KeyValue::int("db.rows", 3),
        KeyValue::text("error.type", "_OTHER"),
    ];
    assert_eq!(query.attributes, wanted);
    let dropped = (
        query.dropped_attributes_count,
        query.dropped_events_count,
        query.dropped_links_count,
    );
    assert_eq!(dropped, (1, 1, 1));
    // By the clock of the host, whatever the guest says of the time.
    let guest = named("guest");
    for span in [order, query] {
        assert!(span.start_time_unix_nano >= guest.start_time_unix_nano);
        assert!(span.end_time_unix_nano <= guest.end_time_unix_nano);
    }
    host.terminate().await;
}

#[tokio::test]
async fn outer_span_of_a_guests_sdk_is_the_guest_in_the_record_with_the_state_of_its_trace() {
    let args = ["--wasi-otel", "--trusted-proxies", "127.0.0.1"];
    let host = host(&["traced"], &[], &args).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-00");
    let ask = [
        ("x-request-id", "proxied"),
        ("traceparent", &*parent),
        ("tracestate", "vendor=1,other=2"),
    ];
    let outer = host.call(Method::GET, "/traced/outer", &ask, Vec::new());
    let outer = outer.await.text();
    let found = request(&host, "proxied").await;
    let guest = found.spans.iter().find(|span| &*span.name == "guest");
    let id = &guest.unwrap().span_id;
    // Kept, though not exported: so the SDK has to make spans.
    let state = r#"[("vendor", "1"), ("other", "2")]"#;
    assert_eq!(outer, format!("{trace} {id} true {state}\n"));
    assert!(!found.sampled);

    let alone = host.get("/traced/outer").await.text();
    assert!(alone.ends_with(" true []\n"), "{alone}");
    assert!(!alone.starts_with(trace), "{alone}");
}

#[tokio::test]
async fn log_record_of_a_guests_sdk_is_a_line_with_its_level_about_its_span() {
    let (mut host, collector) = traced().await;
    post(&host, "/traced/log?text=low+on+stock", "logged").await;
    let shown = host.cli("logs", &["traced"]).await;
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("WARN") && shown.contains("orders: low on stock order=7"),
        "{shown}"
    );
    let line = collector
        .line("the line of the window", |line| {
            line.body == KeyValue::text("", "orders: low on stock order=7").value
        })
        .await;
    assert_eq!(line.severity_number(), Severity::Warn);
    let found = ended(&host, "logged").await;
    let mut spans = found.spans.iter();
    let span = spans.find(|span| span.detail.as_deref() == Some("logging"));
    assert_eq!(id_of(&line.trace_id), found.trace_id);
    assert_eq!(id_of(&line.span_id), span.unwrap().span_id);
    host.terminate().await;
}

#[tokio::test]
async fn flood_of_spans_by_a_guests_sdk_is_bounded_and_has_no_circles() {
    let (mut host, collector) = traced().await;
    post(&host, "/traced/flood?spans=1000", "flooded").await;
    let found = ended(&host, "flooded").await;
    assert_eq!(found.spans.len(), 64, "{found:?}");
    assert!(found.spans_left_out >= 900, "{}", found.spans_left_out);
    let flooded = found.spans.iter().filter(|span| &*span.name == "span");
    for span in flooded {
        assert!(span.detail.as_ref().unwrap().len() <= 256);
        let mut spans = found.spans.iter();
        let above = spans.find(|above| above.span_id == span.parent_id);
        assert_eq!(&*above.unwrap().name, "guest");
    }
    let request_id = KeyValue::text("hms.request_id", "flooded");
    let spans = collector.trace(&request_id).await;
    let bytes = |span: &Span| -> usize {
        let attributes = span.attributes.iter();
        let flood = attributes.filter(|it| it.key == "flood");
        flood.count() * 1000
    };
    let all: usize = spans.iter().map(bytes).sum();
    assert!((8000..=16 << 10).contains(&all), "{all}");
    let dropped: u32 = spans.iter().map(|span| span.dropped_attributes_count).sum();
    assert!(dropped > 50 * 100, "{dropped}");
    assert_eq!(host.get("/traced/outer").await.status, 200);
    host.terminate().await;
}

/// Whether `hms inspect` accepts the guest, and what it says.
async fn inspected(args: &[&str]) -> (bool, String) {
    let mut command = Command::new(hms_harness::hms());
    command.arg("inspect").arg(guests::path("traced").await);
    command.args(args);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn window_that_imports_wasi_otel_needs_the_flag_that_its_refusal_names() {
    let component = guest("traced").await;
    let mut host = Host::with_open_windows(&[("w", &guest("hello-wasip3").await)]).await;
    let put = "/windows/w?yes=true";
    let refused = host.admin(Method::PUT, put, component.clone()).await;
    let code = (refused.status.as_u16(), refused.problem());
    assert_eq!(code, (422, "unknown-import".into()));
    for part in ["wasi:otel/tracing@0.2.0-rc.2", "--wasi-otel"] {
        assert!(refused.text().contains(part), "{}", refused.text());
    }
    let (accepted, said) = inspected(&[]).await;
    assert!(!accepted && said.contains("--wasi-otel"), "{said}");
    let (accepted, said) = inspected(&ON).await;
    assert!(
        accepted && said.contains("parts of its work in traces"),
        "{said}"
    );

    let on = [("HMS_WASI_OTEL", "true")];
    host.terminate().await;
    host.boot_with(&on).await;
    host.deploy("w", &component).await;
    assert_eq!(host.get("/w/outer").await.status, 200);

    // Without the flag it does not open, says why, and is as it was once the flag is there again.
    host.terminate().await;
    host.boot().await;
    assert_eq!(host.get("/w/outer").await.status, 503);
    assert!(host.log().contains("--wasi-otel"), "{}", host.log());
    host.terminate().await;
    host.boot_with(&on).await;
    assert_eq!(host.get("/w/outer").await.status, 200);
}
