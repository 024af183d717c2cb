//! Lines of the log are the host's own: what comes from outside forges none, and gives no terminal
//! orders.

use hms_harness::host::open_route;
use hms_harness::{Host, Options, eventually, guest};
use http::Method;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};

const FORGED: &str = "2026-01-01T00:00:00.000000Z  INFO access: forged";

fn harmless(what: &str, text: &str) {
    assert!(
        !text.contains('\x1b') && !text.contains('\u{202e}'),
        "{what}: {text:?}"
    );
    let forged = text
        .lines()
        .find(|line| line.starts_with("2026-01-01") || line.starts_with("forged"));
    assert_eq!(forged, None, "{what}");
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[tokio::test]
async fn hostile_file_names_forge_no_log_line_terminal_escape_or_metric() {
    let hello = guest("hello-wasip3").await;
    let windows = tempfile::tempdir().unwrap();
    let host = Host::start_with(Options {
        args: vec!["--windows".into(), windows.path().display().to_string()],
        routes: vec![("hello.yaml", open_route("hello"))],
        up: None,
    })
    .await;
    host.deploy("hello", &hello).await;
    let good = |path: &str| format!("uri: /{path}/**\nupstream: http://hms-svc-hello\n");
    for (file, text) in [
        (format!("a\n{FORGED}.yaml"), "uri: nonsense\n".to_owned()),
        (
            "b\x1b[31mred\u{202e}.yaml".to_owned(),
            "uri: \"a\\e[31m\\n2026-01-01\"\n".to_owned(),
        ),
        ("q\"uo\\te.yaml".to_owned(), good("quoted")),
        (format!("l\n{FORGED} \x1b[31m.yaml"), good("live")),
        // An error that quotes what it read.
        (
            "key.yaml".to_owned(),
            format!("\"x\\n{FORGED}\\e[31m\\u202e\": 1\n"),
        ),
    ] {
        host.write_route(&file, &text);
    }
    for file in ["c\nforged.wasm", "d\x1b[31m.wasm"] {
        std::fs::write(windows.path().join(file), "x").unwrap();
    }
    for path in ["/quoted/x", "/live/x"] {
        eventually("the routes are live", || async {
            (host.get(path).await.status != 404).then_some(())
        })
        .await;
    }
    let log = eventually("all is said", || async {
        let log = host.whole_log().await;
        let all = [
            "c\\nforged",
            "d\\u{1b}",
            "b\\u{1b}",
            "key.yaml",
            "route=\"l\\n2026",
        ];
        all.iter().all(|part| log.contains(part)).then_some(log)
    })
    .await;
    harmless("the log", &log);
    harmless("hms routes", &said(&host.cli("routes", &[]).await));
    harmless(
        "hms routes --json",
        &said(&host.cli("routes", &["--json"]).await),
    );
    let mut check = Command::new(hms_harness::hms());
    check.arg("check").arg(host.routes());
    harmless("hms check", &said(&check.output().unwrap()));
    let missing = Command::new(hms_harness::hms())
        .args(["check", &format!("no\n{FORGED}\x1b[31m")])
        .output()
        .unwrap();
    harmless("hms check of what is not there", &said(&missing));

    let metrics = host
        .admin_request(Method::GET, "/metrics", &[], Vec::new())
        .await
        .text();
    harmless("/metrics", &metrics);
    let quoted = r#"hms_gateway_requests_total{route="q\"uo\\te",status="2xx"}"#;
    assert!(metrics.contains(quoted), "{metrics}");
    for line in metrics.lines() {
        assert!(
            ["hms_", "process_", "# "]
                .iter()
                .any(|begin| line.starts_with(begin)),
            "{line:?}"
        );
    }
}

fn json_lines(what: &str, text: &str) -> Vec<Value> {
    let read = |line: &str| {
        serde_json::from_str::<Value>(line)
            .unwrap_or_else(|error| panic!("{what}: {error}: {line}"))
    };
    text.lines().map(read).collect()
}

#[tokio::test]
async fn json_log_contains_only_json_and_has_the_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let (routes, data) = (folder.path().join("routes"), folder.path().join("data"));
    std::fs::create_dir(&routes).unwrap();
    std::fs::write(routes.join("a\u{202e}\x7f\n.yaml"), "uri: nonsense\n").unwrap();
    let serve = |data: &std::path::Path| {
        let mut serve = Command::new(hms_harness::hms());
        serve.args([
            "serve",
            "--log-format",
            "json",
            "--gateway",
            "localhost:0",
            "--admin",
            "127.0.0.1:0",
        ]);
        serve.arg("--routes").arg(&routes).arg("--data").arg(data);
        serve
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        serve
    };
    let mut host = serve(&data).spawn().unwrap();
    let mut out = BufReader::new(host.stdout.take().unwrap());
    let mut open = String::new();
    out.read_line(&mut open).unwrap();
    let open = json_lines("stdout", &open).remove(0);
    assert!(
        open["message"].as_str().unwrap().ends_with("is open"),
        "{open}"
    );
    let port = open["gateway"]
        .as_str()
        .unwrap()
        .strip_prefix("http://127.0.0.1:")
        .unwrap();
    std::net::TcpStream::connect(("127.0.0.1", port.parse().unwrap())).unwrap();
    assert!(
        open["admin"]
            .as_str()
            .unwrap()
            .starts_with("http://127.0.0.1:"),
        "{open}"
    );

    // What the end of a start says is part of the log too.
    let second = serve(&data).output().unwrap();
    let lines = json_lines("the second host", &said(&second));
    let last = lines.last().unwrap();
    assert_eq!(last["level"], "ERROR");
    assert!(
        last["message"]
            .as_str()
            .unwrap()
            .contains("in use by another hms"),
        "{last}"
    );

    let ended = Command::new("kill")
        .arg(host.id().to_string())
        .status()
        .unwrap();
    assert!(ended.success() && host.wait().unwrap().success());
    let (mut rest, mut log) = (String::new(), String::new());
    out.read_to_string(&mut rest).unwrap();
    host.stderr
        .take()
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    json_lines("stdout", &rest);
    assert!(!log.contains(['\u{202e}', '\x7f']), "{log:?}");
    let lines = json_lines("stderr", &log);
    let names = lines.iter().filter_map(|line| line["file"].as_str());
    assert!(
        names.collect::<Vec<_>>().contains(&"a\u{202e}\x7f\n.yaml"),
        "{log}"
    );
}
