//! Requests by HTTP/2 to services that are given up before their answer: what that says of the
//! connection.

use super::http2_services::{Service, serve, take_and_say};
use super::*;
use crate::routes::manifest::Protocol;
use crate::upstream::client::HttpClient;
use crate::upstream::screen::Screen;
use hms_core::body;
use std::sync::atomic::Ordering;
use tokio::net::TcpListener;
use tokio::time::timeout;

/// A little more than a connection may be silent.
const LONG: Duration = Duration::from_millis(1500);

struct Client {
    http: HttpClient,
    at: SocketAddr,
}

impl Client {
    fn of(at: SocketAddr) -> Client {
        let http = HttpClient::new(PATIENCE, Screen::open());
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
    let (first, _silent) = tokio::join!(client.ask("/x", LONG), take_and_say(&listener, &[]));
    assert_eq!(first, None);
    tokio::spawn(async move { serve(listener.accept().await.unwrap().0, 100).await });
    assert_eq!(client.ask("/x", PATIENCE).await, Some(StatusCode::OK));
}

#[tokio::test]
async fn connection_that_delivers_other_answers_is_reused() {
    let service = Service::start(100).await;
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
    let service = Service::start(100).await;
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
