//! The other plugins of a route, its manifest, changes of what is stored, and the memory.

use super::{CACHE, FRESH, cached, host, route, said, service};
use hms_harness::http::send;
use hms_harness::services::Fault;
use hms_harness::{eventually, guest};
use http::Method;
use std::time::Duration;

#[tokio::test]
async fn change_of_an_address_ends_its_stored_answers_unless_it_failed() {
    let (_service, host) = cached().await;
    let fresh = |path: &str| format!("/s{path}?fields=cache-control:max-age=600");
    let (item, page, other) = (fresh("/item"), fresh("/item") + "&page=2", fresh("/other"));
    let paths = [&item, &page, &other];
    let said_of_all = async || {
        let mut all = Vec::new();
        for path in paths {
            all.push(said(&host.get(path).await).to_owned());
        }
        all
    };
    said_of_all().await;
    assert_eq!(said_of_all().await, ["hit"; 3]);
    let failed = host.call(Method::PUT, "/s/item?status=409", &[], "x").await;
    assert_eq!((failed.status.as_u16(), said(&failed)), (409, "fwd=method"));
    let options = host.call(Method::OPTIONS, "/s/item", &[], "").await;
    assert_eq!(said(&options), "fwd=method");
    assert_eq!(said_of_all().await, ["hit"; 3]);
    host.call(Method::POST, "/s/item", &[], "x").await;
    let stored = "fwd=miss; stored";
    assert_eq!(said_of_all().await, [stored, stored, "hit"]);
    assert_eq!(said_of_all().await, ["hit"; 3]);

    // Through another route as well, which leads to the same place.
    let text = std::fs::read_to_string(host.routes().join("s.yaml")).unwrap();
    host.write_route("put.yaml", &format!("{text}methods: [DELETE]\n"));
    eventually("the route is live", || async {
        let answer = host.call(Method::DELETE, "/s/item", &[], "").await;
        let log = host.whole_log().await;
        let line = log
            .lines()
            .find(|line| line.contains(answer.header("x-request-id")));
        line.is_some_and(|line| line.contains("route=\"put\""))
            .then_some(())
    })
    .await;
    assert_eq!(said_of_all().await, [stored, stored, "hit"]);
}

#[tokio::test]
async fn answer_that_was_under_way_during_a_change_is_not_used() {
    let (service, host) = cached().await;
    service.fail(Fault::Slow(Duration::from_secs(2)), 1);
    let slow = host.get(FRESH);
    let change = async {
        eventually("the service has the request", || async {
            (service.seen().len() == 1).then_some(())
        })
        .await;
        host.call(Method::POST, "/s/a", &[], "x").await
    };
    let (slow, changed) = tokio::join!(slow, change);
    assert_eq!(
        (said(&slow), said(&changed)),
        ("fwd=miss; stored", "fwd=method")
    );
    assert_eq!(said(&host.get(FRESH).await), "fwd=miss; stored");
    assert_eq!(said(&host.get(FRESH).await), "hit");
}

#[tokio::test]
async fn answer_from_the_cache_passes_every_policy_of_its_route() {
    let service = service().await;
    let plugins = "  - rate-limit: {limit: 3, window: 3600}\n  - cors: {origins: [\"https://a.example\"]}\n  - cache\n";
    let host = host(&service, plugins, &[]).await;
    let mut answers = Vec::new();
    for _ in 0..4 {
        let origin = [("origin", "https://a.example")];
        answers.push(host.call(Method::GET, FRESH, &origin, "").await);
    }
    assert_eq!(
        answers.iter().map(said).collect::<Vec<_>>(),
        ["fwd=miss; stored", "hit", "hit", ""]
    );
    assert_eq!(answers[3].problem(), "rate-limited");
    let hit = &answers[1];
    assert!(hit.header("ratelimit").contains("r=1"), "{hit:?}");
    assert_eq!(
        hit.header("access-control-allow-origin"),
        "https://a.example"
    );
    assert_eq!(service.seen().len(), 1);
}

#[tokio::test]
async fn middleware_sees_each_request_that_the_cache_answers() {
    let service = service().await;
    let host = host(&service, "  - wasm: {window: meddler}\n  - cache\n", &[]).await;
    host.deploy("meddler", &guest("meddler").await).await;
    let ask = async |mark: &str| {
        let how = format!("mark {mark}");
        host.call(Method::GET, FRESH, &[("x-meddle", &how)], "")
            .await
    };
    for (mark, expected) in [("a", "fwd=miss; stored"), ("b", "hit"), ("c", "hit")] {
        let answer = ask(mark).await;
        assert_eq!(
            (said(&answer), answer.header("x-marks")),
            (expected, &*format!("-{mark}"))
        );
    }
    assert_eq!(service.seen().len(), 1);
}

#[tokio::test]
async fn edited_manifest_starts_with_an_empty_cache() {
    let (service, host) = cached().await;
    host.get(FRESH).await;
    // One that is written again as it is, and a new one of another route, change nothing.
    host.write_route("s.yaml", &route(&service, CACHE));
    host.write_route("t.yaml", "uri: /t\nupstream: http://hms-svc-t\n");
    eventually("the new route is live", || async {
        (host.get("/t").await.status == 503).then_some(())
    })
    .await;
    assert_eq!(said(&host.get(FRESH).await), "hit");
    host.write_route("s.yaml", &route(&service, "  - cache: {max-body: 2MiB}\n"));
    eventually("the edit is live", || async {
        (said(&host.get(FRESH).await) == "fwd=miss; stored").then_some(())
    })
    .await;
    host.write_route("s.yaml", &route(&service, "  - body-limit: {max: 1KiB}\n"));
    eventually("the cache is gone", || async {
        said(&host.get(FRESH).await).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn flood_of_queries_stays_within_the_memory_and_leaves_what_is_asked_for_often() {
    let service = service().await;
    let host = host(&service, CACHE, &["--cache-memory", "1MiB"]).await;
    for _ in 0..5 {
        host.get(FRESH).await;
    }
    let url = |number: usize| format!("{}{FRESH}&size=8000&number={number}", host.gateway());
    for round in 0..30 {
        let asks = (0..10).map(|number| url(round * 10 + number));
        let asks = asks.map(async |url| send(Method::GET, &url, &[], Vec::new()).await);
        futures_util::future::join_all(asks).await;
        assert_eq!(said(&host.get(FRESH).await), "hit", "round {round}");
        let bytes = host.metric("hms_gateway_cache_bytes").await.unwrap();
        assert!(bytes <= 1 << 20, "{bytes}");
    }
    assert!(
        host.metric("hms_gateway_cache_evicted_total")
            .await
            .unwrap()
            > 100
    );
    assert!(host.metric("hms_gateway_cache_entries").await.unwrap() < 120);
}

#[tokio::test]
async fn cache_that_is_switched_off_stores_nothing_and_says_nothing() {
    let service = service().await;
    let host = host(&service, CACHE, &["--cache-memory", "0"]).await;
    for number in 1..3 {
        let answer = host
            .get(&format!("{FRESH}|hms-cache-control:max-age=600"))
            .await;
        assert_eq!(answer.json()["asked"], number);
        assert_eq!(answer.header("cache-status"), "");
        assert_eq!(answer.header("hms-cache-control"), "");
    }
}
