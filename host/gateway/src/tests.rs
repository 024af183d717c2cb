//! The gateway over real sockets, with windows that a test plays itself.

use super::*;
use crate::request::body::Pace;
use bytes::Bytes;
use fixture::*;
use http::{Method, StatusCode};
use http_body_util::Full;
use hyper_util::rt::TokioExecutor;
use routes::RouteMatch;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

mod access_log;
mod answers;
mod bodies;
mod cached;
mod connections;
mod farewell;
mod fixture;
mod floods;
mod frames;
mod front;
mod http2;
mod http2_services;
mod keys;
mod lanes;
mod paths;
mod plugin_cases;
mod requests;
mod services;
mod slow;
mod untaken;
mod upstreams;
mod websockets;

#[tokio::test]
async fn window_sees_an_identity_from_the_token_alone() {
    let fixture = Fixture::open().await;
    let spoofed = "x-hms-user: mallory\r\nX-HMS-USER: mallory\r\nX_HMS_User: mallory\r\nx.hms.user: mallory\r\n\
                   x-hms-scopes: admin\r\nconnection: x-hms-user\r\nx-forwarded-for: 1.2.3.4\r\n";
    let token = fixture.bearer(&["payments.read"]);
    let answer = fixture
        .get("/api/v1/payments/5?page=2", &format!("{token}{spoofed}"))
        .await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(
        answer.contains("GET http://here/payments/5?page=2 payments\n"),
        "{answer}"
    );
    assert!(
        answer.contains("x-hms-user: alice\nx-hms-scopes: payments.read\n"),
        "{answer}"
    );
    assert!(
        answer.contains("x-forwarded-for: 127.0.0.1\n")
            && answer.contains("x-forwarded-prefix: /api/v1\n")
    );
    assert!(answer.contains("traceparent: 00-") && answer.contains("\nx-request-id: "));
    assert!(
        !answer.contains("mallory") && !answer.contains("admin") && !answer.contains("Bearer"),
        "{answer}"
    );
    assert!(
        !answer.contains("forged"),
        "a window says nobody's identity"
    );
    assert!(
        answer.contains("ratelimit-policy: \"default\";q=30;w=60\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("ratelimit: \"default\";r=29;t=60\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn refusals_are_problems_with_their_headers() {
    let fixture = Fixture::open().await;
    let none = fixture.get("/api/v1/payments", "").await;
    assert_eq!(status(&none), 401);
    assert!(
        none.contains("www-authenticate: Bearer realm=\"hms\"\r\n")
            && none.contains("application/problem+json")
    );
    let read_only = fixture.bearer(&["payments.read"]);
    let request = format!(
        "POST /api/v1/payments HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n{read_only}\r\n"
    );
    let forbidden = fixture.raw(&request).await;
    assert_eq!(status(&forbidden), 403);
    assert!(
        forbidden.contains("scope=\"payments.write\""),
        "{forbidden}"
    );
    let lost = fixture.get("/nowhere", "x-request-id: my-1\r\n").await;
    assert_eq!(status(&lost), 404);
    assert!(
        lost.contains("x-request-id: my-1\r\n") && lost.contains("\"request-id\":\"my-1\""),
        "{lost}"
    );
    let closed = fixture.get("/open/closed", "").await;
    assert!(
        status(&closed) == 503 && closed.contains("retry-after: "),
        "{closed}"
    );
    assert_eq!(status(&fixture.get("/open/panic", "").await), 500);
    assert_eq!(
        status(&fixture.get("/open/echo", "").await),
        200,
        "the gateway lives"
    );
}

#[tokio::test]
async fn route_limit_counts_per_user_and_survives_an_edit() {
    let fixture = Fixture::open().await;
    let token = fixture.bearer(&["payments.read"]);
    for left in (0..30).rev() {
        let answer = fixture.get("/api/v1/payments", &token).await;
        assert!(
            status(&answer) == 200 && answer.contains(&format!("r={left};")),
            "{answer}"
        );
    }
    let refused = fixture.get("/api/v1/payments", &token).await;
    assert_eq!(status(&refused), 429);
    assert!(
        refused.contains("retry-after: ") && refused.contains("r=0;"),
        "{refused}"
    );
    let edited = PAYMENTS.replace("limit: 30", "limit: 31");
    std::fs::write(fixture.data.path().join("payments.yaml"), edited).unwrap();
    fixture.gateway.routes.reload();
    let one_more = fixture.get("/api/v1/payments", &token).await;
    assert!(
        status(&one_more) == 200 && one_more.contains("q=31"),
        "{one_more}"
    );
    assert_eq!(status(&fixture.get("/api/v1/payments", &token).await), 429);
}

#[tokio::test]
async fn route_file_is_live_within_a_second_under_a_running_gateway() {
    let fixture = Fixture::open().await;
    assert_eq!(status(&fixture.get("/new", "").await), 404);
    std::fs::write(
        fixture.data.path().join("new.yaml"),
        "uri: /new\nupstream: http://hms-svc-new\n",
    )
    .unwrap();
    let changed = Instant::now();
    while status(&fixture.get("/new", "").await) != 200 {
        assert!(changed.elapsed() < Duration::from_secs(1));
    }
}

#[tokio::test]
async fn requests_are_counted_when_their_last_byte_is_out() {
    let fixture = Fixture::open().await;
    fixture.get("/open/echo", "").await;
    fixture.get("/nowhere", "").await;
    let text = fixture.metrics();
    assert!(
        text.contains("gateway_requests_total{route=\"open\",status=\"2xx\"} 1"),
        "{text}"
    );
    assert!(
        text.contains("gateway_refusals_total{code=\"no-route\",fault=\"client\"} 1"),
        "{text}"
    );
}
