//! Calls to real services on this machine.

mod bounds;
mod files;
mod heads;
mod secrets;
mod tls;
mod tries;
mod where_to;

use crate::{Callers, Outbound, OutboundConfig, OutboundMetrics};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hms_core::body::{self, Body};
use hms_core::limits::{Limit, WindowLimits};
use hms_core::outgoing::{CallChain, CallError, OnBehalf, Outgoing, RequestedTimeouts};
use hms_core::trace::Spans;
use hms_grants::{
    AllGrants, Grants, HostPattern, NamedFiles, OutboundGrant, Secret, Secrets, WindowGrants,
};
use hms_net::client::{OwnListeners, Resolve, Roots};
use http::uri::Scheme;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Time for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn on_behalf(window: &str) -> OnBehalf {
    OnBehalf {
        window: window.into(),
        release: 7,
        request_id: Some("req-1".parse().unwrap()),
        traceparent: None,
        user: None,
        scopes: None,
        deadline: None,
        begin_by: None,
        calls: Arc::new(AtomicU32::new(0)),
        chain: CallChain::default(),
        spans: Spans::default(),
    }
}

/// The window `payments`, and what its calls need.
struct World {
    outbound: Outbound,
    grants: Arc<AllGrants>,
    own: OwnListeners,
    metrics: OutboundMetrics,
    names: Arc<Names>,
    window: Arc<CallingWindow>,
}

/// Its limits, and what the host wrote into its log.
#[derive(Default)]
struct CallingWindow {
    limits: Mutex<WindowLimits>,
    log: Mutex<Vec<String>>,
}

impl Callers for CallingWindow {
    fn limits(&self, _: &str) -> WindowLimits {
        *self.limits.lock()
    }

    fn log(&self, window: &str, line: &str) {
        assert_eq!(window, "payments");
        self.log.lock().push(line.to_owned());
    }
}

/// Names with their addresses: each look takes the next answer, and the last one stays.
#[derive(Default)]
struct Names(Mutex<HashMap<String, VecDeque<Vec<SocketAddr>>>>);

impl Names {
    fn set(&self, name: &str, answers: &[&str]) {
        let answers = answers
            .iter()
            .map(|address| vec![format!("{address}:0").parse().unwrap()]);
        self.0.lock().insert(name.into(), answers.collect());
    }
}

impl Resolve for Names {
    fn resolve(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let mut names = self.0.lock();
        let found = names.get_mut(name).and_then(|answers| match answers.len() {
            0 | 1 => answers.front().cloned(),
            _ => answers.pop_front(),
        });
        let unknown = || io::Error::new(io::ErrorKind::NotFound, "no such name");
        std::future::ready(found.ok_or_else(unknown)).boxed()
    }
}

impl World {
    fn new() -> World {
        World::with(Roots::of_system(), 64)
    }

    fn with(roots: Roots, max_at_once: usize) -> World {
        let (grants, window) = (Arc::<AllGrants>::default(), Arc::<CallingWindow>::default());
        let (own, names) = (OwnListeners::default(), Arc::<Names>::default());
        let metrics = OutboundMetrics::default();
        let outbound = Outbound::new(OutboundConfig {
            grants: grants.clone(),
            files: NamedFiles::of("windows"),
            callers: window.clone(),
            own_listeners: own.clone(),
            max_at_once,
            max_connections: 2 * max_at_once,
            metrics: metrics.clone(),
            roots: Some(roots),
            resolver: Some(names.clone()),
        });
        World {
            outbound,
            grants,
            own,
            metrics,
            names,
            window,
        }
    }

    fn grant(&self, outbound: &[OutboundGrant]) {
        self.grant_with(outbound, &[]);
    }

    fn grant_with(&self, outbound: &[OutboundGrant], secrets: &[(&str, &str)]) {
        let secret = |value: &str| Secret::new(value.as_bytes().to_vec());
        let secrets: Secrets = secrets
            .iter()
            .map(|(name, value)| ((*name).to_owned(), secret(value)))
            .collect();
        let grants = Grants {
            outbound: outbound.to_vec(),
            ..Grants::default()
        };
        self.grants.window("payments").store(WindowGrants {
            grants,
            secrets,
            folder: "windows".into(),
            file: "payments.yml".into(),
            ..WindowGrants::default()
        });
    }

    /// Grants another window the same.
    fn grant_also(&self, window: &str) {
        let grants = self.grants.window("payments").current().grants.clone();
        self.grants.window(window).store(WindowGrants {
            grants,
            ..WindowGrants::default()
        });
    }

    fn limit(&self, limit: Limit, value: u64) {
        let mut limits = self.window.limits.lock();
        *limits = limits.at(limit, value);
    }

    async fn call(&self, request: Request<Body>) -> Result<Response<Body>, CallError> {
        self.with_timeouts(request, RequestedTimeouts::default())
            .await
    }

    async fn with_timeouts(
        &self,
        request: Request<Body>,
        requested: RequestedTimeouts,
    ) -> Result<Response<Body>, CallError> {
        let sent = self
            .outbound
            .send(on_behalf("payments"), request, requested);
        tokio::time::timeout(PATIENCE, sent)
            .await
            .expect("it ends in time")
    }

    /// Status and body of the answer to a GET, or why there is none.
    async fn get(&self, uri: impl ToString) -> Result<(u16, String), CallError> {
        whole(self.call(get(uri)).await?).await
    }

    fn log(&self) -> Vec<String> {
        self.window.log.lock().clone()
    }

    fn metrics(&self) -> String {
        let mut registry = prometheus_client::registry::Registry::default();
        self.metrics.register(&mut registry);
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        page
    }

    fn assert_refused(&self, reason: &str, times: u64) {
        let row =
            format!("outgoing_refusals_total{{window=\"payments\",reason=\"{reason}\"}} {times}");
        assert!(self.metrics().contains(&row), "{row}\n{}", self.metrics());
    }
}

fn request(method: Method, uri: impl ToString, body: Body) -> Request<Body> {
    let request = Request::builder().method(method).uri(uri.to_string());
    request.body(body).unwrap()
}

fn get(uri: impl ToString) -> Request<Body> {
    request(Method::GET, uri, body::empty())
}

async fn whole(answer: Response<Body>) -> Result<(u16, String), CallError> {
    let status = answer.status().as_u16();
    match answer.into_body().collect().await {
        Ok(body) => Ok((status, String::from_utf8(body.to_bytes().to_vec()).unwrap())),
        Err(error) => Err(*error.downcast().unwrap()),
    }
}

/// A grant for a service of this machine, in the clear: GET and POST, every path.
fn to(at: SocketAddr) -> OutboundGrant {
    OutboundGrant {
        scheme: Scheme::HTTP,
        host: HostPattern::Exact(at.ip().to_string()),
        port: at.port(),
        methods: vec![Method::GET, Method::POST, Method::PUT],
        private: vec!["127.0.0.0/8".parse().unwrap()],
        ..crate::policy::tests::grant()
    }
}

/// A service that answers so, by HTTP/1.1.
async fn service<F, R>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            let answer = service_fn(move |request| {
                let answering = answer(request);
                async { Ok::<_, Infallible>(answering.await) }
            });
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                builder
                    .serve_connection(TokioIo::new(stream), answer)
                    .await
                    .ok()
            });
        }
    });
    at
}

/// One that says so to everybody.
async fn saying(text: &'static str) -> SocketAddr {
    service(move |_| async move { Response::new(body::full(text)) }).await
}

/// A service whose connections are each given to `serve`.
async fn raw<F, R>(serve: F) -> SocketAddr
where
    F: Fn(usize, TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(number, stream));
        }
    });
    at
}

/// Reads the head of a request.
async fn head(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => read.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(read).unwrap()
}

/// Answers a request on a connection that goes on.
async fn say(stream: &mut TcpStream, answer: &str) {
    stream.write_all(answer.as_bytes()).await.unwrap();
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
