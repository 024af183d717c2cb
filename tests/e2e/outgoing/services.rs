//! Requests to services, which a test plays.

use super::*;
use hms_core::outgoing::{CallError, OnBehalf, RequestedTimeouts};
use http::Response;
use http_body::Frame;
use http_body_util::StreamBody;
use parking_lot::Mutex;

/// Keeps what it is sent, and does what the path says.
#[derive(Default)]
struct Played(Mutex<Vec<(OnBehalf, Request<()>)>>);

impl Outgoing for Played {
    fn send(
        &self,
        from: OnBehalf,
        request: Request<Body>,
        _: RequestedTimeouts,
    ) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        self.0.lock().push((from, Request::from_parts(head, ())));
        Box::pin(async move {
            match path.as_str() {
                "/denied" => Err(CallError::Denied),
                "/refused" => Err(CallError::ConnectionRefused),
                "/prohibited" => Err(CallError::AddressProhibited),
                "/trailers" => {
                    let claims = [
                        ("x-sum".parse().unwrap(), "1".parse().unwrap()),
                        ("x-hms-user".parse().unwrap(), "root".parse().unwrap()),
                    ];
                    let frames = [
                        Ok::<_, BodyError>(Frame::data(Bytes::from("whole"))),
                        Ok(Frame::trailers(HeaderMap::from_iter(claims))),
                    ];
                    let body = StreamBody::new(futures_util::stream::iter(frames));
                    Ok(Response::new(body.boxed_unsync()))
                }
                "/hangs" => std::future::pending().await,
                "/too-large" => {
                    let frames = [
                        Ok::<_, BodyError>(Frame::data(Bytes::from("half"))),
                        Err(CallError::ResponseBodySize.into()),
                    ];
                    let body = StreamBody::new(futures_util::stream::iter(frames));
                    Ok(Response::new(body.boxed_unsync()))
                }
                _ => {
                    let mut response = Response::new(body);
                    response
                        .headers_mut()
                        .insert("x-service", "yes".parse().unwrap());
                    Ok(response)
                }
            }
        })
    }
}

async fn fixture(caller: &str) -> (Fixture, Arc<Played>) {
    let played = Arc::new(Played::default());
    let fixture = Fixture::with(&[("a", caller)], 32, Some(played.clone())).await;
    (fixture, played)
}

const CALLERS: [&str; 2] = ["caller", "caller-wstd"];

#[tokio::test]
async fn service_is_asked_for_whom_the_request_is_and_sees_nothing_of_them() {
    for caller in CALLERS {
        let (fixture, played) = fixture(caller).await;
        fixture.grant("a", outbound());
        let path = "/copy?https://api.card.example/v1/charges?a=b";
        let answer = fixture.ask_as("alice", "a", path, body::full("x")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.headers["x-service"], "yes");
        let asked = played.0.lock();
        let (from, request) = &asked[0];
        assert_eq!((&*from.window, from.release), ("a", 1));
        assert_eq!(from.user.as_ref().unwrap(), "alice");
        assert_eq!(from.request_id.as_ref().unwrap(), "of-alice");
        let left = from.deadline.unwrap() - std::time::Instant::now();
        assert!(left <= Duration::from_secs(30), "{left:?}");
        assert_eq!(request.uri(), "https://api.card.example/v1/charges?a=b");
        let names: Vec<_> = request.headers().keys().map(|name| name.as_str()).collect();
        for gone in [
            "authorization",
            "cookie",
            "x-hms-user",
            "x-hms-scopes",
            "x-forwarded-for",
            "x-request-id",
            "host",
        ] {
            assert!(!names.contains(&gone), "{caller}: {names:?}");
        }
    }
}

#[tokio::test]
async fn refused_request_is_denied_and_the_log_says_which_grant_would_allow_it() {
    for caller in CALLERS {
        let (fixture, played) = fixture(caller).await;
        for (granted, path) in [(Grants::default(), "/x"), (outbound(), "/denied")] {
            fixture.grant("a", granted);
            let answer = fixture
                .ask("a", &format!("/get?https://api.card.example{path}"))
                .await;
            assert!(
                answer.text().contains("HttpRequestDenied"),
                "{}",
                answer.text()
            );
        }
        assert_eq!(fixture.failures("a")["no-network"], 2);
        assert_eq!(played.0.lock().len(), 1, "without a grant it is not asked");
        let log = fixture.log("a");
        // As it stands in JSON.
        let line =
            r#"add to windows/a.yaml: outbound: [{to: \"https://api.card.example\", methods: ["#;
        assert_eq!(
            log.matches(line).count(),
            1,
            "the way out logs its own: {log}"
        );
    }
}

#[tokio::test]
async fn guest_is_told_why_a_service_has_no_answer() {
    for caller in CALLERS {
        let (fixture, _) = fixture(caller).await;
        fixture.grant("a", outbound());
        for (path, told) in [
            ("refused", "ConnectionRefused"),
            ("prohibited", "DestinationIpProhibited"),
        ] {
            let answer = fixture
                .ask("a", &format!("/get?https://api.card.example/{path}"))
                .await;
            assert!(answer.text().contains(told), "{caller}: {}", answer.text());
        }
        let cut = fixture
            .ask("a", "/get?https://api.card.example/too-large")
            .await;
        assert!(cut.broken, "{cut:?}");
    }
}

#[tokio::test]
async fn trailers_come_through_windows_and_claim_nobody() {
    let played = Arc::new(Played::default());
    let windows = [("a", "caller"), ("b", "caller")];
    let fixture = Fixture::with(&windows, 32, Some(played)).await;
    fixture.grant("a", calls(&["b"]));
    fixture.grant("b", outbound());
    let path = "/get?http://hms-svc-b/get?https://api.card.example/trailers";
    let answer = fixture.ask("a", path).await;
    assert_eq!((answer.text().as_str(), answer.broken), ("whole", false));
    assert_eq!(answer.trailers["x-sum"], "1", "{answer:?}");
    assert_eq!(answer.trailers.len(), 1, "{answer:?}");
}

#[tokio::test]
async fn call_of_a_service_ends_with_the_request_that_it_is_made_for() {
    let (fixture, _) = fixture("caller").await;
    fixture.grant("a", outbound());
    fixture.limit("a", json!({"wall_time_ms": 500})).await;
    let answer = fixture
        .ask("a", "/get?https://api.card.example/hangs")
        .await;
    assert!(answer.text().contains("wall-time"), "{}", answer.text());
    fixture.rests("a").await;
}

/// As many as there are processors, and more, which all wait.
#[tokio::test]
async fn requests_that_wait_for_a_service_keep_nobody_from_a_processor() {
    let (fixture, played) = fixture("caller").await;
    fixture.grant("a", outbound());
    let hanging = (0..16).map(|_| fixture.ask("a", "/get?https://api.card.example/hangs"));
    let hanging = futures_util::future::join_all(hanging);
    let others = async {
        eventually("all wait", || async {
            (played.0.lock().len() >= 16).then_some(())
        })
        .await;
        fixture.ask("a", "/get?https://api.card.example/x").await
    };
    tokio::select! {
        _ = hanging => panic!("they hang"),
        answer = others => assert_eq!(answer.status, 200),
    }
}
