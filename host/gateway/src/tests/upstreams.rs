//! Routes with several targets, and tries that are made again. The services are played here, on
//! real sockets.

use super::*;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A service that answers with its name and what it was sent, with the status that it is told.
struct Service {
    url: String,
    /// 0: it closes the connection instead.
    status: Arc<AtomicU16>,
    seen: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Service {
    async fn start(name: &'static str) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (status, seen) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicUsize::new(0)));
        let serving = tokio::spawn(serve(name, listener, status.clone(), seen.clone()));
        Service {
            url,
            status,
            seen,
            serving,
        }
    }

    fn answers(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// Nothing listens there any more.
    async fn stop(&mut self) {
        self.serving.abort();
        let _ = (&mut self.serving).await;
    }

    fn seen(&self) -> usize {
        self.seen.swap(0, Ordering::Relaxed)
    }
}

async fn serve(
    name: &'static str,
    listener: TcpListener,
    status: Arc<AtomicU16>,
    seen: Arc<AtomicUsize>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (status, seen) = (status.clone(), seen.clone());
        tokio::spawn(async move {
            let service = service_fn(|request: Request<hyper::body::Incoming>| {
                let status = status.load(Ordering::Relaxed);
                seen.fetch_add(1, Ordering::Relaxed);
                async move {
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    if status == 0 {
                        return Err(std::io::Error::other("closed"));
                    }
                    let said = format!("{name} got {}", String::from_utf8_lossy(&body));
                    let response = Response::builder().status(status);
                    Ok(response.body(Full::new(Bytes::from(said))).unwrap())
                }
            });
            // No connection outlives an answer, so that a stopped service is not reached by an old
            // one.
            let connection = hyper::server::conn::http1::Builder::new()
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            let _ = connection.await;
        });
    }
}

async fn fixture_with(upstream: &str) -> Fixture {
    let fixture = Fixture::open().await;
    let text = format!("uri: /svc/**\nupstream:\n{upstream}");
    std::fs::write(fixture.data.path().join("svc.yaml"), text).unwrap();
    fixture.gateway.routes.reload();
    assert!(
        fixture
            .gateway
            .routes
            .get("svc")
            .unwrap()
            .0
            .faults
            .is_empty()
    );
    fixture
}

fn targets(services: &[&Service]) -> String {
    let urls: Vec<&str> = services.iter().map(|service| &*service.url).collect();
    format!("  targets: [{}]\n", urls.join(", "))
}

async fn send(fixture: &Fixture, method: &str) -> String {
    fixture
        .raw(&format!(
            "{method} /svc/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello"
        ))
        .await
}

#[tokio::test]
async fn targets_receive_requests_by_weight() {
    let (one, two) = (Service::start("one").await, Service::start("two").await);
    let weights = format!(
        "  targets:\n    - {}\n    - {{url: \"{}\", weight: 3}}\n",
        one.url, two.url
    );
    let fixture = fixture_with(&weights).await;
    for _ in 0..40 {
        assert_eq!(status(&fixture.get("/svc/x", "").await), 200);
    }
    let (first, second) = (one.seen(), two.seen());
    assert!((8..=12).contains(&first), "{first} and {second}");
    assert_eq!(first + second, 40);
}

#[tokio::test]
async fn unreachable_target_fails_no_request_and_is_ejected() {
    let (mut gone, there) = (Service::start("gone").await, Service::start("there").await);
    let upstream = targets(&[&gone, &there]) + "  max-fails: 2\n  fail-timeout: 100ms\n";
    let fixture = fixture_with(&upstream).await;
    gone.stop().await;
    // Nothing was sent, so that a POST may go elsewhere too, with its whole body.
    for _ in 0..8 {
        let answer = send(&fixture, "POST").await;
        assert!(answer.ends_with("there got hello"), "{answer}");
    }
    let route = fixture.gateway.routes.table();
    let route = route.find(None, &Method::GET, "/svc/x");
    let RouteMatch::Route(route) = route else {
        panic!("no route")
    };
    let health = route.upstream_state.health(0).unwrap();
    assert!(health.failures() >= 2, "it is asked no more");
    let failures = health.failures();
    let soon = std::time::Instant::now() + Duration::from_millis(100);
    assert!(health.is_in(soon) && failures <= 8);
}

#[tokio::test]
async fn ejected_target_is_shown_and_stays_ejected_across_a_route_edit() {
    let (mut gone, there) = (Service::start("gone").await, Service::start("there").await);
    let upstream = targets(&[&gone, &there]) + "  max-fails: 1\n  fail-timeout: 1h\n";
    let fixture = fixture_with(&upstream).await;
    let ejected = || {
        let (status, _) = fixture.gateway.route("svc").unwrap();
        let targets = status.route.unwrap().targets;
        let all = fixture.gateway.routes();
        let listed = all.into_iter().find(|status| status.file == "svc.yaml");
        assert_eq!(listed.unwrap().route.unwrap().targets, targets);
        targets
            .iter()
            .map(|target| target.ejected)
            .collect::<Vec<_>>()
    };
    assert_eq!(ejected(), [false, false]);
    gone.stop().await;
    for _ in 0..8 {
        send(&fixture, "POST").await;
    }
    assert_eq!(ejected(), [true, false]);
    let edited = format!("uri: /svc/**\nmethods: [POST]\nupstream:\n{upstream}");
    std::fs::write(fixture.data.path().join("svc.yaml"), edited).unwrap();
    fixture.gateway.routes.reload();
    assert_eq!(ejected(), [true, false]);
}

#[tokio::test]
async fn request_that_may_have_run_is_retried_for_idempotent_methods_only() {
    let (broken, there) = (
        Service::start("broken").await,
        Service::start("there").await,
    );
    let fixture = fixture_with(&(targets(&[&broken, &there]) + "  max-fails: 1000\n")).await;
    for failing in [0, 503] {
        broken.answers(failing);
        for _ in 0..6 {
            let answer = send(&fixture, "PUT").await;
            assert!(answer.ends_with("there got hello"), "{answer}");
        }
        assert!(broken.seen() > 0);
        there.seen();
        let mut failed = 0;
        for _ in 0..6 {
            failed += usize::from(status(&send(&fixture, "POST").await) >= 500);
        }
        let (broke, went) = (broken.seen(), there.seen());
        assert!(
            failed > 0 && broke == failed && went == 6 - failed,
            "{broke} {went} {failed}"
        );
    }
}

#[tokio::test]
async fn slow_try_is_retried_elsewhere_where_the_manifest_sets_a_try_timeout() {
    let there = Service::start("there").await;
    // It takes connections, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!(
        "  targets: [http://{}, {}]\n  try-timeout: 50ms\n",
        silent.local_addr().unwrap(),
        there.url
    );
    let fixture = fixture_with(&upstream).await;
    for _ in 0..4 {
        assert!(fixture.get("/svc/x", "").await.ends_with("there got "));
    }
    let posted = [send(&fixture, "POST").await, send(&fixture, "POST").await];
    assert!(
        posted
            .iter()
            .all(|answer| matches!(status(answer), 200 | 504)),
        "{posted:?}"
    );
}

#[tokio::test]
async fn client_gets_the_last_answer_after_a_bounded_number_of_failed_tries() {
    let (one, two) = (Service::start("one").await, Service::start("two").await);
    let fixture = fixture_with(&(targets(&[&one, &two]) + "  retries: 5\n")).await;
    one.answers(503);
    two.answers(503);
    let answer = fixture.get("/svc/x", "").await;
    assert_eq!(status(&answer), 503);
    assert!(answer.ends_with(" got "), "{answer}");
    assert_eq!(one.seen() + two.seen(), 2, "each says once that it cannot");
    // Both are left out by now, and yet somebody is asked.
    for _ in 0..6 {
        fixture.get("/svc/x", "").await;
    }
    one.answers(200);
    two.answers(200);
    assert_eq!(status(&fixture.get("/svc/x", "").await), 200);
}

#[tokio::test]
async fn closed_window_leaves_its_share_to_the_service_beside_it() {
    let service = Service::start("legacy").await;
    let fixture = Fixture::open().await;
    let text = format!(
        "uri: /closed\nupstream:\n  targets: [http://hms-svc-payments, {}]\n",
        service.url
    );
    std::fs::write(fixture.data.path().join("svc.yaml"), text).unwrap();
    fixture.gateway.routes.reload();
    let request =
        "POST /closed HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
    for _ in 0..4 {
        let answer = fixture.raw(request).await;
        assert!(answer.ends_with("legacy got hello"), "{answer}");
    }
}

#[tokio::test]
async fn service_that_breaks_off_is_tried_once_more() {
    let service = Service::start("one").await;
    let fixture = Fixture::open().await;
    let text = format!("uri: /svc/**\nupstream: {}\n", service.url);
    std::fs::write(fixture.data.path().join("svc.yaml"), text).unwrap();
    fixture.gateway.routes.reload();
    service.answers(0);
    assert_eq!(status(&fixture.get("/svc/x", "").await), 502);
    assert_eq!(service.seen(), 2);
    assert_eq!(status(&send(&fixture, "POST").await), 502);
    assert_eq!(service.seen(), 1);
}
