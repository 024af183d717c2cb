//! What the host says of its work: the last requests, traces at a collector, metrics with
//! exemplars, and the files of `ops/` that name those metrics.

use crate::collector::Collector;
use crate::languages::{c, javascript, python};
use hms_api::{RequestList, RequestTrace};
use hms_harness::{Host, eventually, guest, root};
use hms_telemetry::otlp::proto::{KeyValue, Kind, Severity};
use http::Method;
use std::process::Command;
use std::time::Duration;
use tokio::net::TcpListener;

const CLIENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const PROMTOOL: &str = "SKIPPED: apt-get install prometheus, for promtool";

/// A host with these windows, started again with `envs`.
pub async fn host(windows: &[&str], envs: &[(&str, &str)], args: &[&str]) -> Host {
    let mut guests = Vec::new();
    for name in windows {
        guests.push((*name, guest(name).await));
    }
    let windows: Vec<(&str, &[u8])> = guests.iter().map(|(n, g)| (*n, g.as_slice())).collect();
    host_of(&windows, envs, args).await
}

/// The same of these components.
async fn host_of(windows: &[(&str, &[u8])], envs: &[(&str, &str)], args: &[&str]) -> Host {
    let mut host = Host::with_open_windows_and(windows, args).await;
    host.terminate().await;
    host.boot_with(envs).await;
    host
}

/// A host with this window, and a collector that gets its traces and its log.
pub async fn exporting(window: &str, envs: &[(&str, &str)], args: &[&str]) -> (Host, Collector) {
    exporting_of(window, &guest(window).await, envs, args).await
}

/// The same of this component.
async fn exporting_of(
    window: &str,
    wasm: &[u8],
    envs: &[(&str, &str)],
    args: &[&str],
) -> (Host, Collector) {
    let (at, collector) = Collector::start().await;
    let endpoint = format!("http://{at}");
    let to_collector = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_METRICS_EXPORTER", "none"),
    ];
    let envs = [&to_collector[..], envs].concat();
    let host = host_of(&[(window, wasm)], &envs, args).await;
    (host, collector)
}

pub async fn request(host: &Host, id: &str) -> RequestTrace {
    let path = format!("/requests/{id}");
    eventually("the request is kept", || async {
        let answer = host.admin(Method::GET, &path, "").await;
        (answer.status == 200).then(|| answer.read::<RequestTrace>())
    })
    .await
}

/// The same once its instance is gone too, and all is known of it.
pub async fn ended(host: &Host, id: &str) -> RequestTrace {
    eventually("its instance is gone", || async {
        let found = request(host, id).await;
        (!found.spans.iter().any(|span| span.open)).then_some(found)
    })
    .await
}

#[tokio::test]
async fn request_is_found_by_its_id_with_the_parts_of_its_work() {
    let host = host(&["prober"], &[], &[]).await;
    let id = [("x-request-id", "find-me")];
    let put = host.call(Method::PUT, "/prober/kv/b/k", &id, b"v".to_vec());
    assert!(put.await.status.is_success());
    let found = ended(&host, "find-me").await;
    let names: Vec<&str> = found.spans.iter().map(|span| &*span.name).collect();
    let wanted = [
        "plugins",
        "queue",
        "instance-start",
        "guest",
        "store-commit",
    ];
    assert_eq!(names, wanted, "{found:?}");
    assert_eq!(
        (found.window.as_deref(), found.release),
        (Some("prober"), Some(1))
    );
    assert!(!found.failed && !found.sampled);
    let guest = &found.spans[3];
    assert_eq!(guest.parent_id, found.span_id);
    assert_eq!(found.spans[4].parent_id, guest.span_id);
    assert!(guest.cpu_ms.is_some() && found.spans[4].cpu_ms.is_none());
    assert!(guest.memory_peak_bytes > Some(64 << 10), "{guest:?}");
    for span in &found.spans {
        let end = span.start_ms + span.duration_ms;
        // The instance may work on for a moment once the last byte is out.
        let is_within = end <= found.duration_ms + 0.01 || &*span.name == "guest";
        assert!(is_within, "{span:?} of {found:?}");
    }
    let shown = host.cli("requests", &["find-me"]).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("store-commit") && shown.contains("prober 1"),
        "{shown}"
    );

    assert!(
        shown.contains("CPU ") && shown.contains("memory "),
        "{shown}"
    );
    // The trace leads to it too.
    let by_trace = host.cli("requests", &[&found.trace_id]).await;
    let by_trace = String::from_utf8_lossy(&by_trace.stdout).into_owned();
    assert_eq!(by_trace, shown);
    let of_trace = format!("/requests?trace={}", found.trace_id);
    let of_trace = host.admin(Method::GET, &of_trace, "").await;
    assert_eq!(of_trace.read::<RequestList>().requests.len(), 1);

    let trap = [("x-request-id", "broken")];
    let broken = host
        .call(Method::GET, "/prober/trap", &trap, Vec::new())
        .await;
    assert!(broken.status.is_server_error(), "{broken:?}");
    assert!(request(&host, "broken").await.failed);
    let path = "/requests?failed=true&window=prober";
    let failed = host
        .admin(Method::GET, path, "")
        .await
        .read::<RequestList>();
    let ids: Vec<&str> = failed.requests.iter().map(|it| &*it.request_id).collect();
    assert_eq!(ids, ["broken"]);
}

#[tokio::test]
async fn collector_sees_a_request_as_one_tree_and_a_forged_traceparent_as_a_link() {
    let soon = [("OTEL_BSP_SCHEDULE_DELAY", "50")];
    let (mut host, collector) = exporting("prober", &soon, &[]).await;
    let ask = [
        ("x-request-id", "seen"),
        ("traceparent", CLIENT),
        ("tracestate", "v=1"),
    ];
    let put = host.call(Method::PUT, "/prober/kv/b/k", &ask, b"v".to_vec());
    assert!(put.await.status.is_success());
    let spans = collector
        .trace(&KeyValue::text("hms.request_id", "seen"))
        .await;
    let named = |name: &str| {
        let found = spans.iter().find(|span| span.name == name);
        found.unwrap_or_else(|| panic!("no {name} in {spans:?}"))
    };
    let (whole, guest, commit) = (named("PUT prober"), named("guest"), named("store-commit"));
    assert_eq!(whole.kind(), Kind::Server);
    assert!(whole.parent_span_id.is_empty());
    assert_eq!(guest.parent_span_id, whole.span_id);
    assert_eq!(commit.parent_span_id, guest.span_id);
    let forged = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128;
    assert_eq!(whole.links[0].trace_id, forged.to_be_bytes());
    assert_ne!(whole.trace_id, forged.to_be_bytes());

    // An exemplar opens that trace.
    let metrics = host.admin(Method::GET, "/metrics", "").await.text();
    let trace: String = whole
        .trace_id
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let exemplar = format!("# {{trace_id=\"{trace}\"}}");
    for name in [
        "hms_gateway_request_duration_seconds",
        "hms_window_request_duration_seconds",
    ] {
        let mut lines = metrics.lines().filter(|line| line.starts_with(name));
        assert!(
            lines.any(|line| line.contains(&exemplar)),
            "{name} in {metrics}"
        );
    }

    // A deploy is a trace with a span for each step.
    host.deploy("prober", &hms_harness::guest("hello-wasip3").await)
        .await;
    let path = KeyValue::text("hms.window", "prober");
    let deploy = eventually("the deploy is there", || async {
        let spans = collector.spans();
        let of = spans
            .iter()
            .find(|span| span.name == "deploy prober")?
            .clone();
        assert!(of.attributes.contains(&path));
        let all = spans
            .into_iter()
            .filter(|span| span.parent_span_id == of.span_id);
        Some(all.map(|span| span.name).collect::<Vec<_>>())
    })
    .await;
    assert_eq!(deploy[..5], ["check", "compile", "trial", "record", "swap"]);
    host.terminate().await;
}

#[tokio::test]
async fn collector_sees_the_log_and_which_request_each_line_of_a_window_is_about() {
    let envs = [
        ("OTEL_TRACES_SAMPLER", "always_off"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "50"),
    ];
    let (mut host, collector) = exporting("prober", &envs, &[]).await;
    let id = [("x-request-id", "broken")];
    let broken = host.call(Method::GET, "/prober/trap", &id, Vec::new());
    assert!(broken.await.status.is_server_error());
    let kept = request(&host, "broken").await;
    let guest = kept.spans.iter().find(|span| &*span.name == "guest");
    let guest = &guest.unwrap().span_id;
    let id_of = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
    // Whatever the sampler says: failed requests are exported, and all are kept.
    let window = KeyValue::text("hms.window", "prober");
    collector
        .line("a line of the window about its guest", |line| {
            line.attributes.contains(&window)
                && id_of(&line.trace_id) == kept.trace_id
                && id_of(&line.span_id) == *guest
        })
        .await;
    let request_id = KeyValue::text("hms.request_id", "broken");
    let access = collector
        .line("the line of the access log", |line| {
            line.attributes.contains(&request_id)
                && line.attributes.contains(&KeyValue::text("method", "GET"))
        })
        .await;
    assert_eq!(id_of(&access.trace_id), kept.trace_id);
    assert_eq!(id_of(&access.span_id), kept.span_id);
    assert_eq!(access.severity_number(), Severity::Info);
    let exported = r#"hms_otlp_exported_total{signal="logs"}"#;
    eventually("lines are counted", || async {
        (host.metric(exported).await? > 1).then_some(())
    })
    .await;
    host.terminate().await;
}

#[tokio::test]
async fn guest_names_parts_of_its_work_and_what_it_asks_for_is_below_them() {
    parts_of_work(&guest("emitter").await).await;
}

#[tokio::test]
async fn window_in_javascript_names_parts_of_its_work_as_one_in_rust_does() {
    if let Some(component) = javascript("work").await {
        parts_of_work(&component).await;
    }
}

#[tokio::test]
async fn window_in_python_names_parts_of_its_work_as_one_in_rust_does() {
    if let Some(component) = python("work").await {
        parts_of_work(&component).await;
    }
}

#[tokio::test]
async fn window_in_c_names_parts_of_its_work_as_one_in_rust_does() {
    if let Some(component) = c("work").await {
        parts_of_work(&component).await;
    }
}

/// At `POST /work` the window has a span of its own with a transaction in it, and one that fails.
async fn parts_of_work(component: &[u8]) {
    let soon = [("OTEL_BSP_SCHEDULE_DELAY", "50")];
    let (mut host, collector) = exporting_of("worker", component, &soon, &[]).await;
    let id = [("x-request-id", "worked")];
    let work = host.call(Method::POST, "/worker/work", &id, Vec::new());
    assert_eq!(work.await.status, 200);
    let found = ended(&host, "worked").await;
    let named = |name: &str| {
        let mut spans = found.spans.iter();
        let it = spans.find(|it| it.detail.as_deref().unwrap_or(&*it.name) == name);
        it.unwrap_or_else(|| panic!("no {name} in {found:?}"))
    };
    let (guest, whole) = (named("guest"), named("the whole work"));
    assert_eq!((&*whole.name, &whole.parent_id), ("span", &guest.span_id));
    assert_eq!(named("store-commit").parent_id, whole.span_id);
    let failed = named("what fails");
    assert!(failed.failed && !whole.failed && failed.parent_id == whole.span_id);
    let request_id = KeyValue::text("hms.request_id", "worked");
    let exported = collector.trace(&request_id).await;
    let names: Vec<&str> = exported.iter().map(|span| span.name.as_str()).collect();
    assert!(names.contains(&"the whole work"), "{names:?}");
    host.terminate().await;
}

#[tokio::test]
async fn trace_of_a_trusted_proxy_goes_on_and_reaches_the_window() {
    let host = host(&["prober"], &[], &["--trusted-proxies", "127.0.0.1"]).await;
    let ask = [
        ("x-request-id", "proxied"),
        ("traceparent", CLIENT),
        ("tracestate", "v=1"),
    ];
    let seen = host
        .call(Method::GET, "/prober/headers", &ask, Vec::new())
        .await;
    let text = seen.text();
    assert!(text.contains("4bf92f3577b34da6a3ce929d0e0e4736"), "{text}");
    assert!(text.contains("tracestate"), "{text}");
    let found = request(&host, "proxied").await;
    assert_eq!(found.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert!(found.sampled);
}

#[tokio::test]
async fn dead_collector_changes_no_answer_and_what_is_lost_is_counted() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", unused.local_addr().unwrap());
    drop(unused);
    let envs = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "16"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "10"),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "16"),
    ];
    let mut host = host(&["hello-wasip3"], &envs, &[]).await;
    for _ in 0..60 {
        assert_eq!(host.get("/hello-wasip3").await.status, 200);
    }
    let full = r#"hms_otlp_dropped_total{signal="traces",reason="queue-full"}"#;
    eventually("drops are counted", || async {
        (host.metric(full).await? > 0).then_some(())
    })
    .await;
    let lines = r#"hms_otlp_dropped_total{signal="logs",reason="queue-full"}"#;
    eventually("dropped lines are counted", || async {
        (host.metric(lines).await? > 0).then_some(())
    })
    .await;
    let begun = std::time::Instant::now();
    assert!(host.terminate().await.success());
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn unusable_setting_of_the_exporter_is_said_at_the_start() {
    let host = Host::start().await;
    let mut command = host.hms("serve");
    command.args(["--gateway", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.arg("--routes").arg(host.routes());
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318");
    let output = command.output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("OTEL_EXPORTER_OTLP_ENDPOINT is not an http or https URL"),
        "{said}"
    );
}

/// Metrics that are there once something has happened; a test holds the page that lists them to the
/// code.
const SELDOM: [&str; 3] = [
    "hms_outgoing_calls",
    "hms_otlp_dropped",
    "hms_gateway_rate_limited",
];

/// The names of metrics in a text of PromQL.
fn metric_names(text: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c));
    let names = words.filter(|word| word.starts_with("hms_") || word.starts_with("process_"));
    let base = |name: &str| {
        let ends = ["_bucket", "_sum", "_count"];
        let end = ends.iter().find_map(|end| name.strip_suffix(end));
        end.unwrap_or(name).to_owned()
    };
    names.map(base).collect()
}

#[tokio::test]
async fn every_metric_that_the_shipped_files_name_is_there() {
    let (at, _collector) = Collector::start().await;
    let endpoint = format!("http://{at}");
    let envs = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
    let watched = tempfile::tempdir().unwrap();
    let folder = watched.path().to_str().unwrap();
    let host = host(&["hello-wasip3"], &envs, &["--windows", folder]).await;
    assert_eq!(host.get("/hello-wasip3").await.status, 200);
    assert_eq!(host.get("/nowhere").await.status, 404);
    host.deploy("hello-wasip3", &guest("prober").await).await;
    assert_eq!(host.get("/hello-wasip3/trap").await.status, 500);
    let page = std::fs::read_to_string(root().join("docs/observability.md")).unwrap();
    let metrics = host.admin(Method::GET, "/metrics", "").await.text();
    let there: Vec<&str> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    for file in ["ops/prometheus/hms.rules.yaml", "ops/grafana/hms.json"] {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        let names = metric_names(&text);
        assert!(names.len() > 20, "{file}: {names:?}");
        for name in names {
            let family = name.strip_suffix("_total").unwrap_or(&name);
            let seldom = SELDOM.contains(&family) && page.contains(&name);
            assert!(
                seldom || there.contains(&family),
                "{file}: {name} of {there:?}"
            );
        }
    }
}

#[test]
fn promtool_accepts_the_shipped_rules_and_they_fire() {
    for (verb, file) in [("check", "hms.rules.yaml"), ("test", "hms.rules.test.yaml")] {
        let folder = root().join("ops/prometheus");
        let mut promtool = Command::new("promtool");
        let checked = promtool
            .args([verb, "rules", file])
            .current_dir(folder)
            .output();
        match checked {
            Ok(output) => assert!(output.status.success(), "{output:?}"),
            Err(_) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("{PROMTOOL}"),
            Err(_) => println!("{PROMTOOL}"),
        }
    }
}

#[test]
fn names_of_metrics_are_found_in_a_query() {
    let query = "sum by (le) (rate(hms_a_seconds_bucket[5m])) / hms_b_total{window=\"hms\"}";
    assert_eq!(metric_names(query), ["hms_a_seconds", "hms_b_total"]);
}
