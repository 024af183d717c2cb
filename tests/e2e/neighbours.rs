//! A window cannot hurt its neighbours: each has limits of its own, set live. What its neighbours
//! see meanwhile is in tests/measured.

use hms_api::{ShownLimits, WindowState};
use hms_harness::{Host, eventually, guest};
use http::Method;

async fn host(args: &[&str]) -> Host {
    let (prober, hello) = (guest("prober").await, guest("hello-wasip3").await);
    Host::with_open_windows_and(&[("prober", &prober), ("victim", &hello)], args).await
}

#[tokio::test]
async fn limits_are_set_live_shown_and_kept_across_a_restart() {
    let mut host = host(&[]).await;
    assert_eq!(host.get("/prober/alloc?mib=40").await.status, 200);
    host.limit("prober", &["--memory", "32MiB", "--queue", "7"])
        .await;
    assert_eq!(
        host.get("/prober/alloc?mib=40").await.problem(),
        "memory-limit"
    );
    assert_eq!(host.get("/victim").await.status, 200);
    host.kill();
    host.boot().await;
    assert_eq!(
        host.get("/prober/alloc?mib=40").await.problem(),
        "memory-limit"
    );
    let limits = host
        .admin(Method::GET, "/windows/prober/limits", "")
        .await
        .read::<ShownLimits>()
        .values;
    let set = [("memory_bytes".into(), 32 << 20), ("queue".into(), 7)];
    assert_eq!(limits.set, set.into());
    assert_eq!(host.window("prober").await.limits, limits.limits);
    host.limit("prober", &["--memory", "default"]).await;
    assert_eq!(host.get("/prober/alloc?mib=40").await.status, 200);
}

#[tokio::test]
async fn invalid_limit_is_rejected_with_what_is_valid() {
    let host = host(&[]).await;
    for (change, says) in [
        (
            r#"{"memory_bytes": 5}"#,
            "memory_bytes: 5 is not from 1048576",
        ),
        (r#"{"memroy_bytes": 5}"#, "memroy_bytes"),
        (r#"{"memory_bytes": 4294967296}"#, "--instance-memory"),
        ("[]", "JSON object"),
    ] {
        let refused = host
            .admin(Method::PATCH, "/windows/prober/limits", change)
            .await;
        assert_eq!(refused.status, 400, "{change}");
        assert!(refused.text().contains(says), "{}", refused.text());
    }
    let unknown = host.admin(Method::GET, "/windows/nobody/limits", "").await;
    assert_eq!(unknown.problem(), "no-window");
}

#[tokio::test]
async fn each_limit_has_one_typed_answer_a_log_line_and_a_count() {
    let host = host(&[]).await;
    let set: &[&str] = &[
        "--request-body",
        "1KiB",
        "--request-header",
        "2KiB",
        "--response-body",
        "1MiB",
        "--cpu-time",
        "200ms",
        "--wall-time",
        // The spinning one must have its processor time before this is over, on any machine.
        "10s",
    ];
    host.limit("prober", set).await;
    let long = "x".repeat(3000);
    for (method, path, header, body, status, code) in [
        (
            Method::POST,
            "/prober/echo",
            "",
            2000,
            413,
            "body-too-large",
        ),
        (
            Method::GET,
            "/prober/headers",
            &*long,
            0,
            431,
            "headers-too-large",
        ),
        (Method::GET, "/prober/spin", "", 0, 504, "cpu-time"),
        (
            Method::GET,
            "/prober/sleep?ms=600000",
            "",
            0,
            504,
            "wall-time",
        ),
    ] {
        let answer = host
            .call(method, path, &[("x-long", header)], vec![b'x'; body])
            .await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.problem()),
            (status, code),
            "{path}"
        );
    }
    // Its length was told, or its head is out: either way the client cannot take it for a whole
    // answer.
    let big = host.get("/prober/big?mib=2").await;
    assert!(big.status == 502 || big.cut.is_some(), "{}", big.status);
    let counts = host.window("prober").await.failures;
    let log = host
        .admin(Method::GET, "/windows/prober/log", "")
        .await
        .text();
    let metrics = host.admin(Method::GET, "/metrics", "").await.text();
    for code in [
        "body-too-large",
        "headers-too-large",
        "cpu-time",
        "wall-time",
        "response-too-large",
    ] {
        assert_eq!(counts.get(code), Some(&1), "{code}: {counts:?}");
        assert!(log.contains(&format!("{code}: ")), "{code}: {log}");
        let sample = format!("hms_window_failures_total{{window=\"prober\",reason=\"{code}\"}} 1");
        assert!(metrics.contains(&sample), "{sample}");
    }
    assert!(host.window("victim").await.failures.is_empty());
}

#[tokio::test]
async fn window_with_failing_instances_closes_for_a_time_and_reopens() {
    let host = host(&[]).await;
    host.limit("prober", &["--failures", "3"]).await;
    for _ in 0..3 {
        assert_eq!(host.get("/prober/trap").await.problem(), "instance-trapped");
    }
    let refused = host.get("/prober/status?code=204").await;
    assert_eq!(
        (refused.status.as_u16(), &*refused.problem()),
        (503, "window-tripped")
    );
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(host.get("/victim").await.status, 200);
    // Nobody asks it: what is shown is true all the same.
    let shown = eventually("its pause is over", || async {
        let shown = host.window("prober").await;
        (shown.state != WindowState::Tripped).then_some(shown)
    })
    .await;
    assert_eq!(shown.state, WindowState::HalfOpen);
    assert_eq!((shown.tripped, shown.half_open), (None, Some(3)));
    let table = host.cli("windows", &[]).await.stdout;
    let table = String::from_utf8(table).unwrap();
    assert!(table.contains("half-open"), "{table}");
    let metrics = host
        .admin_request(Method::GET, "/metrics", &[], Vec::new())
        .await
        .text();
    for (name, value) in [("open", 0), ("tripped", 0), ("half_open", 1)] {
        let line = format!("hms_window_{name}{{window=\"prober\"}} {value}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    let log = host
        .admin(Method::GET, "/windows/prober/log", "")
        .await
        .text();
    assert!(
        log.contains("closed for 1 s: 3 requests in a row failed"),
        "{log}"
    );
    eventually("it is tried, and open again", || async {
        let answer = host.get("/prober/status?code=204").await;
        (answer.status == 204).then_some(())
    })
    .await;
    assert_eq!(host.window("prober").await.state, WindowState::Open);
}

#[tokio::test]
async fn failing_release_falls_back_where_that_is_enabled() {
    let (hello, prober) = (guest("hello-wasip3").await, guest("prober").await);
    let mut host = Host::with_open_windows(&[("w", &hello)]).await;
    let path = "/windows/w?yes=true&fallback=true";
    assert_eq!(
        host.admin(Method::PUT, path, prober.as_slice())
            .await
            .status,
        200
    );
    for _ in 0..10 {
        assert_eq!(host.get("/w/trap").await.problem(), "instance-trapped");
    }
    eventually("the release before answers", || async {
        host.get("/w").await.text().contains("wasip3").then_some(())
    })
    .await;
    let history = host.cli("history", &["w"]).await;
    let history = String::from_utf8_lossy(&history.stdout).into_owned();
    assert!(
        history.contains("fell back to 1: 10 requests in a row failed"),
        "{history}"
    );
    // It is in effect before the disk has it.
    eventually("the fallback is on disk", || async {
        let unsaved = host.window("w").await.unsaved;
        unsaved.is_none().then_some(())
    })
    .await;
    host.kill();
    host.boot().await;
    assert!(host.get("/w").await.text().contains("wasip3"));
}
