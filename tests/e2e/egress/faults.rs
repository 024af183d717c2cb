//! A service that fails is an error that the guest can tell apart, and nobody else's trouble.

use super::*;
use futures_util::future::join_all;
use hms_harness::services::{Authority, Fault};
use std::time::{Duration, Instant};

/// At most that long for an answer of a window that does not call.
const PROMPT: Duration = Duration::from_secs(5);

async fn kind(host: &Host, url: &str) -> String {
    let answer = host.get(&format!("/w/fail?url={url}")).await;
    if answer.status == 204 {
        return "none".into();
    }
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["kind"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn failing_service_is_a_typed_error_and_trips_no_window() {
    let (service, grants) = (service().await, Grants::new());
    let limits = "    timeout: 3s\nlimits: {failures: 2, outgoing-response: 1MiB}\n";
    grants.write("w", &to(&service.url(), limits));
    let windows = [("w", "fetcher"), ("n", "hello-wasip3")];
    let host = host(&windows, &grants, &[]).await;
    let url = format!("{}/", service.url());
    assert_eq!(kind(&host, &url).await, "none");
    for (fault, expected) in [
        (Fault::Status(503), "none"),
        (Fault::Slow(Duration::from_secs(30)), "Timeout"),
        (Fault::Endless, "Limit"),
        (Fault::Huge(20 << 20), "Limit"),
        (Fault::Cut, "Broken"),
        (Fault::Reset, "Broken"),
    ] {
        service.fail(fault, usize::MAX);
        let neighbour = async {
            for _ in 0..10 {
                let begun = Instant::now();
                assert_eq!(host.get("/n").await.status, 200);
                assert!(begun.elapsed() < PROMPT, "{fault:?}: {:?}", begun.elapsed());
            }
        };
        let calls = join_all((0..8).map(|_| kind(&host, &url)));
        let (kinds, ()) = tokio::join!(calls, neighbour);
        assert!(
            kinds.iter().all(|kind| kind == expected),
            "{fault:?}: {kinds:?}"
        );
        let window = host.window("w").await;
        assert_eq!(window.tripped, None, "{fault:?}");
        assert!(
            window.failures.is_empty(),
            "{fault:?}: {:?}",
            window.failures
        );
    }
    service.recover();
    hms_harness::eventually("the service is asked again", || async {
        (kind(&host, &url).await == "none").then_some(())
    })
    .await;
}

/// Without a time of the grant, a call has what is left of its request, and the guest some of that.
#[tokio::test]
async fn hanging_service_leaves_its_caller_time_to_answer_and_trips_no_window() {
    let (service, grants) = (service().await, Grants::new());
    let limits = "limits: {failures: 2, wall-time: 3s}\n";
    grants.write("w", &to(&service.url(), limits));
    let host = host(&[("w", "fetcher")], &grants, &[]).await;
    service.fail(Fault::Slow(Duration::from_secs(60)), usize::MAX);
    let url = format!("{}/", service.url());
    for kinds in join_all((0..4).map(|_| kind(&host, &url))).await {
        assert_eq!(kinds, "Timeout");
    }
    let window = host.window("w").await;
    assert_eq!(window.tripped, None);
    assert!(window.failures.is_empty(), "{:?}", window.failures);
}

/// The same where the route allows less time than the window.
#[tokio::test]
async fn hanging_service_leaves_its_caller_time_to_answer_within_the_timeout_of_the_route() {
    let (service, grants) = (service().await, Grants::new());
    grants.write("w", &to(&service.url(), "limits: {failures: 2}\n"));
    let route = |name: &str| {
        let open = hms_harness::host::open_route(name);
        format!("{open}plugins: [{{timeout: {{response: 3s}}}}]\n")
    };
    let host = host_by(&[("w", "fetcher")], &grants, &[], route).await;
    service.fail(Fault::Slow(Duration::from_secs(60)), usize::MAX);
    let url = format!("{}/", service.url());
    for kinds in join_all((0..4).map(|_| kind(&host, &url))).await {
        assert_eq!(kinds, "Timeout");
    }
    let window = host.window("w").await;
    assert!(window.failures.is_empty(), "{:?}", window.failures);
}

/// A head larger than the guest could make itself, in both generations.
#[tokio::test]
async fn answer_with_a_larger_head_than_the_window_may_have_is_an_error_of_the_call() {
    for component in CALLERS {
        let large = "x".repeat(3000);
        let service = Server::start(move |seen| {
            let reply = Reply::new(200, json!({}));
            match seen.path.as_str() {
                "/large" => reply.with_header("x-large", &large),
                _ => reply,
            }
        });
        let (service, grants) = (service.await, Grants::new());
        grants.write(
            "w",
            &to(&service.url(), "limits: {response-header: 2KiB}\n"),
        );
        let host = host(&[("w", component)], &grants, &[]).await;
        let url = format!("{}/large", service.url());
        fails_by(&host, &url, "HttpResponseHeaderSectionSize").await;
        let answer = ask(&host, "get", &format!("{}/", service.url())).await;
        assert_eq!(answer.status, 200, "{component}: {}", answer.text());
        let log = cli(&host, "logs", &["w"]).await;
        assert!(log.contains("--response-header allows 2048"), "{log}");
    }
}

/// What the guest answers is about the service.
#[tokio::test]
async fn window_that_passes_a_services_failure_on_stays_open() {
    let (service, grants) = (service().await, Grants::new());
    let limits = "    timeout: 500ms\nlimits: {failures: 2}\n";
    grants.write("w", &to(&service.url(), limits));
    let host = host(&[("w", "fetcher")], &grants, &[]).await;
    for fault in [Fault::Slow(Duration::from_secs(30)), Fault::Reset] {
        service.fail(fault, usize::MAX);
        for _ in 0..5 {
            let answer = host.get(&format!("/w/get?url={}/", service.url())).await;
            assert!(answer.status.is_server_error(), "{}", answer.text());
            assert_ne!(answer.problem(), "window-tripped", "{fault:?}");
        }
        assert_eq!(host.window("w").await.tripped, None, "{fault:?}");
    }
}

#[tokio::test]
async fn service_with_an_authority_of_its_own_is_asked_by_http2_if_that_is_granted() {
    let authority = Authority::new();
    let service = Server::start_with(Some(&authority), |_| Reply::new(200, json!({}))).await;
    for component in CALLERS {
        let grants = Grants::new();
        authority.write(grants.folder());
        grants.write("w", &to(&service.url(), "    ca: ca.pem\n"));
        let host = host(&[("w", component)], &grants, &[]).await;
        let url = format!("{}/", service.url());
        let answer = ask(&host, "get", &url).await;
        assert_eq!(answer.status, 200, "{component}: {}", answer.text());
        let seen = service.seen();
        assert_eq!(seen.last().unwrap().version, http::Version::HTTP_2);
        // A guest that takes trailers can ask for them.
        for (how, asked) in [("get", ""), ("claim", "trailers")] {
            if component == "caller" {
                ask(&host, how, &url).await;
                assert_eq!(service.seen().last().unwrap().header("te"), asked, "{how}");
            }
        }

        grants.write("w", &to(&service.url(), ""));
        fails_by(&host, &url, "Tls").await;
        let before = service.seen().len();
        let refused = ask(&host, "get", &url).await.text();
        assert!(refused.contains("Tls"), "{component}: {refused}");
        assert_eq!(service.seen().len(), before);
    }
}
