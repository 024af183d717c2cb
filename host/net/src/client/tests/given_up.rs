//! Requests by HTTP/2 that are given up before their answer: what that says of the connection.

use super::*;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A little more than a connection may be silent.
const LONG: Duration = Duration::from_millis(1500);

/// A service by HTTP/2 in the clear that never answers on `/hang`.
pub(super) struct Service {
    pub(super) addr: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Service {
    pub(super) async fn start() -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = connections.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                accepted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream));
            }
        });
        Service { addr, connections }
    }
}

async fn serve(stream: TcpStream) {
    let answer = service_fn(async move |request: Request<Incoming>| {
        if request.uri().path() == "/hang" {
            std::future::pending::<()>().await;
        }
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(100)
        .serve_connection(TokioIo::new(stream), answer);
    let _ = connection.await;
}

/// Takes a connection, and says nothing on it but its settings.
async fn take(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.write_all(&settings).await.unwrap();
    stream
}

struct Client {
    http: HttpClient,
    at: SocketAddr,
}

impl Client {
    fn of(at: SocketAddr) -> Client {
        let http = HttpClient::new(settings());
        Client { http, at }
    }

    /// The status of the answer, where it comes within `limit`.
    async fn ask(&self, path: &str, limit: Duration) -> Option<StatusCode> {
        let request = Request::post(format!("http://{}{path}", self.at));
        let request = request.body(body::full("hello")).unwrap();
        let asked = timeout(limit, self.http.ask(Protocol::H2c, false, request));
        let (answer, _stream) = asked.await.ok()?.unwrap();
        Some(answer.status())
    }
}

#[tokio::test]
async fn connection_silent_since_its_last_request_is_not_reused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::of(listener.local_addr().unwrap());
    let (first, _silent) = tokio::join!(client.ask("/x", LONG), take(&listener));
    assert_eq!(first, None);
    tokio::spawn(async move { serve(listener.accept().await.unwrap().0).await });
    assert_eq!(client.ask("/x", PATIENCE).await, Some(StatusCode::OK));
}

#[tokio::test]
async fn connection_that_delivers_other_answers_is_reused() {
    let service = Service::start().await;
    let client = Client::of(service.addr);
    let others = async {
        loop {
            assert_eq!(client.ask("/x", PATIENCE).await, Some(StatusCode::OK));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        given_up = client.ask("/hang", LONG) => assert_eq!(given_up, None),
        () = others => {}
    }
    assert_eq!(client.ask("/x", PATIENCE).await, Some(StatusCode::OK));
    assert_eq!(service.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn connection_with_many_abandoned_requests_is_not_reused() {
    let service = Service::start().await;
    let client = Client::of(service.addr);
    assert_eq!(client.ask("/x", PATIENCE).await, Some(StatusCode::OK));
    let mut given_up = 0;
    while service.connections.load(Ordering::Relaxed) == 1 && given_up < 1000 {
        assert_eq!(client.ask("/hang", Duration::from_millis(1)).await, None);
        given_up += 1;
        assert_eq!(client.ask("/x", PATIENCE).await, Some(StatusCode::OK));
    }
    assert_eq!(given_up, 100);
}
