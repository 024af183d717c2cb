//! Keys over real sockets, with an upstream that a test plays itself.

mod bounds;
mod keys;

use super::key::{self, Owner, Realm};
use super::ledger::{Ledger, Name};
use super::record::{Record, State};
use crate::plugins::auth::{AuthConfig, DevSecret, KeySource, dev_secret, issue_token};
use crate::plugins::holder::Holder;
use crate::{Gateway, GatewayConfig, Limits};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream;
use hms_core::body::{self, Body, BodyError};
use hms_core::call::{WindowAnswer, WindowCall, Windows};
use hms_core::error::{Problem, RequestError};
use hms_net::listen::bind;
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
    fn call<'a>(&'a self, window: &'a str, call: WindowCall) -> BoxFuture<'a, WindowAnswer> {
        Box::pin(async move {
            let outcome = self.answer(window, call).await;
            WindowAnswer {
                outcome,
                release: Some(7),
                edition: None,
            }
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
        WindowCall { request, next, .. }: WindowCall,
    ) -> Result<Response<Body>, RequestError> {
        if let Some(next) = next {
            return Ok(next.call(request).await);
        }
        let path = request.uri().path().to_owned();
        if path.ends_with("/closed") && self.open.available_permits() == 0 {
            let window = window.to_owned();
            return Err(RequestError::new(Problem::WindowStopped, "stopped").with_cause(window));
        }
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let number = self.payments.fetch_add(1, SeqCst) + 1;
        if path.ends_with("/slow") {
            self.arrived.notify_one();
            self.go_on.acquire().await.unwrap().forget();
        }
        if path.ends_with("/trap") {
            return Err(RequestError::new(Problem::InstanceTrapped, "failed"));
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

struct Fixture {
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

impl Fixture {
    async fn open() -> Fixture {
        Self::with(|_| {}).await
    }

    /// With what `prepare` does to the file of keys.
    async fn with(prepare: impl FnOnce(&Path)) -> Fixture {
        Self::with_limits(prepare, |_| {}).await
    }

    async fn with_limits(prepare: impl FnOnce(&Path), change: impl FnOnce(&mut Limits)) -> Fixture {
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
        Fixture {
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
