//! The exporter against collectors that take, refuse, stand still and are not there.

use super::proto::{KeyValue, Kind, MetricsRequest, StatusCode, TracesRequest};
use super::*;
use crate::trace::{Inbound, Sampler, Tracer};
use hms_core::trace::{Outline, SpanKind, Spans, TraceContext, What};
use http::Method;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PATIENCE: Duration = Duration::from_secs(20);

/// A request to the collector: its head in small letters, and its body.
type Got = (String, Vec<u8>);

/// A collector that answers the first requests with `statuses`, and later ones with 200.
async fn collector(statuses: Vec<u16>) -> (SocketAddr, mpsc::Receiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (tell, got) = mpsc::channel(64);
    tokio::spawn(async move {
        let mut statuses = statuses.into_iter();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            while let Some(request) = read(&mut stream).await {
                let status = statuses.next().unwrap_or(200);
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
                let _ = tell.send(request).await;
            }
        }
    });
    (addr, got)
}

async fn read(stream: &mut TcpStream) -> Option<Got> {
    let mut bytes = Vec::new();
    loop {
        let end = bytes.windows(4).position(|it| it == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.split("content-length: ").nth(1).unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if bytes.len() >= end + 4 + length {
                return Some((head, bytes[end + 4..].to_vec()));
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn settings(to: SocketAddr, more: &[(&str, &str)]) -> OtlpSettings {
    let endpoint = format!("http://{to}");
    let usual = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "20"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "20"),
    ];
    let read = OtlpSettings::read(|name| {
        let found = more.iter().chain(&usual).find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    });
    read.unwrap().unwrap()
}

fn outline(status: u16) -> Outline {
    Outline {
        what: What::Request,
        request_id: "abc".into(),
        method: Method::try_from("BREW").unwrap(),
        scheme: "https",
        route: Some("payments".into()),
        path: "/api/v1/payments".into(),
        upstream: Some("payments".into()),
        window: true,
        release: Some(3),
        status,
        error: (status >= 500).then_some("instance-trapped"),
        head: None,
    }
}

fn tracer(exporter: &Exporter, sampler: Sampler) -> Tracer {
    Tracer::new(sampler, PATIENCE).exporting(exporter.queue())
}

fn no_metrics() -> Render {
    Arc::new(String::new)
}

async fn next(got: &mut mpsc::Receiver<Got>) -> Got {
    timeout(PATIENCE, got.recv()).await.unwrap().unwrap()
}

fn has(attributes: &[KeyValue], wanted: &KeyValue) -> bool {
    attributes.contains(wanted)
}

#[tokio::test]
async fn request_arrives_as_one_tree_with_the_conventions_of_http() {
    let (to, mut got) = collector(Vec::new()).await;
    let more = [
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=k"),
    ];
    let exporter = Exporter::new(settings(to, &more));
    let tracer = tracer(&exporter, Sampler::new("always_on", None).unwrap());
    exporter.start(no_metrics());
    let client = TraceContext::new(true);
    let log = tracer.begin(Some(Inbound {
        context: client,
        trusted: false,
    }));
    let guest = Spans::of(log.clone()).begin(SpanKind::Guest);
    let call = guest.spans().begin(SpanKind::Call);
    call.about(|| "GET https://rates.example".into());
    call.answered(404);
    drop((call, guest));
    let root = log.start().context;
    tracer.finish(log, outline(502));
    let (head, body) = next(&mut got).await;
    assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
    assert!(head.contains("\napi-key: k") && head.contains("application/x-protobuf"));
    let request = TracesRequest::decode(body.as_slice()).unwrap();
    let of_host = &request.resource_spans[0];
    let resource = of_host.resource.as_ref().unwrap();
    assert!(has(
        &resource.attributes,
        &KeyValue::text("service.name", "hms")
    ));
    let spans = &of_host.scope_spans[0].spans;
    let [whole, guest, call] = spans.as_slice() else {
        panic!("{spans:?}");
    };
    assert_eq!(
        (whole.name.as_str(), whole.kind()),
        ("_OTHER payments", Kind::Server)
    );
    assert_eq!(whole.trace_id, root.trace_id.to_be_bytes());
    assert!(whole.parent_span_id.is_empty());
    assert_eq!(whole.links[0].trace_id, client.trace_id.to_be_bytes());
    for wanted in [
        KeyValue::text("http.request.method", "_OTHER"),
        KeyValue::text("http.request.method_original", "BREW"),
        KeyValue::text("url.path", "/api/v1/payments"),
        KeyValue::text("url.scheme", "https"),
        KeyValue::text("http.route", "payments"),
        KeyValue::int("http.response.status_code", 502),
        KeyValue::text("error.type", "instance-trapped"),
        KeyValue::text("hms.window", "payments"),
        KeyValue::int("hms.release", 3),
    ] {
        assert!(has(&whole.attributes, &wanted), "{wanted:?} in {whole:?}");
    }
    assert_eq!(whole.status.as_ref().unwrap().code(), StatusCode::Error);
    assert_eq!(
        (guest.name.as_str(), guest.kind()),
        ("guest", Kind::Internal)
    );
    assert_eq!(guest.parent_span_id, whole.span_id);
    assert_eq!((call.name.as_str(), call.kind()), ("GET", Kind::Client));
    assert_eq!(call.parent_span_id, guest.span_id);
    for wanted in [
        KeyValue::text("server.address", "rates.example"),
        KeyValue::int("server.port", 443),
        KeyValue::text("error.type", "404"),
    ] {
        assert!(has(&call.attributes, &wanted), "{wanted:?} in {call:?}");
    }
    assert!(call.end_time_unix_nano >= call.start_time_unix_nano);
    exporter.finish(PATIENCE).await;
}

#[tokio::test]
async fn failed_requests_are_exported_whatever_the_sampler_says() {
    let (to, mut got) = collector(Vec::new()).await;
    let exporter = Exporter::new(settings(to, &[("OTEL_METRICS_EXPORTER", "none")]));
    let tracer = tracer(&exporter, Sampler::new("always_off", None).unwrap());
    exporter.start(no_metrics());
    for status in [200, 404, 503] {
        tracer.finish(tracer.begin(None), outline(status));
    }
    exporter.finish(PATIENCE).await;
    let (_, body) = next(&mut got).await;
    let request = TracesRequest::decode(body.as_slice()).unwrap();
    let spans = &request.resource_spans[0].scope_spans[0].spans;
    assert_eq!(spans.len(), 1);
    let status = KeyValue::int("http.response.status_code", 503);
    assert!(has(&spans[0].attributes, &status));
}

#[tokio::test]
async fn collector_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    let (to, mut got) = collector(vec![503, 200, 400]).await;
    let exporter = Exporter::new(settings(to, &[("OTEL_METRICS_EXPORTER", "none")]));
    let tracer = tracer(&exporter, Sampler::new("always_on", None).unwrap());
    exporter.start(no_metrics());
    tracer.finish(tracer.begin(None), outline(200));
    let (first, again) = (next(&mut got).await, next(&mut got).await);
    assert_eq!(first.1, again.1);
    tracer.finish(tracer.begin(None), outline(200));
    next(&mut got).await;
    exporter.finish(PATIENCE).await;
    assert!(got.try_recv().is_err(), "it asked again");
    let text = text(&exporter);
    assert!(
        text.contains("otlp_exported_total{signal=\"traces\"} 1"),
        "{text}"
    );
    let refused = "otlp_dropped_total{signal=\"traces\",reason=\"refused\"} 1";
    assert!(text.contains(refused), "{text}");
}

#[tokio::test]
async fn records_that_find_no_place_or_no_collector_are_counted_and_delay_nobody() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = unused.local_addr().unwrap();
    drop(unused);
    let more = [
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "8"),
    ];
    let exporter = Exporter::new(settings(to, &more));
    let tracer = tracer(&exporter, Sampler::new("always_on", None).unwrap());
    let begun = Instant::now();
    for _ in 0..20 {
        tracer.finish(tracer.begin(None), outline(200));
    }
    assert!(begun.elapsed() < Duration::from_secs(1));
    exporter.start(no_metrics());
    exporter.finish(PATIENCE).await;
    let text = text(&exporter);
    let full = "otlp_dropped_total{signal=\"traces\",reason=\"queue-full\"} 12";
    let lost = "otlp_dropped_total{signal=\"traces\",reason=\"unreachable\"} 8";
    assert!(text.contains(full) && text.contains(lost), "{text}");
}

#[tokio::test]
async fn small_queue_is_emptied_before_it_is_full() {
    let (to, mut got) = collector(Vec::new()).await;
    let more = [
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "8"),
        // Nothing is sent before the end.
        ("OTEL_BSP_SCHEDULE_DELAY", "600000"),
    ];
    let exporter = Exporter::new(settings(to, &more));
    let tracer = tracer(&exporter, Sampler::new("always_on", None).unwrap());
    exporter.start(no_metrics());
    for _ in 0..10 {
        for _ in 0..4 {
            tracer.finish(tracer.begin(None), outline(200));
        }
        tokio::task::yield_now().await;
    }
    exporter.finish(PATIENCE).await;
    let (_, body) = next(&mut got).await;
    let request = TracesRequest::decode(body.as_slice()).unwrap();
    assert_eq!(request.resource_spans[0].scope_spans[0].spans.len(), 40);
    let text = text(&exporter);
    assert!(!text.contains("queue-full"), "{text}");
}

#[tokio::test]
async fn metrics_are_sent_compressed_where_that_is_asked_for() {
    let (to, mut got) = collector(Vec::new()).await;
    let more = [("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")];
    let exporter = Exporter::new(settings(to, &more));
    exporter.start(Arc::new(|| "# TYPE hms_open gauge\nhms_open 2\n".into()));
    let (head, body) = next(&mut got).await;
    assert!(head.starts_with("post /v1/metrics") && head.contains("content-encoding: gzip"));
    let mut plain = Vec::new();
    let mut reader = flate2::read::GzDecoder::new(body.as_slice());
    std::io::Read::read_to_end(&mut reader, &mut plain).unwrap();
    let request = MetricsRequest::decode(plain.as_slice()).unwrap();
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    assert_eq!(metrics[0].name, "hms_open");
    exporter.finish(PATIENCE).await;
}

fn text(exporter: &Exporter) -> String {
    let mut registry = Registry::default();
    exporter.metrics().register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    text
}
