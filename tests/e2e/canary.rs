//! A canary gets its share, is sticky, and ends by itself when it is clearly worse.

use hms_harness::host::open_route;
use hms_harness::http::raw;
use hms_harness::{Host, Options, eventually, guest};
use http::Method;
use std::collections::HashSet;

const ROUTE: &str = "uri: /w/**\nupstream: http://hms-svc-w\nstrip-prefix: /w\nplugins: [auth]\n";

async fn office() -> Host {
    let host = Host::start_with(Options {
        routes: vec![("w.yaml", ROUTE.into())],
        ..Default::default()
    })
    .await;
    host.deploy("w", &guest("hello-wstd").await).await;
    host
}

/// Which of `users` get the candidate.
async fn on_candidate(host: &Host, users: &[(String, String)]) -> HashSet<String> {
    let mut found = HashSet::new();
    for (user, bearer) in users {
        let answer = host
            .call(Method::GET, "/w", &[("authorization", bearer)], "")
            .await;
        assert_eq!(answer.status, 200);
        if answer.text().contains("wasip3") {
            found.insert(user.clone());
        }
    }
    found
}

fn users(host: &Host, count: usize) -> Vec<(String, String)> {
    let user = |i| {
        let name = format!("user{i}");
        let bearer = format!("Bearer {}", host.token(&name, &[]));
        (name, bearer)
    };
    (0..count).map(user).collect()
}

#[tokio::test]
async fn canary_is_sticky_per_user_and_can_be_widened_and_promoted() {
    let mut host = office().await;
    let users = users(&host, 60);
    let candidate = hms_harness::guests::path("hello-wasip3").await;
    let deployed = host
        .cli(
            "deploy",
            &[candidate.to_str().unwrap(), "--as", "w", "--canary", "30%"],
        )
        .await;
    assert!(
        deployed.status.success(),
        "{}",
        String::from_utf8_lossy(&deployed.stderr)
    );

    let first = on_candidate(&host, &users).await;
    assert!(
        (5..=35).contains(&first.len()),
        "{} of 60 users at 30%",
        first.len()
    );
    assert_eq!(on_candidate(&host, &users).await, first);
    let window = host.window("w").await;
    let canary = window.canary.unwrap();
    assert_eq!((window.live.unwrap().number, canary.number), (1, 2));
    assert_eq!(canary.candidate.requests, 2 * first.len() as u64);
    assert_eq!(canary.live.requests, 2 * (60 - first.len() as u64));

    assert!(host.cli("canary", &["w", "70%"]).await.status.success());
    let wider = on_candidate(&host, &users).await;
    assert!(
        wider.is_superset(&first) && wider.len() > first.len(),
        "{} then {}",
        first.len(),
        wider.len()
    );

    // It goes on over a restart, with the same users.
    host.kill();
    host.boot().await;
    assert_eq!(on_candidate(&host, &users).await, wider);

    // Said before anything is looked at or compiled.
    let nonsense = host.admin(Method::PUT, "/windows/w", "no component").await;
    assert_eq!(nonsense.problem(), "canary-running");
    assert_eq!(
        host.admin(Method::PUT, "/windows/w", guest("hello-wstd").await)
            .await
            .problem(),
        "canary-running"
    );
    assert!(host.cli("promote", &["w"]).await.status.success());
    assert_eq!(on_candidate(&host, &users).await.len(), 60);
    assert_eq!(host.window("w").await.live.unwrap().number, 2);
    assert!(host.cli("rollback", &["w"]).await.status.success());
    assert_eq!(on_candidate(&host, &users).await.len(), 0);
}

#[tokio::test]
async fn candidate_that_answers_500_is_aborted_with_a_reason() {
    let host = office().await;
    let users = users(&host, 40);
    let prober = guest("prober").await;
    let started = host
        .admin(Method::PUT, "/windows/w?canary=50%25&yes=true", prober)
        .await;
    assert_eq!(started.status, 200, "{}", started.text());
    let aborted = eventually("the canary is aborted", || async {
        for (_, bearer) in &users {
            let _ = host
                .call(Method::GET, "/w/trap", &[("authorization", bearer)], "")
                .await;
        }
        let shown = host.window_and_releases("w").await;
        shown.window.canary.is_none().then_some(shown)
    })
    .await;
    assert_eq!(aborted.window.live.unwrap().number, 1);
    let outcome = aborted.releases[1].outcome.as_deref().unwrap();
    assert!(outcome.contains("aborted: it failed at"), "{outcome}");
    assert_eq!(on_candidate(&host, &users).await.len(), 0);
    let history = host.cli("history", &["w"]).await;
    assert!(String::from_utf8_lossy(&history.stdout).contains("aborted: it failed at"));
}

/// Thousands of requests, each of another caller. Fewer answers are slow than one in a hundred, on
/// both sides.
#[tokio::test]
async fn canary_of_the_live_component_is_not_ended() {
    let host = Host::start_with(Options {
        args: vec!["--trusted-proxies".into(), "127.0.0.0/8".into()],
        routes: vec![("w.yaml", open_route("w"))],
        ..Default::default()
    })
    .await;
    let prober = guest("prober").await;
    host.deploy("w", &prober).await;
    let started = host
        .admin(Method::PUT, "/windows/w?canary=50%25&yes=true", prober)
        .await;
    assert_eq!(started.status, 200, "{}", started.text());
    let (connections, each) = (30, 200);
    let talk = |connection: usize| {
        let request = |i: usize| {
            let slow = i % 500 == 499;
            let path = if slow {
                "sleep?ms=150"
            } else {
                "status?code=200"
            };
            let last = i % each == each - 1;
            let end = if last { "connection: close\r\n" } else { "" };
            let (a, b) = (i / 250, i % 250);
            format!(
                "GET /w/{path} HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 203.0.{a}.{b}\r\n{end}\r\n"
            )
        };
        let all: String = (connection * each..(connection + 1) * each)
            .map(request)
            .collect();
        let gateway = host.gateway().to_owned();
        async move { raw(&gateway, all.as_bytes()).await }
    };
    let mut answered = 0;
    for first in (0..connections).step_by(6) {
        let talks = (first..first + 6).map(talk);
        let said = futures_util::future::join_all(talks).await;
        answered += said
            .iter()
            .map(|said| said.matches("HTTP/1.1 200").count())
            .sum::<usize>();
    }
    assert_eq!(answered, connections * each);
    let canary = host.window("w").await.canary.unwrap();
    assert_eq!((canary.number, canary.skipped), (2, 0));
    let (candidate, live) = (canary.candidate.requests, canary.live.requests);
    assert_eq!(candidate + live, answered as u64);
    assert!(candidate > 2500 && live > 2500, "{canary:?}");
}

#[tokio::test]
async fn canary_can_be_aborted_and_needs_a_live_release() {
    let host = office().await;
    let candidate = guest("hello-wasip3").await;
    let alone = host
        .admin(
            Method::PUT,
            "/windows/other?canary=10%25",
            candidate.clone(),
        )
        .await;
    assert_eq!(
        (alone.status.as_u16(), alone.problem().as_str()),
        (409, "nothing-live")
    );
    assert_eq!(
        host.admin(Method::POST, "/windows/w/abort", "")
            .await
            .problem(),
        "no-canary"
    );
    assert_eq!(
        host.admin(Method::PUT, "/windows/w?canary=100%25&yes=true", candidate)
            .await
            .status,
        200
    );
    let users = users(&host, 3);
    assert_eq!(on_candidate(&host, &users).await.len(), 3);
    assert!(host.cli("abort", &["w"]).await.status.success());
    assert_eq!(on_candidate(&host, &users).await.len(), 0);
    // What was aborted is not what a rollback goes to, unless it is asked for.
    assert_eq!(
        host.admin(Method::POST, "/windows/w/rollback", "")
            .await
            .problem(),
        "no-release"
    );
    assert_eq!(
        host.admin(Method::POST, "/windows/w/rollback?to=2", "")
            .await
            .status,
        200
    );
}
