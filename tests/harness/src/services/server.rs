//! An HTTP server that records what it got, and goes wrong on demand.

use super::Authority;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::Value;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// Bytes of one piece of a large answer.
const PIECE_BYTES: usize = 64 * 1024;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    /// With the query.
    pub path: String,
    pub version: Version,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Seen {
    /// The only value of a header; empty where it is missing.
    pub fn header(&self, name: &str) -> &str {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map_or("", |value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} is duplicated");
        value
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What a service answers.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub json: Value,
}

impl Reply {
    pub fn new(status: u16, json: Value) -> Reply {
        let headers = Vec::new();
        Reply {
            status,
            headers,
            json,
        }
    }

    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }
}

/// How the server goes wrong.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// Does the work, and answers so much later.
    Slow(Duration),
    /// Does not do the work, and answers with this status.
    Status(u16),
    /// Does not do the work, and resets the connection (of HTTP/2: the stream).
    Reset,
    /// Does the work, and resets the connection before the answer.
    Lost,
    /// Does the work, and resets the connection amid the answer's body.
    Cut,
    /// Answers with a body of so many bytes.
    Huge(u64),
    /// Answers with a body that does not end.
    Endless,
}

type Work = dyn Fn(&Seen) -> Reply + Send + Sync;
type ReplyBody = BoxBody<Bytes, io::Error>;

struct Shared {
    work: Box<Work>,
    seen: Mutex<Vec<Seen>>,
    /// And for how many requests.
    fault: Mutex<Option<(Fault, usize)>>,
}

/// It ends with the test.
pub struct Server {
    address: SocketAddr,
    tls: bool,
    shared: Arc<Shared>,
    _accepting: AbortOnDropHandle<()>,
}

impl Server {
    /// A server of plain HTTP on 127.0.0.1 that answers by `work`.
    pub async fn start(work: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Server {
        Server::start_with(None, work).await
    }

    /// The same by TLS, for `localhost` and 127.0.0.1, with a certificate of `authority`.
    pub async fn start_with(
        authority: Option<&Authority>,
        work: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Server::start_on(listener, authority, work)
    }

    /// The same on a port that the test has chosen.
    pub fn start_on(
        listener: TcpListener,
        authority: Option<&Authority>,
        work: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Server {
        let address = listener.local_addr().unwrap();
        let acceptor = authority.map(|authority| authority.acceptor(&["localhost", "127.0.0.1"]));
        let tls = acceptor.is_some();
        let shared = Arc::new(Shared {
            work: Box::new(work),
            seen: Mutex::default(),
            fault: Mutex::default(),
        });
        let serving = shared.clone();
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (shared, acceptor) = (serving.clone(), acceptor.clone());
                tokio::spawn(async move {
                    // For a reset: hyper owns the stream.
                    let socket = Arc::new(duplicate(&stream));
                    match acceptor {
                        None => serve(stream, socket, shared).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, socket, shared).await;
                            }
                        }
                    }
                });
            }
        });
        Server {
            address,
            tls,
            shared,
            _accepting: AbortOnDropHandle::new(accepting),
        }
    }

    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Every request so far, in the order of their ends.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The next `times` requests go wrong like this, in place of what was set before.
    pub fn fail(&self, fault: Fault, times: usize) {
        *self.shared.fault.lock().unwrap() = Some((fault, times));
    }

    /// All is well again.
    pub fn recover(&self) {
        *self.shared.fault.lock().unwrap() = None;
    }
}

impl Shared {
    fn next_fault(&self) -> Option<Fault> {
        let mut fault = self.fault.lock().unwrap();
        let (next, left) = (*fault)?;
        *fault = (left > 1).then(|| (next, left - 1));
        Some(next)
    }
}

async fn serve<S>(stream: S, socket: Arc<TcpStream>, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| answer(request, socket.clone(), shared.clone()));
    let builder = auto::Builder::new(TokioExecutor::new());
    // A reset ends it with an error.
    let _ = builder
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    request: Request<Incoming>,
    socket: Arc<TcpStream>,
    shared: Arc<Shared>,
) -> io::Result<Response<ReplyBody>> {
    let (head, body) = request.into_parts();
    // What a client cut off it did not ask.
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let path = head.uri.path_and_query();
    let seen = Seen {
        method: head.method,
        path: path.map_or(String::new(), |path| path.as_str().to_owned()),
        version: head.version,
        headers: head.headers,
        body: body.to_vec(),
    };
    let fault = shared.next_fault();
    shared.seen.lock().unwrap().push(seen.clone());
    let reset = || {
        socket.set_zero_linger().unwrap();
        io::Error::other("as the test wants it")
    };
    match fault {
        Some(Fault::Status(status)) => {
            return Ok(response(status, whole(Bytes::new()), "text/plain"));
        }
        Some(Fault::Reset) => return Err(reset()),
        Some(Fault::Huge(bytes)) => return Ok(large(Some(bytes))),
        Some(Fault::Endless) => return Ok(large(None)),
        Some(Fault::Slow(_) | Fault::Lost | Fault::Cut) | None => {}
    }
    let reply = (shared.work)(&seen);
    let json = Bytes::from(reply.json.to_string());
    match fault {
        Some(Fault::Slow(wait)) => tokio::time::sleep(wait).await,
        Some(Fault::Lost) => return Err(reset()),
        Some(Fault::Cut) => {
            let half = json.slice(..json.len() / 2);
            let pieces = stream::iter([Ok(Frame::data(half)), Err(reset())]);
            let body = BodyExt::boxed(StreamBody::new(pieces));
            return Ok(response(reply.status, body, "application/json"));
        }
        _ => {}
    }
    let mut answer = response(reply.status, whole(json), "application/json");
    for (name, value) in reply.headers {
        answer.headers_mut().append(name, value.parse().unwrap());
    }
    Ok(answer)
}

fn response(status: u16, body: ReplyBody, content_type: &str) -> Response<ReplyBody> {
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header(header::CONTENT_TYPE, content_type)
        .body(body)
        .unwrap()
}

fn whole(bytes: Bytes) -> ReplyBody {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

/// A body of so many bytes, or without an end.
fn large(bytes: Option<u64>) -> Response<ReplyBody> {
    let pieces = stream::unfold(bytes, |left| async move {
        let piece = match left {
            None => PIECE_BYTES,
            Some(left) => usize::try_from(left).unwrap().min(PIECE_BYTES),
        };
        if piece == 0 {
            return None;
        }
        let rest = left.map(|left| left - piece as u64);
        Some((Ok(Frame::data(Bytes::from(vec![b'x'; piece]))), rest))
    });
    let body = BodyExt::boxed(StreamBody::new(pieces));
    response(200, body, "application/octet-stream")
}

/// The same connection: what is set of it holds for both.
fn duplicate(stream: &TcpStream) -> TcpStream {
    let socket = stream.as_fd().try_clone_to_owned().unwrap();
    TcpStream::from_std(socket.into()).unwrap()
}
