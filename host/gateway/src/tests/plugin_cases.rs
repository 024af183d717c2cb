//! What each plugin does to a request and its answer, over real sockets.

use super::*;

impl Fixture {
    /// Adds a route to the window `open` under `/NAME`, live when this returns.
    fn route(&self, name: &str, plugins: &str) {
        let text = format!(
            "uri: /{name}/**\nupstream: http://hms-svc-open\nstrip-prefix: /{name}\n{plugins}"
        );
        std::fs::write(self.data.path().join(format!("{name}.yaml")), text).unwrap();
        self.gateway.routes.reload();
        let status = self.gateway.routes.get(name).unwrap().0;
        assert!(status.faults.is_empty(), "{:?}", status.faults);
    }

    async fn ask(&self, method: &str, path: &str, headers: &str) -> String {
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n{headers}\r\n"
        ))
        .await
    }
}

/// The value of a field of the answer, or nothing.
fn field<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

const CORS: &str = "methods: [GET, PUT]\nplugins:\n  - auth\n  - cors:\n      origins: [\"https://app.example.org\", \"https://*.town.org\"]\n      credentials: true\n      expose: [ratelimit]\n      max-age: 60\n";

#[tokio::test]
async fn preflight_is_answered_before_auth_with_what_the_page_may_do() {
    let fixture = Fixture::open().await;
    fixture.route("cors", CORS);
    // Each: origin, method asked for, status, whether it is allowed. Fetch, section 4.8
    // (CORS-preflight fetch).
    for (origin, wanted, expected, allowed) in [
        ("https://app.example.org", "PUT", 204, true),
        ("https://a.town.org", "GET", 204, true),
        ("https://evil.org", "PUT", 403, false),
        ("https://app.example.org.evil.org", "PUT", 403, false),
        ("http://app.example.org", "PUT", 403, false),
        ("null", "PUT", 403, false),
        // No route takes it, so there is nothing that could allow it; the page may read that.
        ("https://app.example.org", "DELETE", 405, true),
    ] {
        let headers = format!(
            "origin: {origin}\r\naccess-control-request-method: {wanted}\r\naccess-control-request-headers: x-a, authorization\r\n"
        );
        let answer = fixture.ask("OPTIONS", "/cors/x", &headers).await;
        assert_eq!(status(&answer), expected, "{origin} {wanted}: {answer}");
        let said = field(&answer, "access-control-allow-origin");
        assert_eq!(said, allowed.then_some(origin), "{answer}");
        if allowed && expected == 204 {
            let of = |name| field(&answer, name);
            assert_eq!(of("access-control-allow-methods"), Some("GET, PUT"));
            assert_eq!(
                of("access-control-allow-headers"),
                Some("x-a, authorization")
            );
            assert_eq!(of("access-control-allow-credentials"), Some("true"));
            assert_eq!(of("access-control-max-age"), Some("60"));
            assert_eq!(of("vary"), Some("Origin"));
        }
    }
    // Without the field that makes it a preflight it is a request like any other.
    let options = fixture
        .ask("OPTIONS", "/cors/x", "origin: https://app.example.org\r\n")
        .await;
    assert_eq!(status(&options), 405, "{options}");
}

#[tokio::test]
async fn cors_headers_are_sent_on_refusals_too() {
    let fixture = Fixture::open().await;
    fixture.route("cors", CORS);
    let origin = "origin: https://app.example.org\r\n";
    let refused = fixture.ask("GET", "/cors/x", origin).await;
    assert_eq!(status(&refused), 401);
    let allowed = Some("https://app.example.org");
    assert_eq!(field(&refused, "access-control-allow-origin"), allowed);
    let token = fixture.bearer(&[]);
    let served = fixture
        .ask("GET", "/cors/x", &format!("{token}{origin}"))
        .await;
    assert_eq!(status(&served), 200);
    assert_eq!(field(&served, "access-control-allow-origin"), allowed);
    assert_eq!(
        field(&served, "access-control-expose-headers"),
        Some("ratelimit")
    );
    let stranger = fixture
        .ask(
            "GET",
            "/cors/x",
            &format!("{token}origin: https://evil.org\r\n"),
        )
        .await;
    assert_eq!(
        status(&stranger),
        200,
        "CORS protects readers, it is no access control"
    );
    assert_eq!(field(&stranger, "access-control-allow-origin"), None);
    assert_eq!(field(&stranger, "vary"), Some("Origin"));
}

#[tokio::test]
async fn any_origin_is_sent_as_a_star_without_credentials() {
    let fixture = Fixture::open().await;
    fixture.route("any", "plugins:\n  - cors: {origins: [\"*\"]}\n");
    let answer = fixture.ask("GET", "/any/x", "origin: null\r\n").await;
    assert_eq!(field(&answer, "access-control-allow-origin"), Some("*"));
    assert_eq!(field(&answer, "access-control-allow-credentials"), None);
    assert_eq!(field(&answer, "vary"), None);
}

#[tokio::test]
async fn only_listed_addresses_are_admitted() {
    let fixture = Fixture::open().await;
    fixture.route(
        "here",
        "plugins:\n  - ip-allow: {addresses: [127.0.0.0/8]}\n",
    );
    fixture.route(
        "there",
        "plugins:\n  - ip-allow: {addresses: [192.0.2.0/24]}\n",
    );
    assert_eq!(status(&fixture.ask("GET", "/here/x", "").await), 200);
    let refused = fixture
        .ask("GET", "/there/x", "x-forwarded-for: 192.0.2.1\r\n")
        .await;
    assert_eq!(status(&refused), 403);
    assert!(
        refused.contains("urn:hms:problem:address-refused"),
        "{refused}"
    );
}

#[tokio::test]
async fn headers_are_set_and_removed_in_both_directions_and_on_refusals() {
    let fixture = Fixture::open().await;
    fixture.route(
        "edited",
        "plugins:\n  - rate-limit: {limit: 1}\n  - headers:\n      request: {remove: [cookie], set: {x-tenant: town-hall}}\n      response: {remove: [content-type], set: {x-frame-options: DENY}}\n",
    );
    let served = fixture
        .ask("GET", "/edited/x", "cookie: a=1\r\nx-tenant: forged\r\n")
        .await;
    assert!(
        served.contains("x-tenant: town-hall\n") && !served.contains("forged"),
        "{served}"
    );
    assert!(!served.contains("cookie: a=1"), "{served}");
    assert_eq!(field(&served, "x-frame-options"), Some("DENY"));
    let limited = fixture.ask("GET", "/edited/x", "").await;
    assert_eq!(status(&limited), 429);
    assert_eq!(field(&limited, "x-frame-options"), Some("DENY"));
    assert_eq!(field(&limited, "content-type"), None);
}

#[tokio::test]
async fn route_body_limit_applies_to_declared_and_received_length() {
    let fixture = Fixture::open().await;
    fixture.route("small", "plugins:\n  - body-limit: {max: 5}\n");
    let post = |headers: &str, body: &str| format!("{headers}\r\n\r\n{body}");
    for (request, expected) in [
        (post("content-length: 5", "12345"), 200),
        (post("content-length: 6", "123456"), 413),
        (
            post(
                "transfer-encoding: chunked",
                "3\r\n123\r\n3\r\n456\r\n0\r\n\r\n",
            ),
            413,
        ),
    ] {
        let head = "POST /small/in HTTP/1.1\r\nhost: here\r\nconnection: close\r\n";
        let answer = fixture.raw(&format!("{head}{request}")).await;
        assert_eq!(status(&answer), expected, "{request}: {answer}");
    }
}

#[tokio::test]
async fn upstream_slower_than_the_route_timeout_is_504() {
    let fixture = Fixture::open().await;
    let service = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let manifest = format!(
        "uri: /slow\nupstream: http://{}\nplugins:\n  - timeout: {{response: 50ms}}\n",
        service.local_addr().unwrap()
    );
    std::fs::write(fixture.data.path().join("slow.yaml"), manifest).unwrap();
    fixture.gateway.routes.reload();
    for request in [
        "GET /slow HTTP/1.1\r\n\r\n",
        "POST /slow HTTP/1.1\r\ncontent-length: 5\r\n\r\nwhole",
    ] {
        let head = "HTTP/1.1\r\nhost: here\r\nconnection: close\r\n";
        let answer = fixture.raw(request.replace("HTTP/1.1\r\n", head)).await;
        assert_eq!(status(&answer), 504, "{answer}");
        assert!(answer.contains("within 0.05 s"), "{answer}");
    }
}

#[tokio::test]
async fn unmatched_method_is_405_with_the_allowed_ones() {
    let fixture = Fixture::open().await;
    fixture.route("two", "methods: [GET, POST]\n");
    let answer = fixture.ask("DELETE", "/two/x", "").await;
    assert_eq!(status(&answer), 405);
    assert_eq!(field(&answer, "allow"), Some("GET, POST"));
    assert_eq!(status(&fixture.ask("HEAD", "/two/x", "").await), 200);
    assert_eq!(status(&fixture.ask("GET", "/three/x", "").await), 404);
}

#[tokio::test]
async fn route_with_a_host_gets_only_requests_for_it() {
    let fixture = Fixture::open().await;
    fixture.route("at", "hosts: [api.example.org]\n");
    let at =
        |host: &str| format!("GET /at/x HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    assert_eq!(status(&fixture.raw(&at("API.example.org:9000")).await), 200);
    assert_eq!(status(&fixture.raw(&at("example.org")).await), 404);
}

#[tokio::test]
async fn address_inventing_tenants_uses_up_no_other_limit() {
    let fixture = Fixture::configured(|config| {
        config.limits.max_rate_keys = 320;
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    fixture.route(
        "tenants",
        "plugins:\n  - rate-limit: {limit: 3, window: 3600, key: \"header:x-tenant\"}\n",
    );
    fixture.route(
        "citizens",
        "plugins:\n  - rate-limit: {limit: 1, window: 3600, key: address}\n",
    );
    let mut admitted = 0;
    for tenant in 0..400 {
        let headers = format!("x-forwarded-for: 198.51.100.7\r\nx-tenant: t{tenant}\r\n");
        let answer = fixture.get("/tenants/echo", &headers).await;
        admitted += usize::from(status(&answer) == 200);
    }
    assert_eq!(admitted, 10 + 3, "its share, and all others together");
    for citizen in 1..=40 {
        let headers = format!("x-forwarded-for: 203.0.113.{citizen}\r\nx-tenant: c{citizen}\r\n");
        for route in ["citizens", "tenants"] {
            let answer = fixture.get(&format!("/{route}/echo"), &headers).await;
            assert_eq!(status(&answer), 200, "{route} {citizen}: {answer}");
        }
    }
    let text = fixture.metrics();
    let hits = "gateway_share_hits_total{of=\"rate-limit-counters\",whose=\"caller\"} 390";
    assert!(text.contains(hits), "{text}");
}
