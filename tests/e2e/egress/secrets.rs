//! The value of a secret stands nowhere but in the request that it is for, and in what a guest
//! answers that may read it.

use super::*;
use hms_harness::services::Fault;
use http::Method;
use std::path::Path;

const REVEALED: &str = "revealed-2f7c41d09e";
const INJECTED: &str = "injected-8b16e3a5c4";

fn assert_none(what: &str, text: &str) {
    for value in [REVEALED, INJECTED] {
        assert!(!text.contains(value), "{value} is in {what}:\n{text}");
    }
}

fn assert_none_below(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            assert_none_below(&entry.path());
        } else if let Ok(bytes) = std::fs::read(entry.path()) {
            let text = String::from_utf8_lossy(&bytes);
            assert_none(&entry.path().display().to_string(), &text);
        }
    }
}

#[tokio::test]
async fn secret_that_a_guest_tells_or_the_host_injects_stands_in_nothing_for_operators() {
    let (service, grants) = (service().await, Grants::new());
    grants.secret("revealed", &format!("{REVEALED}\n"));
    grants.secret("injected", INJECTED);
    let inject = "    inject: {authorization: \"Bearer {injected}\"}\n";
    let secrets = "secrets:\n  revealed: {file: secrets/revealed}\n  \
                   injected: {file: secrets/injected}\nreveal: [revealed]\n";
    grants.write("w", &to(&service.url(), &format!("{inject}{secrets}")));
    let host = host(&[("w", "fetcher")], &grants, &[]).await;

    let told = host.get("/w/secret/revealed").await;
    assert_eq!(told.json()["value"], REVEALED);
    for path in ["leak/print", "leak/cause", "leak/panic", "raise"] {
        let answer = host.get(&format!("/w/{path}/revealed")).await;
        assert_eq!(
            answer.status.is_server_error(),
            path != "leak/print",
            "{path}"
        );
        assert_none(path, &answer.text());
    }
    // Its own answer, in its own words.
    let problem = host.get("/w/leak/problem/revealed").await;
    assert!(problem.text().contains(REVEALED), "{}", problem.text());

    let url = format!("{}/", service.url());
    assert_eq!(host.get(&format!("/w/get?url={url}")).await.status, 200);
    assert_eq!(
        service.seen()[0].header("authorization"),
        format!("Bearer {INJECTED}")
    );
    service.fail(Fault::Reset, usize::MAX);
    let failed = host.get(&format!("/w/fail?url={url}")).await;
    assert_none("the error of a call", &failed.text());
    assert_eq!(host.get("/w/secret/injected").await.status, 404);

    let log = cli(&host, "logs", &["w"]).await;
    for line in [
        "out: ***",
        "err: ***",
        "the key is ***",
        "internal error: ***",
    ] {
        assert!(log.contains(line), "{line} is not in\n{log}");
    }
    assert_none("hms logs", &log);
    for (verb, args) in [
        ("grants", &["--json"][..]),
        ("grants", &["w"]),
        ("grants", &["w", "--json"]),
        ("windows", &["--json"]),
        ("history", &["w", "--json"]),
        ("limits", &["w", "--json"]),
    ] {
        assert_none(verb, &cli(&host, verb, args).await);
    }
    for path in [
        "/metrics",
        "/windows",
        "/windows/w",
        "/windows/w/grants",
        "/windows/w/log",
        "/grants",
        "/routes",
    ] {
        let answer = host.admin(Method::GET, path, "").await;
        assert_eq!(answer.status, 200, "{path}");
        assert_none(path, &answer.text());
    }
    assert_none("the host's log", &host.whole_log().await);
    assert_none_below(&host.data());
}

#[tokio::test]
async fn secret_with_quotes_or_of_several_lines_is_masked_in_what_a_guest_writes() {
    let parts = ["9d3e71c0aa", "4b8a02f6bb", "line-one-77c1", "line-two-08f4"];
    let grants = Grants::new();
    grants.secret("quoted", "9d3e71c0aa\"\\\t4b8a02f6bb");
    grants.secret("lines", "line-one-77c1\nline-two-08f4\n");
    grants.write(
        "w",
        "secrets:\n  quoted: {file: secrets/quoted}\n  lines: {file: secrets/lines}\n\
         reveal: [quoted, lines]\n",
    );
    let host = host(&[("w", "fetcher")], &grants, &[]).await;
    for path in [
        "leak/print/quoted",
        "leak/cause/quoted",
        "leak/panic/quoted",
        "leak/print/lines",
        "leak/cause/lines",
        "leak/panic/lines",
        "raise/lines",
        "raise/quoted",
    ] {
        let answer = host.get(&format!("/w/{path}")).await;
        assert_ne!(answer.status, 404, "{path}");
    }
    let mut leaks = Vec::new();
    for (what, text) in [
        ("hms logs", cli(&host, "logs", &["w"]).await),
        ("hms windows", cli(&host, "windows", &["--json"]).await),
        (
            "log",
            host.admin(Method::GET, "/windows/w/log", "").await.text(),
        ),
        ("the host's log", host.whole_log().await),
    ] {
        let found = text
            .lines()
            .filter(|line| parts.iter().any(|part| line.contains(part)));
        leaks.extend(found.map(|line| format!("{what}: {line}")));
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
}
