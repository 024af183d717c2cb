//! The gateway over real sockets, with windows that a test plays itself.

use super::*;
use crate::body::{self, BodyError};
use crate::gateway::request_body::Pace;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream;
use http::{Method, StatusCode};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use plugins::auth::{AuthConfig, DevSecret, KeySource, dev_secret, issue_token};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

mod floods;
mod front;
mod keys;
mod lanes;
mod plugin_cases;
mod requests;
mod upstreams;
mod websockets;

/// The end of a test that hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// A window that says what it was sent, on the path `/echo`; its lane on `/lane`; streams its request to the test on `/in`; streams what
/// the test gives on `/out`; and misbehaves on other paths.
struct FakeWindows {
    arrived: mpsc::UnboundedSender<Bytes>,
    given: Mutex<Option<mpsc::UnboundedReceiver<Bytes>>>,
}

impl Windows for FakeWindows {
    fn call<'a>(&'a self, window: &'a str, request: Request<Body>) -> BoxFuture<'a, Answer> {
        Box::pin(async move { Answer::of(self.answer(window, request).await, Some(7)) })
    }
}

impl FakeWindows {
    async fn answer(&self, window: &str, request: Request<Body>) -> Result<Response<Body>, Error> {
        let (parts, mut body) = request.into_parts();
        let response = match parts.uri.path() {
            "/in" => {
                while let Some(frame) = body.frame().await {
                    let frame = frame.map_err(|error| Error::NoResponse(error.to_string()))?;
                    assert!(!frame.is_trailers(), "trailers got through");
                    let _ = self.arrived.send(frame.into_data().unwrap_or_default());
                }
                Response::new(body::full("read"))
            }
            "/out" => {
                let given = self.given.lock().await.take().unwrap();
                let frames = stream::unfold(given, |mut given| async move {
                    let data = given.recv().await?;
                    Some((Ok::<_, BodyError>(Frame::data(data)), given))
                });
                Response::new(StreamBody::new(frames).boxed_unsync())
            }
            "/lane" => {
                let lane = crate::lanes::current();
                Response::new(body::full(format!("lane {lane}!")))
            }
            "/panic" => panic!("a window's host code panics"),
            "/closed" => {
                return Err(Error::WindowStopped {
                    window: window.into(),
                });
            }
            _ => {
                let mut said = format!("{} {} {window}\n", parts.method, parts.uri);
                for (name, value) in &parts.headers {
                    said += &format!("{name}: {}\n", value.to_str().unwrap());
                }
                let mut response = Response::new(body::full(said));
                response
                    .headers_mut()
                    .insert("x-hms-user", "forged".parse().unwrap());
                response
                    .headers_mut()
                    .insert("connection", "close".parse().unwrap());
                response
            }
        };
        Ok(response)
    }
}

/// A running gateway.
struct House {
    addr: SocketAddr,
    data: TempDir,
    secret: DevSecret,
    gateway: Arc<Gateway>,
    shutdown: CancellationToken,
    serving: JoinHandle<usize>,
    arrived: mpsc::UnboundedReceiver<Bytes>,
    give: mpsc::UnboundedSender<Bytes>,
}

const OPEN: &str = "uri: /open/**\nupstream: http://hms-svc-open:8080\nstrip-prefix: /open\n";
const PAYMENTS: &str = include_str!("../../tests/manifests/good/chapter.yaml");

impl House {
    async fn open() -> House {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Limits)) -> House {
        Self::configured(|config| change(&mut config.limits)).await
    }

    async fn configured(change: impl FnOnce(&mut GatewayConfig)) -> House {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join("open.yaml"), OPEN).unwrap();
        std::fs::write(data.path().join("payments.yaml"), PAYMENTS).unwrap();
        let secret = dev_secret::load_or_create(data.path()).unwrap();
        let auth = AuthConfig::new(KeySource::DevSecret(secret.clone()));
        let mut config = GatewayConfig::new(data.path(), auth);
        // The services that tests play.
        config.upstream_allow = vec!["127.0.0.0/8".parse().unwrap()];
        change(&mut config);
        let (arrived_in, arrived) = mpsc::unbounded_channel();
        let (give, given) = mpsc::unbounded_channel();
        let windows = FakeWindows {
            arrived: arrived_in,
            given: Mutex::new(Some(given)),
        };
        let gateway = Gateway::new(config, Arc::new(windows));
        let listeners = bind("127.0.0.1:0".parse().unwrap(), "--gateway")
            .await
            .unwrap();
        let addr = listeners[0].local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(gateway.clone().serve(listeners, shutdown.clone()));
        House {
            addr,
            data,
            secret,
            gateway,
            shutdown,
            serving,
            arrived,
            give,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// Sends bytes as they are, and reads until the gateway closes.
    async fn raw(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        read_to_end(&mut stream).await
    }

    /// GET with these header lines, on a connection of its own.
    async fn get(&self, path: &str, headers: &str) -> String {
        self.raw(&format!(
            "GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n{headers}\r\n"
        ))
        .await
    }

    fn bearer(&self, scopes: &[&str]) -> String {
        let scopes: Vec<_> = scopes.iter().map(|scope| scope.to_string()).collect();
        let token = issue_token(&self.secret, "alice", &scopes, Duration::from_secs(60)).unwrap();
        format!("authorization: Bearer {token}\r\n")
    }
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    let _ = read.expect("the gateway closes in time");
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).ends_with(end) {
        let byte = tokio::time::timeout(PATIENCE, stream.read_u8())
            .await
            .expect("more in time");
        bytes.push(
            byte.unwrap_or_else(|_| panic!("closed after {:?}", String::from_utf8_lossy(&bytes))),
        );
    }
    String::from_utf8(bytes).unwrap()
}

async fn next<T>(receiver: &mut mpsc::UnboundedReceiver<T>) -> T {
    tokio::time::timeout(PATIENCE, receiver.recv())
        .await
        .expect("it arrives in time")
        .unwrap()
}

fn status(response: &str) -> u16 {
    response
        .get(9..12)
        .and_then(|code| code.parse().ok())
        .unwrap_or_else(|| panic!("{response:?}"))
}

#[tokio::test]
async fn a_caller_reaches_the_window_with_an_identity_from_the_token_alone() {
    let house = House::open().await;
    let spoofed = "x-hms-user: mallory\r\nX-HMS-USER: mallory\r\nX_HMS_User: mallory\r\nx.hms.user: mallory\r\n\
                   x-hms-scopes: admin\r\nconnection: x-hms-user\r\nx-forwarded-for: 1.2.3.4\r\n";
    let token = house.bearer(&["payments.read"]);
    let answer = house
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
    let house = House::open().await;
    let none = house.get("/api/v1/payments", "").await;
    assert_eq!(status(&none), 401);
    assert!(
        none.contains("www-authenticate: Bearer realm=\"hms\"\r\n")
            && none.contains("application/problem+json")
    );
    let read_only = house.bearer(&["payments.read"]);
    let request = format!(
        "POST /api/v1/payments HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n{read_only}\r\n"
    );
    let forbidden = house.raw(&request).await;
    assert_eq!(status(&forbidden), 403);
    assert!(
        forbidden.contains("scope=\"payments.write\""),
        "{forbidden}"
    );
    let lost = house.get("/nowhere", "x-request-id: my-1\r\n").await;
    assert_eq!(status(&lost), 404);
    assert!(
        lost.contains("x-request-id: my-1\r\n") && lost.contains("\"request-id\":\"my-1\""),
        "{lost}"
    );
    let closed = house.get("/open/closed", "").await;
    assert!(
        status(&closed) == 503 && closed.contains("retry-after: "),
        "{closed}"
    );
    assert_eq!(status(&house.get("/open/panic", "").await), 500);
    assert_eq!(
        status(&house.get("/open/echo", "").await),
        200,
        "the gateway lives"
    );
}

#[tokio::test]
async fn the_limit_of_a_route_counts_per_user_and_outlives_an_edit() {
    let house = House::open().await;
    let token = house.bearer(&["payments.read"]);
    for left in (0..30).rev() {
        let answer = house.get("/api/v1/payments", &token).await;
        assert!(
            status(&answer) == 200 && answer.contains(&format!("r={left};")),
            "{answer}"
        );
    }
    let refused = house.get("/api/v1/payments", &token).await;
    assert_eq!(status(&refused), 429);
    assert!(
        refused.contains("retry-after: ") && refused.contains("r=0;"),
        "{refused}"
    );
    let edited = PAYMENTS.replace("limit: 30", "limit: 31");
    std::fs::write(house.data.path().join("payments.yaml"), edited).unwrap();
    house.gateway.routes.reload();
    let one_more = house.get("/api/v1/payments", &token).await;
    assert!(
        status(&one_more) == 200 && one_more.contains("q=31"),
        "{one_more}"
    );
    assert_eq!(status(&house.get("/api/v1/payments", &token).await), 429);
}

#[tokio::test]
async fn request_bodies_stream_to_the_window_without_their_trailers() {
    let mut house = House::open().await;
    let mut stream = house.connect().await;
    let head = "POST /open/in HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ntrailer: x-hms-user\r\n\r\n";
    stream
        .write_all(format!("{head}5\r\nfirst\r\n").as_bytes())
        .await
        .unwrap();
    assert_eq!(
        next(&mut house.arrived).await,
        "first",
        "before the last was sent"
    );
    stream
        .write_all(b"4\r\nlast\r\n0\r\nx-hms-user: mallory\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(next(&mut house.arrived).await, "last");
    assert!(
        read_until(&mut stream, "read")
            .await
            .starts_with("HTTP/1.1 200")
    );

    // The same connection, and a body of known length.
    stream
        .write_all(b"POST /open/in HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\none")
        .await
        .unwrap();
    assert_eq!(next(&mut house.arrived).await, "one");
    stream.write_all(b"two").await.unwrap();
    assert_eq!(next(&mut house.arrived).await, "two");
    assert!(
        read_until(&mut stream, "read")
            .await
            .starts_with("HTTP/1.1 200")
    );
}

#[tokio::test]
async fn response_bodies_stream_to_the_client() {
    let house = House::open().await;
    let mut stream = house.connect().await;
    stream
        .write_all(b"GET /open/out HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    house.give.send("first".into()).unwrap();
    read_until(&mut stream, "first\r\n").await;
    house.give.send("last".into()).unwrap();
    read_until(&mut stream, "last\r\n").await;
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_413_with_and_without_a_length() {
    let house = House::with(|limits| limits.max_body_bytes = 10).await;
    let announced = house
        .raw("POST /open/in HTTP/1.1\r\nhost: x\r\ncontent-length: 11\r\n\r\n")
        .await;
    assert_eq!(status(&announced), 413);
    let chunked = house
        .raw("POST /open/in HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n")
        .await;
    assert_eq!(status(&chunked), 413);
    let fits = house
        .raw("POST /open/in HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 10\r\n\r\n0123456789")
        .await;
    assert_eq!(status(&fits), 200);
}

#[tokio::test]
async fn a_client_that_goes_on_sending_after_a_refusal_still_reads_it() {
    let house = House::with(|limits| limits.max_body_bytes = 10).await;
    for head in [
        "POST /open/in HTTP/1.1\r\nhost: x\r\ncontent-length: 26000000\r\n\r\n",
        "POST /api/v1/payments HTTP/1.1\r\nhost: x\r\ncontent-length: 26000000\r\n\r\n",
    ] {
        let mut stream = house.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        // Far more than the sockets hold, so that it goes on long after the answer.
        stream.write_all(&vec![b'x'; 26_000_000]).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(matches!(status(&answer), 413 | 401), "{answer}");
    }
}

#[tokio::test]
async fn an_upload_that_stalls_or_drips_is_cut() {
    let head = "POST /open/in HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n";
    let pace = Pace {
        pause: Duration::from_millis(200),
        grace: Duration::from_millis(300),
        bytes_per_s: 10_000,
    };
    let mut house = House::with(|limits| limits.body_pace = pace).await;

    let answer = house.raw(&format!("{head}abc")).await;
    assert_eq!(status(&answer), 408, "{answer}");
    assert!(answer.contains("body-too-slow") && answer.contains("came for 0.2 s"));
    assert_eq!(next(&mut house.arrived).await, "abc");

    for (piece, cut) in [(1, true), (2000, false)] {
        let mut stream = house.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let answer = tokio::spawn(async move {
            let mut answer = String::new();
            let _ = reader.read_to_string(&mut answer).await;
            answer
        });
        let begun = Instant::now();
        // Never a pause that is too long. A drip of a byte is over with its grace, and the other goes on for much longer.
        while begun.elapsed() < Duration::from_secs(2) && !answer.is_finished() {
            let _ = writer.write_all(&vec![b'x'; piece]).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(answer.is_finished(), cut, "{piece} bytes every 20 ms");
        if cut {
            let answer = answer.await.unwrap();
            assert_eq!(status(&answer), 408, "{answer}");
            assert!(
                answer.contains("less than 10000 bytes a second"),
                "{answer}"
            );
        }
    }
}

#[tokio::test]
async fn clients_that_are_slow_with_their_first_bytes_or_headers_are_cut() {
    let house = House::with(|limits| {
        limits.first_byte_timeout = Duration::from_millis(100);
        limits.header_timeout = Duration::from_millis(200);
    })
    .await;
    for (sent, least_ms) in [
        ("", 100),
        ("P", 100),
        ("PRI * HTTP/2.0\r\n", 100),
        ("GET / HTTP/1.1\r\nhos", 200),
    ] {
        let mut stream = house.connect().await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        let began = Instant::now();
        read_to_end(&mut stream).await;
        assert!(
            began.elapsed() >= Duration::from_millis(least_ms - 20),
            "{sent:?} cut too early"
        );
    }
}

#[tokio::test]
async fn too_many_headers_and_too_long_targets_are_refused() {
    let house = House::open().await;
    let many: String = (0..101).map(|i| format!("h{i}: 1\r\n")).collect();
    assert_eq!(status(&house.get("/open/echo", &many).await), 431);
    assert_eq!(
        status(&house.get(&format!("/open/{}", "a".repeat(8192)), "").await),
        414
    );
}

fn h2() -> Client<hyper_util::client::legacy::connect::HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http()
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_served_by_the_same_rules() {
    let house = House::open().await;
    let client = h2();
    let request = |path: &str| {
        Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}{path}", house.addr))
            .header("x-hms-user", "mallory")
            .body(Full::new(Bytes::from("body")))
            .unwrap()
    };
    let answer = client.request(request("/open/echo")).await.unwrap();
    assert_eq!(
        (answer.status(), answer.version()),
        (StatusCode::OK, http::Version::HTTP_2)
    );
    let said = answer.into_body().collect().await.unwrap().to_bytes();
    let said = String::from_utf8(said.to_vec()).unwrap();
    assert!(
        said.contains(&format!("POST http://{}/echo open", house.addr))
            && !said.contains("mallory")
    );
    assert_eq!(
        client
            .request(request("/open/a/%2e%2e"))
            .await
            .unwrap()
            .status(),
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn a_compressed_answer_streams_to_the_client() {
    let house = House::open().await;
    let manifest = "uri: /packed/**\nupstream: http://hms-svc-open\nstrip-prefix: /packed\nplugins: [compression]\n";
    std::fs::write(house.data.path().join("packed.yaml"), manifest).unwrap();
    house.gateway.routes.reload();
    let request = Request::builder()
        .uri(format!("http://{}/packed/out", house.addr))
        .header("accept-encoding", "gzip, identity;q=0")
        .body(Full::default())
        .unwrap();
    house.give.send("first".into()).unwrap();
    let answer = h2().request(request).await.unwrap();
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    assert_eq!(answer.headers()["vary"], "accept-encoding");
    let mut body = answer.into_body();
    let mut plain = flate2::write::GzDecoder::new(Vec::new());
    for said in ["first", "firstsecond"] {
        while plain.get_ref().as_slice() != said.as_bytes() {
            let frame = tokio::time::timeout(PATIENCE, body.frame()).await;
            let data = frame.expect("it arrives in time").unwrap().unwrap();
            std::io::Write::write_all(&mut plain, &data.into_data().unwrap()).unwrap();
            std::io::Write::flush(&mut plain).unwrap();
        }
        let _ = house.give.send("second".into());
    }
}

#[tokio::test]
async fn a_shutdown_lets_a_running_answer_finish_and_takes_nothing_new() {
    let house = House::open().await;
    let mut idle = house.connect().await;
    idle.write_all(b"GET /open/echo HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut idle, "\r\n\r\n").await;
    let mut running = house.connect().await;
    running
        .write_all(b"GET /open/out HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    house.give.send("first".into()).unwrap();
    read_until(&mut running, "first\r\n").await;

    house.shutdown.cancel();
    read_to_end(&mut idle).await;
    while TcpStream::connect(house.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!house.serving.is_finished());
    house.give.send("last".into()).unwrap();
    drop(house.give);
    let rest = read_to_end(&mut running).await;
    assert!(rest.ends_with("last\r\n0\r\n\r\n"), "{rest:?}");
    assert_eq!(house.serving.await.unwrap(), 0);
}

#[tokio::test]
async fn an_http2_client_is_sent_away_at_the_shutdown_after_its_answer() {
    let house = House::open().await;
    let client = h2();
    let uri = format!("http://{}/open/out", house.addr);
    let request = Request::builder().uri(uri).body(Full::default()).unwrap();
    let mut answer = client.request(request).await.unwrap().into_body();
    house.give.send("first".into()).unwrap();
    assert_eq!(
        answer.frame().await.unwrap().unwrap().into_data().unwrap(),
        "first"
    );
    house.shutdown.cancel();
    house.give.send("last".into()).unwrap();
    drop(house.give);
    assert_eq!(answer.collect().await.unwrap().to_bytes(), "last");
    let cut = tokio::time::timeout(PATIENCE, house.serving)
        .await
        .expect("GOAWAY ends the connection");
    assert_eq!(cut.unwrap(), 0);
}

#[tokio::test]
async fn a_shutdown_cuts_what_runs_beyond_the_deadline() {
    let house = House::with(|limits| limits.drain_timeout = Duration::from_millis(100)).await;
    let mut running = house.connect().await;
    running
        .write_all(b"GET /open/out HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    house.give.send("first".into()).unwrap();
    read_until(&mut running, "first\r\n").await;
    house.shutdown.cancel();
    assert_eq!(house.serving.await.unwrap(), 1);
    assert!(
        !read_to_end(&mut running).await.contains("0\r\n\r\n"),
        "cut, not ended"
    );
}

#[tokio::test]
async fn over_the_connection_limit_a_client_waits_and_is_served_later() {
    let house = House::with(|limits| limits.max_connections = 1).await;
    let mut first = house.connect().await;
    first
        .write_all(b"GET /open/out HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    house.give.send("held".into()).unwrap();
    read_until(&mut first, "held\r\n").await;
    let mut second = house.connect().await;
    second
        .write_all(b"GET /open/echo HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), second.read_u8()).await;
    assert!(early.is_err(), "served beyond the limit");
    drop(first);
    read_until(&mut second, "\r\n\r\n").await;
}

#[tokio::test]
async fn a_route_file_is_live_within_a_second_under_a_running_gateway() {
    let house = House::open().await;
    assert_eq!(status(&house.get("/new", "").await), 404);
    std::fs::write(
        house.data.path().join("new.yaml"),
        "uri: /new\nupstream: http://hms-svc-new\n",
    )
    .unwrap();
    let changed = Instant::now();
    while status(&house.get("/new", "").await) != 200 {
        assert!(changed.elapsed() < Duration::from_secs(1));
    }
}

#[tokio::test]
async fn an_ordinary_service_is_reached_with_streaming_and_its_own_host() {
    let house = House::open().await;
    let service = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = service.local_addr().unwrap().to_string();
    let manifest =
        format!("uri: /legacy/**\nupstream: http://{authority}/base\nstrip-prefix: /legacy\n");
    std::fs::write(house.data.path().join("legacy.yaml"), manifest).unwrap();
    house.gateway.routes.reload();

    let mut client = house.connect().await;
    let head = "POST /legacy/x?y=1 HTTP/1.1\r\nhost: here\r\nauthorization: Bearer own\r\ntransfer-encoding: chunked\r\n\r\n";
    client
        .write_all(format!("{head}5\r\nfirst\r\n").as_bytes())
        .await
        .unwrap();
    let (mut upstream, _) = service.accept().await.unwrap();
    let seen = read_until(&mut upstream, "first\r\n").await;
    assert!(seen.starts_with("POST /base/x?y=1 HTTP/1.1\r\n"), "{seen}");
    assert!(
        seen.contains(&format!("host: {authority}\r\n"))
            && seen.contains("x-forwarded-host: here\r\n")
    );
    assert!(
        seen.contains("authorization: Bearer own\r\n"),
        "a service checks its own tokens"
    );
    upstream
        .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        .await
        .unwrap();
    read_until(&mut client, "one\r\n").await;
    client.write_all(b"0\r\n\r\n").await.unwrap();
    upstream.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.unwrap();
    read_until(&mut client, "two\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn a_service_that_is_gone_is_502_and_one_that_is_slow_504() {
    let house = House::with(|limits| limits.upstream_timeout = Duration::from_millis(100)).await;
    let service = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let manifest = format!(
        "uri: /slow\nupstream: http://{}\n",
        service.local_addr().unwrap()
    );
    std::fs::write(house.data.path().join("slow.yaml"), manifest).unwrap();
    house.gateway.routes.reload();
    assert_eq!(status(&house.get("/slow", "").await), 504);
    drop(service);
    let gone = house.get("/slow", "").await;
    assert!(
        status(&gone) == 502 && gone.contains("upstream-unreachable"),
        "{gone}"
    );
}

/// The access lines of this thread, as JSON. All of a `#[tokio::test]` runs on its own thread.
#[derive(Clone, Default)]
struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// Recording ends when what is returned is dropped. The second dispatch is there because with a single one
    /// `tracing` asks the thread that meets a log statement first whether anybody listens, and caches its no.
    fn record(&self) -> (tracing::subscriber::DefaultGuard, tracing::Dispatch) {
        let spare = tracing::Dispatch::new(tracing_subscriber::fmt().finish());
        let lines = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_writer(move || lines.clone())
            .finish();
        (tracing::subscriber::set_default(subscriber), spare)
    }

    /// The `count`th access line, once it is there.
    async fn line(&self, count: usize) -> serde_json::Value {
        let look = async {
            loop {
                let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
                let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
                let mut access =
                    lines.filter(|line: &serde_json::Value| line["target"] == "access");
                if let Some(mut line) = access.nth(count) {
                    return line["fields"].take();
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, look)
            .await
            .expect("the line is written in time")
    }
}

#[tokio::test]
async fn one_line_a_request_when_its_last_byte_is_out_or_its_client_is_gone() {
    let lines = Lines::default();
    let _recording = lines.record();
    let house = House::open().await;
    let token = house.bearer(&["payments.read"]);
    let answer = house
        .get(
            "/api/v1/payments?secret=1",
            &format!("{token}x-request-id: id-1\r\n"),
        )
        .await;
    let line = lines.line(0).await;
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    for (field, expected) in [
        ("method", "GET".into()),
        ("path", "/api/v1/payments".into()),
        ("route", "payments".into()),
        ("upstream", "payments".into()),
        ("release", 7.into()),
        ("status", 200.into()),
        ("bytes", body.len().into()),
        ("user", "alice".into()),
        ("request_id", "id-1".into()),
        ("error", serde_json::Value::Null),
    ] {
        assert_eq!(line[field], expected, "{field} in {line}");
    }
    assert!(line["duration_ms"].as_f64().unwrap() > 0.0 && !line.to_string().contains("secret"));

    house.get("/nowhere", "").await;
    let line = lines.line(1).await;
    assert_eq!(
        (&line["status"], &line["error"]),
        (&404.into(), &"no-route".into()),
        "{line}"
    );

    let mut stream = house.connect().await;
    stream
        .write_all(b"GET /open/out HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    house.give.send("first".into()).unwrap();
    read_until(&mut stream, "first\r\n").await;
    drop(stream);
    // The gateway notices when it reads or writes next.
    let _ = house.give.send("second".into());
    let line = lines.line(2).await;
    assert_eq!(
        (&line["status"], &line["error"]),
        (&200.into(), &"connection-ended".into()),
        "{line}"
    );
}

#[tokio::test]
async fn requests_are_counted_when_their_last_byte_is_out() {
    let house = House::open().await;
    house.get("/open/echo", "").await;
    house.get("/nowhere", "").await;
    let mut registry = prometheus_client::registry::Registry::default();
    house.gateway.metrics().register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(
        text.contains("gateway_requests_total{route=\"open\",status=\"2xx\"} 1"),
        "{text}"
    );
    assert!(
        text.contains("gateway_refusals_total{code=\"no-route\"} 1"),
        "{text}"
    );
}
