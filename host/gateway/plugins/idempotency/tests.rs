//! Keys over real sockets, with an upstream that a test plays itself.

use super::key::{self, Owner, Realm};
use super::ledger::{Ledger, Name};
use super::record::{Record, State};
use crate::body::{self, Body, BodyError};
use crate::error::Error;
use crate::gateway::plugins::auth::{AuthConfig, DevSecret, KeySource, dev_secret, issue_token};
use crate::gateway::plugins::holder::Holder;
use crate::gateway::{Answer, Gateway, GatewayConfig, Limits, Windows, bind};
use crate::next::Next;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

/// The end of a test that hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// An upstream that counts what it does. What it does is in the path.
struct Till {
    payments: AtomicUsize,
    arrived: Notify,
    go_on: Semaphore,
    open: Semaphore,
}

impl Windows for Till {
    fn call<'a>(&'a self, window: &'a str, request: Request<Body>) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            let outcome = self.answer(window, request).await;
            Answer::of(outcome, Some(7))
        })
    }
}

impl Till {
    fn new() -> Till {
        Till {
            payments: AtomicUsize::new(0),
            arrived: Notify::new(),
            go_on: Semaphore::new(0),
            open: Semaphore::new(0),
        }
    }

    async fn answer(
        &self,
        window: &str,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, Error> {
        if let Some(next) = request.extensions_mut().remove::<Next>() {
            return Ok(next.call(request).await);
        }
        let path = request.uri().path().to_owned();
        if path.ends_with("/closed") && self.open.available_permits() == 0 {
            let window = window.to_owned();
            return Err(Error::WindowStopped { window });
        }
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let number = self.payments.fetch_add(1, SeqCst) + 1;
        if path.ends_with("/slow") {
            self.arrived.notify_one();
            self.go_on.acquire().await.unwrap().forget();
        }
        if path.ends_with("/trap") {
            return Err(Error::ClerkTrapped);
        }
        if path.ends_with("/panic") {
            panic!("a window's host code panics");
        }
        let said = match path.rsplit('/').next() {
            Some("big") => body::full(vec![b'x'; 3000]),
            Some("broken") => {
                let frames: [Result<_, BodyError>; 2] =
                    [Ok(Frame::data(Bytes::from("half"))), Err("cut".into())];
                StreamBody::new(stream::iter(frames)).boxed_unsync()
            }
            _ => body::full(format!(
                "payment {number} of {}",
                String::from_utf8_lossy(&body)
            )),
        };
        let mut response = Response::new(said);
        *response.status_mut() = StatusCode::CREATED;
        let headers = response.headers_mut();
        headers.insert("location", format!("/{number}").parse().unwrap());
        headers.append("set-cookie", "a=1".parse().unwrap());
        headers.append("set-cookie", "b=2".parse().unwrap());
        headers.insert("connection", "x-hop".parse().unwrap());
        headers.insert("x-hop", "1".parse().unwrap());
        Ok(response)
    }

    fn payments(&self) -> usize {
        self.payments.load(SeqCst)
    }
}

const OPEN: &str =
    "uri: /open/**\nupstream: http://hms-svc-till\nplugins:\n  - idempotency: {max-body: 2KiB}\n";
const OPEN_REALM: Realm<'static> = Realm::Resource {
    uri: "/open/**",
    host: "",
};
const STRICT: &str = "uri: /strict/**\nupstream: http://hms-svc-till\nplugins:\n  - auth\n  - idempotency: {required: true}\n";
const SHORT: &str =
    "uri: /short/**\nupstream: http://hms-svc-till\nplugins:\n  - idempotency: {ttl: 1s}\n";
const VISITED: &str = "uri: /visited/**\nupstream: http://hms-svc-till\nplugins:\n  - wasm: {window: audit}\n  - idempotency\n";
const PLAIN: &str = "uri: /plain/**\nupstream: http://hms-svc-till\n";

/// Its answers have three thousand bytes, and it counts by token.
const LARGE: &str = "uri: /large/**\nupstream: http://hms-svc-till\nplugins:\n  - auth\n  - idempotency: {max-body: 4MiB}\n";
const ALPHA: &str = "uri: /twin/{a}\nhosts: [one.example, two.example]\nupstream: http://hms-svc-till\nplugins:\n  - idempotency\n";
const SPLIT: &str =
    "uri: /split/**\nupstream: http://hms-svc-till\nplugins:\n  - idempotency: {scope: split}\n";
const SPLIT_OFF: &str = "uri: /split/off/**\nupstream: http://hms-svc-till\nplugins:\n  - idempotency: {scope: split}\n";

/// Port 1 of this machine, where nobody listens.
const GONE: &str = "uri: /gone\nupstream: http://127.0.0.1:1\nplugins: [idempotency]\n";

struct House {
    addr: SocketAddr,
    data: TempDir,
    secret: DevSecret,
    till: Arc<Till>,
    gateway: Weak<Gateway>,
    shutdown: CancellationToken,
    serving: tokio::task::JoinHandle<usize>,
}

#[derive(Debug)]
struct Said {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Said {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    fn is_problem(&self, status: u16, code: &str) -> bool {
        self.status == status && self.body.contains(&format!("urn:hms:problem:{code}\""))
    }

    fn replayed(&self) -> bool {
        self.header("idempotency-replayed") == "true"
    }
}

impl House {
    async fn open() -> House {
        Self::with(|_| {}).await
    }

    /// With what `prepare` does to the file of keys.
    async fn with(prepare: impl FnOnce(&Path)) -> House {
        Self::with_limits(prepare, |_| {}).await
    }

    async fn with_limits(prepare: impl FnOnce(&Path), change: impl FnOnce(&mut Limits)) -> House {
        let data = tempfile::tempdir().unwrap();
        let routes = data.path().join("routes");
        std::fs::create_dir(&routes).unwrap();
        for (name, text) in [
            ("open", OPEN),
            ("strict", STRICT),
            ("short", SHORT),
            ("visited", VISITED),
            ("plain", PLAIN),
            ("gone", GONE),
            ("large", LARGE),
            ("twin", ALPHA),
            ("split", SPLIT),
            ("split-off", SPLIT_OFF),
        ] {
            std::fs::write(routes.join(format!("{name}.yaml")), text).unwrap();
        }
        let secret = dev_secret::load_or_create(data.path()).unwrap();
        let mut config = GatewayConfig::new(
            routes,
            AuthConfig::new(KeySource::DevSecret(secret.clone())),
        );
        config.upstream_allow = vec!["127.0.0.0/8".parse().unwrap()];
        let file = data.path().join("idempotency.redb");
        prepare(&file);
        config.idempotency = Some(file);
        change(&mut config.limits);
        let till = Arc::new(Till::new());
        let gateway = Gateway::new(config, till.clone());
        let listeners = bind("127.0.0.1:0".parse().unwrap(), "--gateway")
            .await
            .unwrap();
        let addr = listeners[0].local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let weak = Arc::downgrade(&gateway);
        let serving = tokio::spawn(gateway.serve(listeners, shutdown.clone()));
        House {
            gateway: weak,
            addr,
            data,
            secret,
            till,
            shutdown,
            serving,
        }
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Said {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.addr));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        let request = request
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        let answered = tokio::time::timeout(PATIENCE, client.request(request)).await;
        let (head, body) = answered.expect("an answer in time").unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Said {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    /// Sends `sent` bytes of a body of `length` with the key `k`, and no more.
    async fn begin_upload(
        &self,
        path: &str,
        bearer: Option<&str>,
        length: usize,
        sent: usize,
    ) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        let authorization = bearer.map(|bearer| format!("authorization: {bearer}\r\n"));
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nidempotency-key: k\r\n{}content-length: {length}\r\n\r\n",
            authorization.unwrap_or_default()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b'x'; sent]).await.unwrap();
        stream
    }

    fn metrics(&self) -> String {
        let mut registry = prometheus_client::registry::Registry::default();
        self.gateway
            .upgrade()
            .unwrap()
            .metrics()
            .register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    async fn rename(&self, from: &str, to: &str) {
        let routes = self.data.path().join("routes");
        let file = |name: &str| routes.join(format!("{name}.yaml"));
        std::fs::rename(file(from), file(to)).unwrap();
        self.until_routes_are(|names| {
            names.contains(&format!("{to}.yaml")) && !names.contains(&format!("{from}.yaml"))
        })
        .await;
    }

    async fn until_routes_are(&self, wanted: impl Fn(&[String]) -> bool) {
        let begun = Instant::now();
        loop {
            let routes = self.gateway.upgrade().unwrap().routes();
            let names: Vec<String> = routes.into_iter().map(|route| route.file).collect();
            if wanted(&names) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{names:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn pay(&self, path: &str, key: &str, body: &str) -> Said {
        let headers = [("idempotency-key", key)];
        self.send(Method::POST, path, &headers, body).await
    }

    fn bearer(&self, user: &str) -> String {
        let token = issue_token(&self.secret, user, &[], Duration::from_secs(60)).unwrap();
        format!("Bearer {token}")
    }

    /// Sends a slow payment on a connection of its own, and waits until the upstream has it.
    async fn begin_slow(&self, key: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        let request = format!(
            "POST /open/slow HTTP/1.1\r\nhost: x\r\nidempotency-key: {key}\r\ncontent-length: 2\r\n\r\n42"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let arrived = tokio::time::timeout(PATIENCE, self.till.arrived.notified());
        arrived.await.expect("it arrives");
        stream
    }

    /// Asks until the first request with the key is done.
    async fn pay_when_done(&self, path: &str, key: &str, body: &str) -> Said {
        let begun = Instant::now();
        loop {
            let said = self.pay(path, key, body).await;
            if !said.is_problem(409, "idempotency-running") {
                return said;
            }
            assert!(begun.elapsed() < PATIENCE, "still at work");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn the_same_request_again_has_the_first_answer_and_is_not_done_again() {
    let house = House::open().await;
    let first = house.pay("/open/pay?x=1", "\"k-1\"", "42").await;
    assert_eq!(
        (first.status, first.body.as_str()),
        (201, "payment 1 of 42")
    );
    assert!(!first.replayed());
    // In quotes or not it is the same key.
    for key in ["\"k-1\"", "k-1"] {
        let again = house.pay("/open/pay?x=1", key, "42").await;
        assert_eq!(
            (again.status, again.body.as_str()),
            (201, "payment 1 of 42")
        );
        assert!(again.replayed() && again.header("location") == "/1");
        let cookies: Vec<_> = again.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
        assert!(!again.headers.contains_key("x-hop"));
        assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    }
    assert_eq!(house.till.payments(), 1);
    house.pay("/open/pay?x=1", "k-2", "42").await;
    assert_eq!(house.till.payments(), 2);
}

/// Where no `auth` says who asks, the upstream does by what the request shows.
#[tokio::test]
async fn whoever_shares_an_address_is_given_no_answer_that_is_for_other_credentials() {
    let house = House::open().await;
    let shows = [
        &[("authorization", "Basic YTpi")][..],
        &[("x-api-key", "theirs")],
        &[("authorization", "Basic YTpi"), ("x-api-key", "theirs")],
        &[("cookie", "sid=alice")],
        &[("cookie", "sid=bob")],
        &[],
    ];
    for (number, own) in shows.iter().enumerate() {
        let key = format!("key-{number}");
        for (other, shown) in [(own, true)]
            .into_iter()
            .chain(shows.iter().map(|it| (it, it == own)))
        {
            let mut headers = vec![("idempotency-key", key.as_str())];
            headers.extend(other.iter().copied());
            let said = house.send(Method::POST, "/open/pay", &headers, "42").await;
            match shown {
                true => assert!(said.status < 300, "{own:?} {other:?}: {said:?}"),
                false => assert!(said.is_problem(422, "idempotency-key-reused"), "{said:?}"),
            }
        }
    }
    assert_eq!(house.till.payments(), shows.len());
}

#[tokio::test]
async fn a_key_used_for_another_request_is_422() {
    let house = House::open().await;
    house.pay("/open/pay", "k", "42").await;
    for (method, path, kind, body) in [
        (Method::POST, "/open/pay", "", "43"),
        (Method::POST, "/open/other", "", "42"),
        (Method::POST, "/open/pay?x", "", "42"),
        (Method::POST, "/open/pay", "text/plain", "42"),
        (Method::PATCH, "/open/pay", "", "42"),
    ] {
        let mut headers = vec![("idempotency-key", "k")];
        if !kind.is_empty() {
            headers.push(("content-type", kind));
        }
        let said = house.send(method, path, &headers, body).await;
        assert!(said.is_problem(422, "idempotency-key-reused"), "{said:?}");
    }
    assert_eq!(house.till.payments(), 1);
}

#[tokio::test]
async fn while_the_first_is_at_work_others_are_told_to_wait() {
    let house = House::open().await;
    let first = house.begin_slow("k").await;
    let second = house.pay("/open/slow", "k", "42").await;
    assert!(second.is_problem(409, "idempotency-running"), "{second:?}");
    assert_eq!(second.header("retry-after"), "1");
    let other = house.pay("/open/slow", "k", "43").await;
    assert!(other.is_problem(422, "idempotency-key-reused"), "{other:?}");
    house.till.go_on.add_permits(1);
    let done = house.pay_when_done("/open/slow", "k", "42").await;
    assert!(done.status == 201 && done.replayed(), "{done:?}");
    assert_eq!(house.till.payments(), 1);
    drop(first);
}

#[tokio::test]
async fn a_client_that_goes_away_finds_the_answer_when_it_comes_back() {
    let house = House::open().await;
    drop(house.begin_slow("k").await);
    house.till.go_on.add_permits(1);
    let done = house.pay_when_done("/open/slow", "k", "42").await;
    assert!(done.status == 201 && done.replayed(), "{done:?}");
    assert_eq!(
        (done.body.as_str(), house.till.payments()),
        ("payment 1 of 42", 1)
    );
}

#[tokio::test]
async fn the_end_of_the_host_waits_for_a_request_whose_client_is_gone() {
    let house = House::open().await;
    drop(house.begin_slow("k").await);
    house.shutdown.cancel();
    while TcpStream::connect(house.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!house.serving.is_finished());
    house.till.go_on.add_permits(1);
    let cut = tokio::time::timeout(PATIENCE, house.serving).await;
    assert_eq!(cut.expect("it ends").unwrap(), 0);
    let path = house.data.path().join("idempotency.redb");
    let scope = key::scope(OPEN_REALM, None, house.addr.ip(), "k").hex();
    // The gateway's own handle goes with its last task.
    let begun = Instant::now();
    let ledger = loop {
        match Ledger::open(path.clone(), 1 << 30) {
            Ok(ledger) => break ledger,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
        tokio::task::yield_now().await;
    };
    let found = ledger.get(&scope).await.unwrap().unwrap();
    assert!(matches!(found.record.state, State::Answered(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_at_once_with_one_key_one_is_done() {
    let house = Arc::new(House::open().await);
    for round in 1..=30 {
        let key = format!("k-{round}");
        let all: Vec<_> = (0..4)
            .map(|_| {
                let (house, key) = (house.clone(), key.clone());
                tokio::spawn(async move { house.pay_when_done("/open/pay", &key, "42").await })
            })
            .collect();
        let mut replayed = 0;
        for one in all {
            let said = one.await.unwrap();
            assert_eq!(
                (said.status, said.body),
                (201, format!("payment {round} of 42"))
            );
            replayed += usize::from(said.headers.contains_key("idempotency-replayed"));
        }
        assert_eq!((replayed, house.till.payments()), (3, round));
    }
}

#[tokio::test]
async fn users_have_keys_of_their_own_and_other_methods_need_none() {
    let house = House::open().await;
    for (count, user) in ["alice", "bob"].into_iter().enumerate() {
        let bearer = house.bearer(user);
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
        let said = house
            .send(Method::POST, "/strict/pay", &headers, "42")
            .await;
        assert_eq!(
            (said.status, said.body),
            (201, format!("payment {} of 42", count + 1))
        );
        let none = house
            .send(Method::POST, "/strict/pay", &headers[..1], "42")
            .await;
        assert!(none.is_problem(400, "idempotency-key-missing"), "{none:?}");
        let read = house
            .send(Method::GET, "/strict/pay?closed", &headers[..1], "")
            .await;
        assert_eq!(read.status, 201);
        house.till.payments.fetch_sub(1, SeqCst);
    }
    let broken = house.pay("/open/pay", "a b", "42").await;
    assert!(broken.is_problem(400, "bad-request"), "{broken:?}");
    // Not required, not there: nothing is kept.
    for _ in 0..2 {
        let said = house.send(Method::POST, "/open/pay", &[], "42").await;
        assert!(said.status == 201 && !said.replayed());
    }
    assert_eq!(house.till.payments(), 4);
}

#[tokio::test]
async fn an_expired_key_is_as_if_never_used() {
    let house = House::open().await;
    let begun = Instant::now();
    house.pay("/short/pay", "k", "42").await;
    loop {
        let said = house.pay("/short/pay", "k", "42").await;
        if !said.replayed() {
            assert_eq!(said.body, "payment 2 of 42");
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "it never expires");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn an_answer_too_large_to_be_kept_is_sent_once() {
    let house = House::open().await;
    let first = house.pay("/open/big", "k", "42").await;
    assert_eq!((first.status, first.body.len()), (201, 3000));
    let again = house.pay("/open/big", "k", "42").await;
    assert!(
        again.is_problem(409, "idempotency-answer-not-kept"),
        "{again:?}"
    );
    assert_eq!(house.till.payments(), 1);
    let large = house.pay("/open/pay", "l", &"x".repeat(2049)).await;
    assert!(large.is_problem(413, "body-too-large"), "{large:?}");
    assert_eq!(house.till.payments(), 1);
}

#[tokio::test]
async fn a_failure_after_the_request_ran_is_kept() {
    let house = House::open().await;
    for (count, (path, status, code)) in [
        ("/open/trap", 500, "clerk-trapped"),
        ("/open/broken", 502, "upstream-unreachable"),
        ("/open/panic", 500, "internal"),
    ]
    .into_iter()
    .enumerate()
    {
        let first = house.pay(path, path, "42").await;
        assert!(
            first.is_problem(status, code) && !first.replayed(),
            "{first:?}"
        );
        let again = house.pay(path, path, "42").await;
        assert!(
            again.is_problem(status, code) && again.replayed(),
            "{again:?}"
        );
        assert_eq!((again.body, house.till.payments()), (first.body, count + 1));
    }
}

#[tokio::test]
async fn a_key_is_free_again_where_the_request_surely_never_ran() {
    let house = House::open().await;
    for path in ["/open/closed", "/visited/closed"] {
        house.till.open.forget_permits(1);
        let before = house.till.payments();
        let closed = house.pay(path, path, "42").await;
        assert!(closed.is_problem(503, "window-stopped"), "{closed:?}");
        // With another body too: nothing of it was done.
        house.till.open.add_permits(1);
        let open = house.pay(path, path, "43").await;
        assert!(open.status == 201 && !open.replayed(), "{open:?}");
        let again = house.pay(path, path, "43").await;
        assert!(again.status == 201 && again.replayed(), "{again:?}");
        assert_eq!(house.till.payments(), before + 1);
    }
}

#[tokio::test]
async fn a_key_is_free_again_where_there_was_no_connection() {
    let house = House::open().await;
    for body in ["42", "43"] {
        let said = house.pay("/gone", "k", body).await;
        assert!(
            said.is_problem(502, "upstream-unreachable") && !said.replayed(),
            "{said:?}"
        );
    }
}

#[tokio::test]
async fn a_full_file_takes_no_new_keys_and_still_has_the_old() {
    let house = House::with_limits(|_| {}, |limits| limits.max_idempotency_bytes = 20_000).await;
    let ask = async |user: usize| {
        let bearer = house.bearer(&format!("user-{user}"));
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
        house.send(Method::POST, "/large/big", &headers, "42").await
    };
    let mut users = 0;
    let refused = loop {
        let said = ask(users).await;
        if said.status != 201 {
            break said;
        }
        users += 1;
        assert!(users < 20, "twenty answers are three times as much");
    };
    // Whoever holds nothing has used nothing up.
    assert!(refused.is_problem(503, "idempotency-full"), "{refused:?}");
    assert!(!refused.header("retry-after").is_empty());
    assert!(ask(0).await.replayed());
    assert_eq!(house.till.payments(), users);
}

#[tokio::test]
async fn one_caller_that_keeps_all_it_can_is_refused_and_another_is_served() {
    let house = House::with_limits(|_| {}, |limits| limits.max_idempotency_bytes = 100_000).await;
    let bearer = house.bearer("mallory");
    let ask = async |key: &str| {
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", key)];
        house.send(Method::POST, "/large/big", &headers, "42").await
    };
    let mut kept = 0;
    let refused = loop {
        let said = ask(&format!("k{kept}")).await;
        if said.status != 201 {
            break said;
        }
        kept += 1;
        assert!(kept < 30, "a fifth of it is about five answers");
    };
    assert!(refused.is_problem(429, "idempotency-full"), "{refused:?}");
    assert!(refused.body.contains("this caller has its share"));
    assert_eq!(refused.header("retry-after"), "60");
    // Nothing of hers is lost, so nothing is done twice.
    let before = house.till.payments();
    for key in 0..kept {
        assert!(ask(&format!("k{key}")).await.replayed());
    }
    assert_eq!(house.till.payments(), before);
    let bearer = house.bearer("bob");
    let headers = [
        ("authorization", bearer.as_str()),
        ("idempotency-key", "k0"),
    ];
    let bobs = house
        .send(Method::POST, "/strict/pay", &headers, "42")
        .await;
    assert_eq!(bobs.status, 201, "{bobs:?}");
    let hits = house.metrics();
    let hit = "gateway_share_hits_total{of=\"idempotency-keys\",whose=\"caller\"} 1";
    assert!(hits.contains(hit), "{hits}");
}

#[tokio::test]
async fn a_body_that_stalls_is_408_and_its_memory_is_free_again() {
    let change = |limits: &mut Limits| {
        limits.idempotency_body_time = Duration::from_millis(300);
    };
    let house = House::with_limits(|_| {}, change).await;
    let mut stalled = house.begin_upload("/open/pay", None, 2000, 1000).await;
    let mut said = vec![0; 4096];
    let read = tokio::time::timeout(PATIENCE, stalled.read(&mut said)).await;
    let read = read.expect("it is answered").unwrap();
    let said = String::from_utf8_lossy(&said[..read]);
    assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    assert!(said.contains("body-too-slow"), "{said}");
    assert_eq!(house.till.payments(), 0);
    // It is nothing that has happened, so the key is free.
    assert_eq!(house.pay("/open/pay", "k", "42").await.status, 201);
}

#[tokio::test]
async fn the_uploads_of_one_caller_leave_memory_to_another() {
    let change = |limits: &mut Limits| limits.max_idempotency_held_bytes = 100_000;
    let house = House::with_limits(|_| {}, change).await;
    let mallory = house.bearer("mallory");
    let mut stalled = Vec::new();
    for _ in 0..64 {
        let upload = house.begin_upload("/large/pay", Some(&mallory), 90_000, 10_000);
        stalled.push(upload.await);
    }
    // Two of them fit into her share; the others are refused while they send.
    let mut refused = 0;
    for upload in &mut stalled {
        let mut said = vec![0; 4096];
        let read = tokio::time::timeout(Duration::from_millis(500), upload.read(&mut said)).await;
        if let Ok(Ok(read)) = read {
            let said = String::from_utf8_lossy(&said[..read]);
            assert!(said.starts_with("HTTP/1.1 429"), "{said}");
            refused += 1;
        }
        if refused > 40 {
            break;
        }
    }
    assert!(refused > 40, "{refused}");
    let bob = house.bearer("bob");
    let headers = [("authorization", bob.as_str()), ("idempotency-key", "k")];
    let large = "x".repeat(10_000);
    let bobs = house
        .send(Method::POST, "/large/pay", &headers, &large)
        .await;
    assert_eq!(bobs.status, 201, "{bobs:?}");
}

#[tokio::test]
async fn a_key_belongs_to_the_resource_and_not_to_the_file_of_its_route() {
    let house = House::open().await;
    let first = house.pay("/open/pay", "k", "42").await;
    house.rename("open", "renamed").await;
    let again = house.pay("/open/pay", "k", "42").await;
    assert!(again.replayed() && again.body == first.body, "{again:?}");
    // Routes of one scope share their keys, so that one can be split.
    assert_eq!(house.pay("/split/off/pay", "k", "42").await.status, 201);
    std::fs::remove_file(house.data.path().join("routes/split-off.yaml")).unwrap();
    house
        .until_routes_are(|names| !names.contains(&"split-off.yaml".into()))
        .await;
    let again = house.pay("/split/off/pay", "k", "42").await;
    assert!(again.replayed(), "{again:?}");
    // Another host is another resource where the route names its hosts.
    for host in ["one.example", "two.example"] {
        let headers = [("idempotency-key", "k"), ("host", host)];
        let said = house.send(Method::POST, "/twin/x", &headers, "42").await;
        assert!(said.status == 201 && !said.replayed(), "{said:?}");
        let headers = [("idempotency-key", "k"), ("host", "ONE.example:80")];
        let said = house.send(Method::POST, "/twin/x", &headers, "42").await;
        assert!(said.replayed(), "{said:?}");
    }
}

#[tokio::test]
async fn what_an_earlier_run_of_the_host_began_is_unknown() {
    let client = [127, 0, 0, 1].into();
    let scope = key::scope(OPEN_REALM, None, client, "k").hex();
    let name = Name {
        scope: &scope,
        owner: Owner::of(&Holder::of(None, client)),
    };
    let fingerprint = key::fingerprint("POST", ("/open/pay", None), b"", b"42");
    let house = {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("keys");
        let ledger = Ledger::open(file.clone(), 1 << 30).unwrap();
        let record = Record::new(fingerprint, ledger.now_ms() + 60_000, State::Begun);
        ledger.begin(name, &record, None).await.unwrap().unwrap();
        ledger.close();
        House::with(|path| {
            std::fs::copy(file, path).unwrap();
        })
        .await
    };
    let said = house.pay("/open/pay", "k", "42").await;
    assert!(said.is_problem(409, "idempotency-unknown"), "{said:?}");
    let other = house.pay("/open/pay", "k", "43").await;
    assert!(other.is_problem(422, "idempotency-key-reused"), "{other:?}");
    assert_eq!(house.till.payments(), 0);
}

#[tokio::test]
async fn a_damaged_file_closes_the_routes_that_need_it_and_no_others() {
    let house = House::with(|path| std::fs::write(path, "no file of keys").unwrap()).await;
    let said = house.pay("/open/pay", "k", "42").await;
    assert!(said.is_problem(503, "idempotency-unavailable"), "{said:?}");
    assert!(!said.header("retry-after").is_empty());
    assert_eq!(house.till.payments(), 0);
    assert_eq!(house.pay("/plain/pay", "k", "42").await.status, 201);
    let kept = std::fs::read_to_string(house.data.path().join("idempotency.redb"));
    assert_eq!(kept.unwrap(), "no file of keys");
}

#[test]
fn the_operators_page_has_the_shares_of_keys_and_memory() {
    let page = include_str!("../../../../docs/limits.md");
    let limits = Limits::default();
    let (gib, mib) = (
        limits.max_idempotency_bytes >> 30,
        limits.max_idempotency_held_bytes >> 20,
    );
    let minutes = limits.idempotency_body_time.as_secs() / 60;
    assert_eq!(
        (
            super::budget::SHARE_OF_FREE,
            super::budget::ADDRESSES_SHARE,
            super::MAX_RUNNING
        ),
        (4, 2, 4096)
    );
    for row in [
        format!("| idempotency keys and their answers on disk | {gib} GiB |"),
        "| of these, what one caller holds, or one address | a quarter of what is free: a lone caller a fifth of all, a lone address a tenth |".into(),
        "| of each of these, what one caller holds, or one address | a quarter of what is free |".into(),
        "| of each of these, what all client addresses hold together | half |".into(),
        format!("in memory | 4,096; {mib} MiB each |"),
        format!("| time for the whole body of a request with an idempotency key | {minutes} min |"),
    ] {
        assert!(page.contains(&row), "{row}");
    }
}
