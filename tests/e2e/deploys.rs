//! A deploy in steps: what is bad is never live, what needs more asks, and a crash leaves the old
//! release or the new one.

use hms_harness::guests::variant;
use hms_harness::hostile::{START, component};
use hms_harness::surgery::trapping_at_start;
use hms_harness::{Answer, Host, Options, guest, window};
use http::Method;

async fn put(host: &Host, path: &str, wasm: &[u8]) -> Answer {
    host.admin(Method::PUT, path, wasm).await
}

/// The number of the window's live release, by the record.
async fn live(host: &Host, window: &str) -> u64 {
    host.window(window).await.live.unwrap().number
}

#[tokio::test]
async fn kill_9_after_any_step_of_a_deploy_leaves_the_old_release_or_the_new_one() {
    let (older, newer) = (guest("hello-wstd").await, guest("hello-wasip3").await);
    let route = hms_harness::host::open_route("hello");
    let mut host = Host::start_with(Options {
        routes: vec![("hello.yaml", route)],
        ..Default::default()
    })
    .await;
    host.deploy("hello", &older).await;
    for (step, survives) in [
        ("check", false),
        ("compile", false),
        ("try", false),
        ("record", true),
        ("swap", true),
    ] {
        host.kill();
        host.boot_with(&[("HMS_CRASH_AFTER", step)]).await;
        let before = live(&host, "hello").await;
        // A component that is new each time, so that no step is skipped.
        let fresh = variant(&newer, step);
        let path = "/windows/hello?yes=true";
        assert!(
            host.admin_broken(Method::PUT, path, &fresh).await,
            "the host lived on after {step}"
        );
        host.kill();
        host.boot().await;
        let expected = if survives { "wasip3" } else { "wstd" };
        let answer = host.get("/hello").await.text();
        assert!(answer.contains(expected), "after {step}: {answer}");
        assert_eq!(
            live(&host, "hello").await,
            before + u64::from(survives),
            "after {step}"
        );
        if survives {
            assert_eq!(
                put(&host, "/windows/hello?yes=true", &variant(&older, step))
                    .await
                    .status,
                200
            );
        }
        let left = std::fs::read_dir(host.data().join("artifacts/incoming"))
            .unwrap()
            .count();
        assert_eq!(left, 0, "half an upload is left after {step}");
    }
}

#[tokio::test]
async fn truncated_or_bit_flipped_component_never_serves_broken() {
    let hello = guest("hello-wstd").await;
    let host = Host::with_open_windows(&[("hello", &hello)]).await;
    for part in 1..24 {
        let cut = &hello[..hello.len() * part / 24];
        let refused = put(&host, "/windows/hello?yes=true", cut).await;
        assert_eq!(refused.status, 422, "cut at {part}/24: {}", refused.text());
    }
    let mut live = 0;
    for part in 0..24 {
        let mut flipped = hello.clone();
        let at = 8 + (flipped.len() - 9) * part / 24;
        flipped[at] ^= 1 << (part % 8);
        // Most flips are refused. One in a data segment or a custom section is another valid
        // component, and is live.
        let answer = put(&host, "/windows/hello?yes=true", &flipped).await;
        live += usize::from(answer.status.is_success());
        assert!(
            matches!(answer.status.as_u16(), 200 | 422),
            "flipped at {at}: {}",
            answer.text()
        );
        assert!(host.get("/hello").await.status.as_u16() < 600);
    }
    assert!(live < 24, "no flip was noticed");
    host.deploy("hello", &hello).await;
    assert_eq!(host.get("/hello").await.status, 200);
}

#[tokio::test]
async fn component_that_traps_at_instance_start_is_never_live() {
    let hello = guest("hello-wasip3").await;
    let host = Host::with_open_windows(&[("hello", &hello)]).await;
    let refused = put(&host, "/windows/hello", &trapping_at_start(&hello)).await;
    assert_eq!(
        (refused.status.as_u16(), refused.problem().as_str()),
        (422, "does-not-start"),
        "{}",
        refused.text()
    );
    assert!(refused.text().contains("unreachable"), "{}", refused.text());
    assert_eq!(host.get("/hello").await.status, 200);
    assert_eq!(live(&host, "hello").await, 1);
}

#[tokio::test]
async fn release_needing_more_than_the_last_one_requires_consent() {
    let hello = guest("hello-wasip3").await;
    let payments = window("payments").await;
    let host = Host::with_open_windows(&[("w", &hello)]).await;
    let asked = put(&host, "/windows/w", &payments).await;
    assert_eq!(
        (asked.status.as_u16(), asked.problem().as_str()),
        (409, "needs-consent")
    );
    assert!(asked.text().contains("store"), "{}", asked.text());
    assert!(host.get("/w").await.text().contains("hello"));

    let file = hms_harness::guests::path("payments").await;
    let file = file.to_str().unwrap();
    let unasked = host.cli("deploy", &[file, "--as", "w"]).await;
    assert!(!unasked.status.success());
    assert!(String::from_utf8_lossy(&unasked.stderr).contains("--yes"));
    let agreed = host.cli("deploy", &[file, "--as", "w", "--yes"]).await;
    let said = String::from_utf8_lossy(&agreed.stdout).into_owned();
    assert!(
        agreed.status.success(),
        "{}",
        String::from_utf8_lossy(&agreed.stderr)
    );
    for part in [
        "check",
        "compile",
        "try",
        "record",
        "swap",
        "may now      use its store",
        "+wasi:keyvalue/store",
        "size",
        "release 2",
    ] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
    assert_eq!(said.matches("use its store").count(), 1, "{said}");
    let newest = &host.window_and_releases("w").await.releases[1];
    assert_eq!((newest.number, newest.digest.len()), (2, 64));
    assert!(newest.imports.concat().contains("wasi:keyvalue/store"));
    assert!(newest.exports.concat().contains("wasi:http/handler"));
}

#[tokio::test]
async fn failing_or_hanging_probe_keeps_the_release_from_clients() {
    let hello = guest("hello-wasip3").await;
    let prober = guest("prober").await;
    let host = Host::with_open_windows(&[("w", &hello)]).await;
    for (query, why) in [
        ("probe=/status?code=500", "500"),
        ("probe=/trap", "failed before it responded"),
        ("probe=/trap-mid?length=false", "broke off"),
        ("probe=/sleep?ms=60000&probe-time=300ms", "within 0.3 s"),
        ("probe=/no-response", "without a response"),
    ] {
        let query = query.replacen("probe=", "", 1);
        let (path, time) = query.split_once('&').unwrap_or((&query, "probe-time=5s"));
        let path = path.replace('?', "%3F").replace('=', "%3D");
        let refused = put(
            &host,
            &format!("/windows/w?yes=true&probe={path}&{time}"),
            &prober,
        )
        .await;
        assert_eq!(
            (refused.status.as_u16(), refused.problem().as_str()),
            (422, "probe-failed"),
            "{path}"
        );
        assert!(refused.text().contains(why), "{path}: {}", refused.text());
        assert!(host.get("/w").await.text().contains("hello"));
    }
    // Instantiates, and traps at its first request: what only a probe can find.
    let sleeper = put(
        &host,
        "/windows/w?yes=true&probe=/",
        &guest("trap-on-start").await,
    )
    .await;
    assert_eq!(sleeper.problem(), "probe-failed");
    let good = put(&host, "/windows/w?yes=true&probe=/status", &prober).await;
    assert_eq!(good.status, 200, "{}", good.text());
    assert_eq!(host.get("/w/status").await.status, 200);
}

#[tokio::test]
async fn deploys_of_different_windows_do_not_wait_for_each_other() {
    let (hello, prober) = (guest("hello-wasip3").await, guest("prober").await);
    let host = Host::with_open_windows(&[("slow", &hello), ("quick", &hello)]).await;
    let host = &host;
    let slow_path = "/windows/slow?yes=true&probe=/sleep%3Fms%3D12000&probe-time=40s";
    let slow = put(host, slow_path, &prober);
    let quick = async {
        let begun = std::time::Instant::now();
        for i in 0..3 {
            host.deploy("quick", &variant(&hello, &format!("q{i}")))
                .await;
        }
        begun.elapsed()
    };
    let begun = std::time::Instant::now();
    let (slow, quick) = tokio::join!(slow, quick);
    assert_eq!(slow.status, 200, "{}", slow.text());
    assert!(quick < begun.elapsed(), "{quick:?}");
    assert_eq!(live(host, "quick").await, 4);
}

#[tokio::test]
async fn release_that_never_starts_is_refused_and_the_previous_one_serves() {
    let hello = guest("hello-wasip3").await;
    let host = Host::with_open_windows_and(&[("w", &hello)], &["--instance-cpu-time", "1s"]).await;
    let refused = host
        .admin(Method::PUT, "/windows/w?yes=true", component(START))
        .await;
    assert!(!refused.status.is_success());
    assert!(refused.text().contains("CPU time"), "{}", refused.text());
    assert_eq!(host.get("/w").await.status, 200);
}

#[tokio::test]
async fn misspelt_option_deploys_nothing() {
    let hello = guest("hello-wasip3").await;
    let host = Host::with_open_windows(&[("w", &hello)]).await;
    for query in [
        "canray=10%25",
        "canary=0%25",
        "canary=lots",
        "probe=healthz",
        "yes=perhaps",
    ] {
        let refused = put(&host, &format!("/windows/w?{query}"), &hello).await;
        assert_eq!(
            (refused.status.as_u16(), refused.problem().as_str()),
            (400, "bad-request"),
            "{query}"
        );
    }
    assert_eq!(live(&host, "w").await, 1);
}

#[tokio::test]
async fn deploy_of_the_same_component_prints_no_empty_line() {
    let host = Host::with_open_windows(&[]).await;
    let file = hms_harness::guests::path("hello-wasip3").await;
    for _ in 0..2 {
        let said = host
            .cli("deploy", &[file.to_str().unwrap(), "--as", "w"])
            .await;
        assert!(said.status.success(), "{said:?}");
        let text = String::from_utf8(said.stdout).unwrap();
        assert!(text.lines().all(|line| !line.is_empty()), "{text:?}");
    }
}
