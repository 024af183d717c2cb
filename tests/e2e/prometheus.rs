//! A real Prometheus that scrapes a real host by the shipped rules, as docs/observability.md says.

use crate::collector::Collector;
use crate::telemetry::host;
use hms_harness::http::try_request;
use hms_harness::{Host, eventually, root};
use http::Method;
use serde_json::Value;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const SKIPPED: &str = "SKIPPED: apt-get install prometheus";

/// A Prometheus of this test. Ends with it.
struct Prometheus {
    child: Child,
    url: String,
    _folder: TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// Starts one that scrapes `host`; none where it is not installed.
    fn start(host: &Host) -> Option<Prometheus> {
        let folder = tempfile::tempdir().unwrap();
        let target = host.admin_url().trim_start_matches("http://");
        let rules = root().join("ops/prometheus/hms.rules.yaml");
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             scrape_configs:\n  - job_name: hms\n    static_configs: [{{targets: ['{target}']}}]\n\
             rule_files: ['{}']\n",
            rules.display()
        );
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let unused = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = unused.local_addr().unwrap();
        drop(unused);
        let started = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .arg("--enable-feature=exemplar-storage")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match started {
            Ok(child) => Some(Prometheus {
                child,
                url: format!("http://{address}/api/v1"),
                _folder: folder,
            }),
            Err(_) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("{SKIPPED}"),
            Err(_) => {
                println!("{SKIPPED}");
                None
            }
        }
    }

    /// What its API says; none while it does not answer.
    async fn ask(&self, path: &str) -> Option<Value> {
        let url = format!("{}/{path}", self.url);
        let answer = try_request(Method::GET, &url, &[], Vec::new()).await.ok()?;
        (answer.status == 200).then(|| answer.json()["data"].clone())
    }
}

#[tokio::test]
async fn prometheus_loads_the_rules_and_an_exemplar_opens_its_trace() {
    let (at, _collector) = Collector::start().await;
    let endpoint = format!("http://{at}");
    let envs = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint.as_str())];
    let host = host(&["hello-wasip3"], &envs, &[]).await;
    let Some(prometheus) = Prometheus::start(&host) else {
        return;
    };
    eventually("the host is scraped", || async {
        let targets = prometheus.ask("targets").await?;
        let target = &targets["activeTargets"][0];
        (target["health"] == "up").then_some(())
    })
    .await;
    let groups = eventually("all rules were evaluated", || async {
        let rules = prometheus.ask("rules").await?;
        let groups = rules["groups"].as_array()?.clone();
        let rules = || groups.iter().flat_map(|group| group["rules"].as_array());
        let all = rules().flatten().all(|rule| rule["health"] != "unknown");
        (all && rules().count() > 0).then_some(groups)
    })
    .await;
    for rule in groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap())
    {
        assert_eq!(rule["health"], "ok", "{rule}");
    }

    for name in [
        "hms_window_request_duration_seconds_bucket",
        "hms_gateway_request_duration_seconds_bucket",
    ] {
        let exemplar = eventually("an exemplar is there", || async {
            assert_eq!(host.get("/hello-wasip3").await.status, 200);
            let path = format!("query_exemplars?query={name}&start=0&end=9999999999");
            let found = prometheus.ask(&path).await?;
            let exemplars = found[0]["exemplars"].as_array()?;
            let exemplar = exemplars.last()?["labels"]["trace_id"].as_str()?;
            Some(exemplar.to_owned())
        })
        .await;
        let shown = host.cli("requests", &[&exemplar]).await;
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.contains(&format!("trace    {exemplar}")), "{shown}");
        assert!(shown.contains("instance-start"), "{shown}");
    }
}
