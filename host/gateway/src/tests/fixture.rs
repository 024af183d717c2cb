//! A gateway under test, its windows played by the test, and what speaks to it as bytes.

use super::*;
use futures_util::future::BoxFuture;
use futures_util::stream;
use hms_core::body::{self, BodyError};
use hms_core::call::{Edition, WindowAnswer, WindowCall, Windows};
use hms_core::error::Problem;
use hms_net::listen::bind;
use http::HeaderName;
use http_body::Frame;
use http_body_util::StreamBody;
use hyper_util::client::legacy::Client;
use plugins::auth::{AuthConfig, DevSecret, KeySource, dev_secret, issue_token};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tempfile::TempDir;
use tokio::sync::Mutex;

/// The end of a test that hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What the guest said stays private.
fn no_response(cause: String) -> RequestError {
    RequestError::new(Problem::NoResponse, "no response").with_cause(cause)
}

/// A window that says what it was sent, on the path `/echo`; its lane on `/lane`; streams its
/// request to the test on `/in`; streams what the test gives on `/out`; and misbehaves on other
/// paths.
pub(super) struct FakeWindows {
    arrived: mpsc::UnboundedSender<Bytes>,
    given: Mutex<Option<mpsc::UnboundedReceiver<Bytes>>>,
    edition: Arc<AtomicU64>,
}

impl Windows for FakeWindows {
    fn call<'a>(&'a self, window: &'a str, call: WindowCall) -> BoxFuture<'a, WindowAnswer> {
        Box::pin(async move {
            let edition = self.edition(window);
            WindowAnswer {
                outcome: self.answer(window, call).await,
                release: Some(7),
                edition,
            }
        })
    }

    fn edition(&self, _: &str) -> Option<Edition> {
        let release = self.edition.load(Relaxed);
        (release > 0).then_some(Edition { release, grants: 0 })
    }
}

impl FakeWindows {
    async fn answer(&self, window: &str, call: WindowCall) -> Result<Response<Body>, RequestError> {
        let (parts, mut body) = call.request.into_parts();
        if let Some(next) = call.next {
            return Ok(self.pass_on(next, parts).await);
        }
        let response = match parts.uri.path() {
            "/in" => {
                while let Some(frame) = body.frame().await {
                    let frame = frame.map_err(|error| no_response(error.to_string()))?;
                    let _ = self.arrived.send(match frame.into_trailers() {
                        Ok(trailers) => {
                            format!("trailers {:?}", trailers.keys().collect::<Vec<_>>()).into()
                        }
                        Err(frame) => frame.into_data().unwrap_or_default(),
                    });
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
                let lane = hms_net::lanes::current();
                Response::new(body::full(format!("lane {lane}!")))
            }
            "/answer" => chosen(parts.uri.query().unwrap_or_default()),
            "/broken" => return Err(no_response("secret words of a guest".into())),
            // It keeps the body, and never looks at it.
            "/asleep" => std::future::pending().await,
            "/panic" => panic!("a window's host code panics"),
            "/closed" => {
                let stopped = RequestError::new(Problem::WindowStopped, "the window is stopped");
                return Err(stopped.with_cause(format!("window '{window}'")));
            }
            _ => {
                let mut said = format!("{} {} {window}\n", parts.method, parts.uri);
                for (name, value) in &parts.headers {
                    let value = String::from_utf8_lossy(value.as_bytes());
                    said += &format!("{name}: {value}\n");
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

impl FakeWindows {
    /// As a middleware: answers at once, and passes on what the test gives it, one request a piece,
    /// each with a body and trailers. Its answer is the status of each.
    async fn pass_on(
        &self,
        next: hms_core::next::Next,
        parts: http::request::Parts,
    ) -> Response<Body> {
        let given = self.given.lock().await.take().unwrap();
        let frames = stream::unfold(
            (given, next, parts),
            |(mut given, next, parts)| async move {
                let data = given.recv().await?;
                let claim = [
                    (headers::USER, "root".parse().unwrap()),
                    ("x-sum".parse().unwrap(), "1".parse().unwrap()),
                ];
                let body = stream::iter([
                    Ok::<_, BodyError>(Frame::data(data)),
                    Ok(Frame::trailers(HeaderMap::from_iter(claim))),
                ]);
                let body = StreamBody::new(body).boxed_unsync();
                let answered = next.call(Request::from_parts(parts.clone(), body)).await;
                let said = Bytes::from(format!("{};", answered.status().as_u16()));
                Some((Ok::<_, BodyError>(Frame::data(said)), (given, next, parts)))
            },
        );
        Response::new(StreamBody::new(frames).boxed_unsync())
    }
}

/// The answer that the query describes.
fn chosen(query: &str) -> Response<Body> {
    let said: std::collections::HashMap<_, _> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .collect();
    let body = said["body"].to_string();
    let trailers = [
        "x-checksum",
        "x-hms-user",
        "content-length",
        "set-cookie",
        "connection",
    ];
    let trailers = trailers.map(|name| (name.parse().unwrap(), "1".parse().unwrap()));
    let frames = [
        Some(Frame::data(body.clone().into())),
        said.contains_key("trailers")
            .then(|| Frame::trailers(HeaderMap::from_iter(trailers))),
    ];
    let streamed = said.contains_key("streamed") || said.contains_key("trailers");
    let mut response = Response::new(match streamed {
        true => {
            let frames = frames.into_iter().flatten().map(Ok::<_, BodyError>);
            StreamBody::new(stream::iter(frames)).boxed_unsync()
        }
        false => body::full(body),
    });
    *response.status_mut() = said["status"].parse().unwrap();
    for length in said
        .get("length")
        .into_iter()
        .flat_map(|text| text.split(','))
    {
        let length = length.parse().unwrap();
        response.headers_mut().append("content-length", length);
    }
    let fields = said.get("fields").copied().unwrap_or_default().split('|');
    for (name, value) in fields.filter_map(|field| field.split_once(':')) {
        let name: HeaderName = name.parse().unwrap();
        response.headers_mut().append(name, value.parse().unwrap());
    }
    response
}

/// A running gateway.
pub(super) struct Fixture {
    pub(super) addr: SocketAddr,
    pub(super) data: TempDir,
    pub(super) secret: DevSecret,
    pub(super) gateway: Arc<Gateway>,
    pub(super) shutdown: CancellationToken,
    pub(super) serving: JoinHandle<usize>,
    pub(super) arrived: mpsc::UnboundedReceiver<Bytes>,
    pub(super) give: mpsc::UnboundedSender<Bytes>,
    /// That of all windows; 0 for none.
    pub(super) edition: Arc<AtomicU64>,
}

pub(super) const OPEN: &str =
    "uri: /open/**\nupstream: http://hms-svc-open:8080\nstrip-prefix: /open\n";
pub(super) const PAYMENTS: &str = include_str!("../../../../tests/manifests/good/chapter.yaml");

impl Fixture {
    pub(super) async fn open() -> Fixture {
        Self::with(|_| {}).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut Limits)) -> Fixture {
        Self::configured(|config| change(&mut config.limits)).await
    }

    pub(super) async fn configured(change: impl FnOnce(&mut GatewayConfig)) -> Fixture {
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
            edition: Arc::new(AtomicU64::new(1)),
        };
        let edition = windows.edition.clone();
        let gateway = Gateway::new(config, Arc::new(windows));
        let listeners = bind("127.0.0.1:0".parse().unwrap(), "--gateway")
            .await
            .unwrap();
        let addr = listeners[0].local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(gateway.clone().serve(listeners, shutdown.clone()));
        Fixture {
            addr,
            data,
            secret,
            gateway,
            shutdown,
            serving,
            arrived,
            give,
            edition,
        }
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// Sends bytes as they are, and reads until the gateway closes.
    pub(super) async fn raw(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_ref()).await.unwrap();
        read_to_end(&mut stream).await
    }

    /// GET with these header lines, on a connection of its own.
    pub(super) async fn get(&self, path: &str, headers: &str) -> String {
        self.raw(&format!(
            "GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n{headers}\r\n"
        ))
        .await
    }

    /// Asks for `/out` on a connection of its own, gives the answer its first piece and reads up to
    /// there.
    pub(super) async fn begin_answer(&self, piece: &'static str) -> TcpStream {
        let mut stream = self.connect().await;
        stream
            .write_all(b"GET /open/out HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        self.give.send(piece.into()).unwrap();
        read_until(&mut stream, &format!("{piece}\r\n")).await;
        stream
    }

    /// What the gateway counts, as the admin API exports it.
    pub(super) fn metrics(&self) -> String {
        let mut registry = prometheus_client::registry::Registry::default();
        self.gateway.metrics().register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    /// The value of one sample; 0 until there is one.
    pub(super) fn counted(&self, sample: &str) -> u64 {
        let metrics = self.metrics();
        let value = |line: &str| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok();
        metrics.lines().find_map(value).unwrap_or(0)
    }

    pub(super) fn bearer(&self, scopes: &[&str]) -> String {
        let scopes: Vec<_> = scopes.iter().map(|scope| scope.to_string()).collect();
        let token = issue_token(&self.secret, "alice", &scopes, Duration::from_secs(60)).unwrap();
        format!("authorization: Bearer {token}\r\n")
    }
}

/// Waits until `condition` holds.
pub(super) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "it did not happen: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(super) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    let _ = read.expect("the gateway closes in time");
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(super) async fn read_until(stream: &mut TcpStream, end: &str) -> String {
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

pub(super) async fn next<T>(receiver: &mut mpsc::UnboundedReceiver<T>) -> T {
    tokio::time::timeout(PATIENCE, receiver.recv())
        .await
        .expect("it arrives in time")
        .unwrap()
}

pub(super) fn status(response: &str) -> u16 {
    response
        .get(9..12)
        .and_then(|code| code.parse().ok())
        .unwrap_or_else(|| panic!("{response:?}"))
}

/// A client that speaks HTTP/2 from the first byte.
pub(super) fn h2() -> Client<hyper_util::client::legacy::connect::HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http()
}
