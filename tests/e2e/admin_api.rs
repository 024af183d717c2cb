//! The admin API: who may, and why a component is refused.

use hms_harness::{Host, guest, window};
use http::Method;
use std::io::{Read, Write};

#[tokio::test]
async fn request_without_the_token_shows_and_changes_nothing() {
    let host = Host::start().await;
    let hello = guest("hello-wasip3").await;
    for (method, path) in [
        (Method::GET, "/windows"),
        (Method::GET, "/routes"),
        (Method::PUT, "/windows/x"),
        (Method::POST, "/windows/x/stop"),
        (Method::DELETE, "/windows/x"),
    ] {
        for header in ["", "Bearer wrong", "Basic dXNlcjpwYXNz"] {
            let answer = host
                .admin_request(
                    method.clone(),
                    path,
                    &[("authorization", header)],
                    hello.clone(),
                )
                .await;
            assert_eq!(
                (answer.status.as_u16(), answer.problem().as_str()),
                (401, "unauthorized"),
                "{method} {path}"
            );
        }
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(
            host.admin_request(Method::GET, path, &[], vec![])
                .await
                .status,
            200,
            "{path}"
        );
    }
    assert_eq!(host.get("/windows").await.problem(), "no-route");
}

#[tokio::test]
async fn invalid_component_is_rejected_by_name_and_the_old_release_serves_on() {
    let hello = guest("hello-wasip3").await;
    let host = Host::with_open_windows(&[("hello", &hello)]).await;
    let core = b"\0asm\x01\0\0\0".to_vec();
    let truncated = hello[..hello.len() / 2].to_vec();
    let draft = wat::parse_str(
        r#"(component (import "wasi:http/types@0.3.0-rc-2026-01-06" (instance)) (instance $i)
            (export "wasi:http/handler@0.3.0" (instance $i)))"#,
    );
    let draft = draft.unwrap();
    for (bytes, code, part) in [
        (b"hello".to_vec(), "not-a-component", "magic"),
        (Vec::new(), "not-a-component", "empty"),
        (
            b"\x7fELF\x02\x01\x01".to_vec(),
            "not-a-component",
            "native code",
        ),
        (core, "core-module", "wasm32-wasip2"),
        (truncated, "truncated", "ends"),
        (
            guest("no-handler").await,
            "missing-export",
            "wasi:http/handler",
        ),
        (
            guest("unknown-import").await,
            "unknown-import",
            "acme:secret/vault",
        ),
        (
            draft,
            "draft-interface",
            "wasi:http/types@0.3.0-rc-2026-01-06",
        ),
    ] {
        let refused = host.admin(Method::PUT, "/windows/hello", bytes).await;
        let detail = refused.json()["detail"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert_eq!(
            (refused.status.as_u16(), refused.problem().as_str()),
            (422, code),
            "{detail}"
        );
        assert!(detail.contains(part), "{code}: {detail}");
        assert_eq!(host.get("/hello").await.status, 200, "after {code}");
    }
    let shown = host.window_and_releases("hello").await;
    assert_eq!(shown.releases.len(), 1);
    assert_eq!(
        host.admin(Method::PUT, "/windows/Bad_Name", hello)
            .await
            .problem(),
        "bad-name"
    );
}

#[tokio::test]
async fn component_that_cannot_start_an_instance_is_never_live() {
    let host = Host::start_with(hms_harness::Options {
        args: vec!["--instance-memory".into(), "1MiB".into()],
        ..Default::default()
    })
    .await;
    let refused = host
        .admin(Method::PUT, "/windows/payments", window("payments").await)
        .await;
    assert_eq!(
        (refused.status.as_u16(), refused.problem().as_str()),
        (422, "does-not-start"),
        "{}",
        refused.text()
    );
    assert!(
        refused.text().contains("memory limit of 1048576 bytes"),
        "{}",
        refused.text()
    );
    assert_eq!(
        host.admin(Method::GET, "/windows", "").await.json()["windows"],
        serde_json::json!([])
    );
}

#[tokio::test]
async fn oversized_component_is_rejected_however_it_is_announced() {
    let host = Host::start_with(hms_harness::Options {
        args: vec!["--max-upload".into(), "64KiB".into()],
        ..Default::default()
    })
    .await;
    let refused = host
        .admin(Method::PUT, "/windows/x", vec![0; 70 << 10])
        .await;
    assert_eq!(
        (refused.status.as_u16(), refused.problem().as_str()),
        (413, "too-large")
    );
    assert_eq!(
        host.admin(Method::GET, "/windows", "").await.json()["windows"],
        serde_json::json!([])
    );
}

#[tokio::test]
async fn second_host_on_a_data_folder_is_told_who_holds_it() {
    let host = Host::start().await;
    let output = host
        .hms("serve")
        .args([
            "--gateway",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            "--routes",
        ])
        .arg(host.routes())
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(
        message.contains("in use") && message.contains(&host.pid().to_string()),
        "{message}"
    );
}

#[tokio::test]
async fn taken_port_is_reported_with_what_to_do() {
    let host = Host::start().await;
    let data = tempfile::tempdir().unwrap();
    let taken = host.gateway().trim_start_matches("http://").to_owned();
    let output = tokio::process::Command::new(hms_harness::hms())
        .args([
            "serve",
            "--gateway",
            &taken,
            "--admin",
            "127.0.0.1:0",
            "--data",
        ])
        .arg(data.path())
        .arg("--routes")
        .arg(host.routes())
        .output()
        .await
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(message.contains("--gateway"), "{message}");
}

#[tokio::test]
async fn client_command_reports_an_address_that_is_no_admin_api() {
    let host = Host::start().await;
    let at = |url: String| {
        let mut command = host.hms("windows");
        command.args(["--admin", &url]);
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = at(host.gateway().to_owned());
    assert!(
        said.contains("is the gateway of an hms host, not its admin API"),
        "{said}"
    );

    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", other.local_addr().unwrap());
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        let answer =
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let said = at(url);
    answering.join().unwrap();
    assert!(
        said.contains("is not the admin API of an hms host (it answered 200 OK)")
            && said.contains("token was sent"),
        "{said}"
    );
}
