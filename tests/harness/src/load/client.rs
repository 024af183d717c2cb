//! The connections. None of them sends a request twice: what fails once has failed.

use super::ask::{Ask, Way, What};
use super::result::Failure;
use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, Uri};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::time::Duration;
use tokio::net::TcpStream;

type Upload = UnsyncBoxBody<Bytes, Infallible>;

/// How long an idle connection is kept: less than the host does (30 s), so that none is closed by
/// the host while a request is on its way, which HTTP/1.1 has no way to tell from a failure.
const IDLE: Duration = Duration::from_secs(10);

/// HTTP/2 connections, each of which takes 100 requests at once.
const HTTP2_CONNECTIONS: usize = 4;

/// A connection of each kind.
pub(super) struct Clients {
    base: String,
    kept: Client<HttpConnector, Upload>,
    http2: Vec<Client<HttpConnector, Upload>>,
}

impl Clients {
    pub(super) fn new(base: &str) -> Self {
        let client = |http2: bool| {
            let mut connector = HttpConnector::new();
            connector.set_nodelay(true);
            Client::builder(TokioExecutor::new())
                .retry_canceled_requests(false)
                .set_host(true)
                .http2_only(http2)
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .build(connector)
        };
        Clients {
            base: base.to_owned(),
            kept: client(false),
            http2: (0..HTTP2_CONNECTIONS).map(|_| client(true)).collect(),
        }
    }

    /// Sends `ask` and gives the answer once its head is there.
    pub(super) async fn send(&self, ask: &Ask) -> Result<Response<Incoming>, Failure> {
        let url: Uri = format!("{}{}", self.base, ask.path()).parse().unwrap();
        let request = Request::builder().method(ask.method());
        match ask.way {
            Way::KeepAlive => {
                let request = request.uri(url).body(upload(ask)).unwrap();
                self.kept.request(request).await.map_err(Failure::no_head)
            }
            Way::Http2 => {
                let client = &self.http2[ask.turn as usize % HTTP2_CONNECTIONS];
                let request = request.uri(url).body(upload(ask)).unwrap();
                client.request(request).await.map_err(Failure::no_head)
            }
            Way::Fresh => {
                let authority = url.authority().unwrap().as_str();
                let request = request
                    .uri(url.path_and_query().unwrap().as_str())
                    .header("host", authority)
                    .body(upload(ask))
                    .unwrap();
                let stream = TcpStream::connect(authority)
                    .await
                    .map_err(Failure::connect)?;
                stream.set_nodelay(true).map_err(Failure::connect)?;
                let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
                    .await
                    .map_err(Failure::no_head)?;
                // Ends when the sender is dropped and the answer's body read.
                tokio::spawn(connection);
                sender.send_request(request).await.map_err(Failure::no_head)
            }
        }
    }
}

fn upload(ask: &Ask) -> Upload {
    let What::Echo { pieces, ms, .. } = ask.what else {
        return Empty::new().boxed_unsync();
    };
    let ask = ask.clone();
    let pieces = stream::unfold(0, move |piece| {
        let ask = ask.clone();
        async move {
            if piece == pieces {
                return None;
            }
            if ms > 0 {
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
            let frame = Frame::data(Bytes::from(ask.upload(piece)));
            Some((Ok(frame), piece + 1))
        }
    });
    StreamBody::new(pieces).boxed_unsync()
}
