//! What the plugin `cache` makes of answers of every framing, over real sockets.

use super::*;
use std::sync::atomic::Ordering::Relaxed;

const FRESH: &str = "fields=cache-control:max-age=600";

/// A gateway with the route `/c/**` to a window, with a cache.
async fn fixture() -> Fixture {
    let fixture = Fixture::open().await;
    let text = "uri: /c/**\nupstream: http://hms-svc-c\nstrip-prefix: /c\nplugins: [cache]\n";
    std::fs::write(fixture.data.path().join("c.yaml"), text).unwrap();
    let small = text.replace("/c", "/small");
    let small = small.replace("[cache]", "[cache: {max-body: 4B}]");
    std::fs::write(fixture.data.path().join("small.yaml"), small).unwrap();
    fixture.gateway.routes.reload();
    fixture
}

impl Fixture {
    /// What is said of the cache, and the body.
    async fn cached(&self, query: &str) -> (String, String) {
        self.cached_by("c", query).await
    }

    async fn cached_by(&self, route: &str, query: &str) -> (String, String) {
        let answer = self.get(&format!("/{route}/answer?{query}"), "").await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let said = lines.find_map(|line| line.strip_prefix("cache-status: hms; "));
        (said.unwrap_or_default().to_owned(), body.to_owned())
    }
}

#[tokio::test]
async fn body_of_every_framing_is_stored_whole_or_not_at_all() {
    let fixture = fixture().await;
    for (framing, expected) in [
        ("", "hit"),
        ("&length=5", "hit"),
        ("&streamed=1", "hit"),
        ("&streamed=1&length=5", "hit"),
        ("&trailers=1", "fwd=miss; stored"),
        ("&streamed=1&length=6", "fwd=miss; stored"),
        ("&streamed=1&length=4", "fwd=miss; stored"),
    ] {
        let query = format!("status=200&body=hello&{FRESH}{framing}");
        fixture.cached(&query).await;
        let (said, body) = fixture.cached(&query).await;
        assert_eq!(said, expected, "{framing}");
        if said == "hit" {
            assert_eq!(body, "hello", "{framing}");
        }
    }
    // An announced trailer says it before.
    let query = format!("status=200&body=hello&{FRESH}|trailer:x-checksum");
    assert_eq!(fixture.cached(&query).await.0, "fwd=miss");
}

#[tokio::test]
async fn body_of_unknown_length_is_stored_up_to_the_bound_of_its_route() {
    let fixture = fixture().await;
    for (body, first, expected) in [
        ("four", "fwd=miss; stored", "hit"),
        ("fives", "fwd=miss; stored", "fwd=miss; stored"),
    ] {
        let query = format!("status=200&body={body}&{FRESH}&streamed=1");
        assert_eq!(fixture.cached_by("small", &query).await.0, first);
        assert_eq!(fixture.cached_by("small", &query).await.0, expected);
    }
    // A length that is told says it before.
    let query = format!("status=200&body=fives&{FRESH}");
    assert_eq!(fixture.cached_by("small", &query).await.0, "fwd=miss");
}

#[tokio::test]
async fn answer_without_a_body_is_stored_with_its_head() {
    let fixture = fixture().await;
    for status in [204, 301, 404] {
        let query = format!("status={status}&body=&{FRESH}");
        fixture.cached(&query).await;
        assert_eq!(
            fixture.cached(&query).await,
            ("hit".into(), String::new()),
            "{status}"
        );
    }
}

#[tokio::test]
async fn http2_clients_fill_the_cache_and_are_answered_from_it() {
    let fixture = fixture().await;
    let ask = async || {
        let uri = format!(
            "http://{}/c/answer?status=200&body=hello&{FRESH}",
            fixture.addr
        );
        let request = Request::get(uri).body(Full::default()).unwrap();
        let answer = h2().request(request).await.unwrap();
        let said = answer.headers()["cache-status"]
            .to_str()
            .unwrap()
            .to_owned();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (said, body)
    };
    assert_eq!(
        ask().await,
        ("hms; fwd=miss; stored".into(), "hello".into())
    );
    assert_eq!(ask().await, ("hms; hit".into(), "hello".into()));
}

#[tokio::test]
async fn answer_is_used_for_its_edition_alone() {
    let fixture = fixture().await;
    let query = format!("status=200&body=hello&{FRESH}");
    let said = async |edition: u64| {
        fixture.edition.store(edition, Relaxed);
        fixture.cached(&query).await.0
    };
    for (edition, expected) in [
        (1, "fwd=miss; stored"),
        (1, "hit"),
        // None: a canary runs, or the window is closed.
        (0, "fwd=bypass"),
        (1, "hit"),
        (2, "fwd=miss; stored"),
        (2, "hit"),
        (1, "fwd=miss; stored"),
    ] {
        assert_eq!(said(edition).await, expected, "{edition}");
    }
}

#[tokio::test]
async fn field_for_the_gateway_alone_reaches_no_client_on_any_route() {
    let fixture = fixture().await;
    let fields = "fields=hms-cache-control:max-age=600|cdn-cache-control:max-age=5";
    for route in ["open", "c"] {
        let path = format!("/{route}/answer?status=200&body=x&{fields}");
        let answer = fixture.get(&path, "").await;
        assert!(!answer.contains("hms-cache-control"), "{answer}");
        assert!(
            answer.contains("cdn-cache-control: max-age=5\r\n"),
            "{answer}"
        );
    }
}
