//! Routes to services that speak HTTP/2, which are played here.

use super::*;
use futures_util::{StreamExt, stream};
use hms_core::body::{self, BodyError};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;

/// A service by HTTP/2 in the clear that takes `most` requests at once on a connection. Its answer,
/// after all of the request but on `/stream`, is what it was sent, with trailers.
pub(super) struct Service {
    pub(super) addr: SocketAddr,
    pub(super) connections: Arc<AtomicUsize>,
}

impl Service {
    pub(super) async fn start(most: u32) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = connections.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                accepted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, most));
            }
        });
        Service { addr, connections }
    }
}

pub(super) async fn serve(stream: TcpStream, most: u32) {
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(most)
        .serve_connection(TokioIo::new(stream), service_fn(answer));
    let _ = connection.await;
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let status = || HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
    let answer = match parts.uri.path() {
        "/stream" => {
            let frames = stream::unfold(Some(body), move |body| async move {
                let mut body = body?;
                Some(match body.frame().await {
                    Some(frame) => (Ok::<_, BodyError>(frame.unwrap()), Some(body)),
                    None => (Ok(Frame::trailers(status())), None),
                })
            });
            StreamBody::new(frames).boxed_unsync()
        }
        // With the second piece that it is sent.
        "/broken" => {
            let reset = || BodyError::from(h2::Error::from(h2::Reason::ENHANCE_YOUR_CALM));
            let pieces = body.into_data_stream().enumerate();
            let frames = pieces.map(move |(number, _)| match number {
                0 => Ok(Frame::data(Bytes::from("a part"))),
                _ => Err(reset()),
            });
            StreamBody::new(frames).boxed_unsync()
        }
        "/hang" => std::future::pending().await,
        "/only-trailers" => {
            let mut response = Response::new(body::empty());
            *response.headers_mut() = status();
            return Ok(response);
        }
        _ => {
            let sent = body.collect().await.unwrap().to_bytes();
            let mut said = format!("{} {} {:?}\n", parts.method, parts.uri, parts.version);
            for (name, value) in &parts.headers {
                said += &format!("{name}: {}\n", value.to_str().unwrap());
            }
            said += std::str::from_utf8(&sent).unwrap();
            let frames = stream::iter([
                Ok(Frame::data(Bytes::from(said))),
                Ok::<_, BodyError>(Frame::trailers(status())),
            ]);
            StreamBody::new(frames).boxed_unsync()
        }
    };
    Ok(Response::new(answer))
}

async fn fixture_to(addr: SocketAddr, more: &str) -> Fixture {
    let fixture = Fixture::open().await;
    add(
        &fixture,
        "grpc",
        &format!("uri: /grpc/**\nstrip-prefix: /grpc\nupstream: h2c://{addr}\n{more}"),
    );
    fixture
}

fn add(fixture: &Fixture, name: &str, text: &str) {
    std::fs::write(fixture.data.path().join(format!("{name}.yaml")), text).unwrap();
    fixture.gateway.routes.reload();
    let faults = fixture.gateway.routes.get(name).unwrap().0.faults;
    assert!(faults.is_empty(), "{faults:?}");
}

type H2Client = Client<hyper_util::client::legacy::connect::HttpConnector, Body>;

fn client() -> H2Client {
    Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http()
}

fn post(fixture: &Fixture, path: &str, body: Body) -> Request<Body> {
    let request = Request::post(format!("http://{}{path}", fixture.addr));
    request.header("te", "trailers").body(body).unwrap()
}

#[tokio::test]
async fn http2_service_is_reached_and_its_trailers_reach_the_client() {
    let service = Service::start(100).await;
    let fixture = fixture_to(service.addr, "").await;
    let answer = client()
        .request(post(&fixture, "/grpc/a.B/C?x=1", body::full("hello")))
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let whole = answer.into_body().collect().await.unwrap();
    assert_eq!(whole.trailers().unwrap()["grpc-status"], "0");
    let said = String::from_utf8(whole.to_bytes().to_vec()).unwrap();
    let asked = format!("POST http://{}/a.B/C?x=1 HTTP/2.0\n", service.addr);
    assert!(
        said.starts_with(&asked) && said.ends_with("\nhello"),
        "{said}"
    );
    assert!(
        said.contains("te: trailers\n") && !said.contains("\nhost: "),
        "{said}"
    );

    // A client of HTTP/1.1 has its answer too, and says nothing of trailers.
    let answer = fixture.get("/grpc/x", "").await;
    assert!(
        answer.contains(" HTTP/2.0\n") && !answer.contains("\nte: "),
        "{answer}"
    );
    let only = client()
        .request(post(&fixture, "/grpc/only-trailers", body::empty()))
        .await
        .unwrap();
    assert!(only.headers()["grpc-status"] == "0" && only.body().is_end_stream());
    assert_eq!(service.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn http2_service_can_be_shown_the_host_of_the_client() {
    let service = Service::start(100).await;
    let fixture = fixture_to(service.addr, "host: pass\n").await;
    let answer = fixture.get("/grpc/x", "").await;
    assert!(answer.contains("GET http://here/x HTTP/2.0\n"), "{answer}");
}

#[tokio::test]
async fn both_directions_stream_at_once_and_a_full_connection_gets_a_second() {
    let service = Service::start(2).await;
    let fixture = fixture_to(service.addr, "").await;
    let client = client();
    let mut streams = Vec::new();
    for number in 0..5 {
        let (mut send, body) = http_body_util::channel::Channel::<Bytes, BodyError>::new(1);
        let asked = client.request(post(&fixture, "/grpc/stream", body.boxed_unsync()));
        let first = format!("first of {number}");
        send.send_data(first.clone().into()).await.unwrap();
        let answer = tokio::time::timeout(PATIENCE, asked)
            .await
            .expect("it has a place");
        let mut answer = answer.unwrap().into_body();
        assert_eq!(
            answer.frame().await.unwrap().unwrap().into_data().unwrap(),
            first
        );
        streams.push((send, answer));
    }
    assert_eq!(service.connections.load(Ordering::Relaxed), 3);
    for (mut send, mut answer) in streams {
        send.send_data("last".into()).await.unwrap();
        assert_eq!(
            answer.frame().await.unwrap().unwrap().into_data().unwrap(),
            "last"
        );
        drop(send);
        let trailers = answer
            .frame()
            .await
            .unwrap()
            .unwrap()
            .into_trailers()
            .unwrap();
        assert_eq!(trailers["grpc-status"], "0");
    }
}

#[tokio::test]
async fn concurrent_requests_share_a_connection() {
    let service = Service::start(100).await;
    let fixture = fixture_to(service.addr, "").await;
    let asking = (0..20).map(|_| fixture.get("/grpc/x", ""));
    for answer in futures_util::future::join_all(asking).await {
        assert_eq!(status(&answer), 200);
    }
    assert_eq!(service.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn reset_by_the_service_reaches_the_client_with_its_reason() {
    let service = Service::start(100).await;
    let fixture = fixture_to(service.addr, "").await;
    let (mut send, body) = http_body_util::channel::Channel::<Bytes, BodyError>::new(1);
    let asked = client().request(post(&fixture, "/grpc/broken", body.boxed_unsync()));
    send.send_data("one".into()).await.unwrap();
    let mut answer = asked.await.unwrap().into_body();
    answer.frame().await.unwrap().unwrap();
    send.send_data("two".into()).await.unwrap();
    let error = answer.frame().await.unwrap().unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    let reset = source.downcast_ref::<h2::Error>().unwrap();
    assert_eq!(reset.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn client_that_leaves_cancels_the_stream_at_the_service() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fixture = fixture_to(listener.local_addr().unwrap(), "").await;
    let (send, body) = http_body_util::channel::Channel::<Bytes, BodyError>::new(1);
    let asking = tokio::spawn(client().request(post(&fixture, "/grpc/x", body.boxed_unsync())));
    let (stream, _) = listener.accept().await.unwrap();
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let (mut request, mut respond) = connection.accept().await.unwrap().unwrap();
    let driving = tokio::spawn(async move { connection.accept().await.is_none() });
    asking.abort();
    drop(send);
    let left = std::future::poll_fn(|cx| respond.poll_reset(cx));
    let reason = tokio::time::timeout(PATIENCE, left)
        .await
        .expect("it is told");
    assert_eq!(reason.unwrap(), h2::Reason::CANCEL);
    assert!(
        request
            .body_mut()
            .data()
            .await
            .is_none_or(|data| data.is_err())
    );
    driving.abort();
}

/// A frame as it is on the wire.
fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, 0], &stream.to_be_bytes(), payload].concat()
}

const DATA: u8 = 0;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// Takes a connection, reads up to the first piece of a request's body, and says `last`.
pub(super) async fn take_and_say(listener: &TcpListener, last: &[u8]) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.write_all(&frame(SETTINGS, 0, &[])).await.unwrap();
    stream.read_exact(&mut [0; 24]).await.unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream
            .read_exact(&mut vec![0; length as usize])
            .await
            .unwrap();
        if head[3] == DATA {
            break;
        }
    }
    stream.write_all(last).await.unwrap();
    stream
}

#[tokio::test]
async fn request_refused_unprocessed_is_resent_whole() {
    let no_error = [0, 0, 0, 0, 0, 0, 0, 0];
    let went_away = frame(GOAWAY, 0, &no_error);
    let overloaded = frame(GOAWAY, 0, &[0, 0, 0, 0, 0, 0, 0, 11]);
    let refused = frame(RST_STREAM, 1, &[0, 0, 0, 7]);
    for said in [went_away, overloaded, refused] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fixture = fixture_to(listener.local_addr().unwrap(), "").await;
        let body = body::full("hello");
        let asking = tokio::spawn(client().request(post(&fixture, "/grpc/x", body)));
        let mut first = take_and_say(&listener, &said).await;
        // On the same connection, where that goes on, or another.
        let again = async {
            tokio::select! {
                accepted = listener.accept() => serve(accepted.unwrap().0, 100).await,
                answered = answer_raw(&mut first) => answered,
            }
        };
        let answer = async { asking.await.unwrap().unwrap().into_body().collect().await };
        let whole = tokio::select! {
            whole = answer => whole.unwrap(),
            () = again => panic!("the service ended first"),
            () = tokio::time::sleep(PATIENCE) => panic!("no answer after {said:?}"),
        };
        let whole = String::from_utf8(whole.to_bytes().to_vec()).unwrap();
        assert!(whole.ends_with("hello"), "{whole}");
    }
}

/// Answers stream 3 of a connection as it stands: status 200, and a body.
async fn answer_raw(stream: &mut TcpStream) {
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return std::future::pending().await;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == DATA && head[8] == 3 {
            // HPACK's entry 8 is `:status: 200`; flags: END_HEADERS, END_STREAM.
            let mut headers = frame(1, 3, &[0x88]);
            headers[4] = 4;
            let mut data = frame(DATA, 3, &payload);
            data[4] = 1;
            stream.write_all(&[headers, data].concat()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn request_the_service_may_have_processed_is_not_resent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fixture = fixture_to(listener.local_addr().unwrap(), "").await;
    for said in [
        // The request was the last that it looked at, and the connection ends.
        frame(GOAWAY, 0, &[0, 0, 0, 1, 0, 0, 0, 0]),
        frame(RST_STREAM, 1, &[0, 0, 0, 2]),
        Vec::new(),
    ] {
        let asking = tokio::spawn(client().request(post(&fixture, "/grpc/x", body::full("hello"))));
        let stream = take_and_say(&listener, &said).await;
        drop(stream);
        let answer = tokio::time::timeout(PATIENCE, asking)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            answer.unwrap().status(),
            StatusCode::BAD_GATEWAY,
            "{said:?}"
        );
        let second = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
        assert!(second.is_err(), "{said:?}");
    }
}

#[tokio::test]
async fn target_whose_connections_end_by_goaway_stays_healthy() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let other = Service::start(100).await;
    let fixture = Fixture::open().await;
    let targets = format!("targets: [\"h2c://{at}\", \"h2c://{}\"]", other.addr);
    let text = format!("uri: /svc/**\nupstream:\n  {targets}\n  max-fails: 1\n");
    add(&fixture, "svc", &text);
    let went_away = frame(GOAWAY, 0, &[0; 8]);
    let going = tokio::spawn(async move {
        loop {
            take_and_say(&listener, &went_away).await;
        }
    });
    for _ in 0..6 {
        let answer = client()
            .request(post(&fixture, "/svc/x", body::full("hello")))
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
    let table = fixture.gateway.routes.table();
    let RouteMatch::Route(route) = table.find(None, &Method::POST, "/svc/x") else {
        panic!("no route")
    };
    assert_eq!(route.upstream_state.health(0).unwrap().failures(), 0);
    going.abort();
}

#[tokio::test]
async fn service_without_http2_is_502_and_the_log_hints_at_the_cause() {
    let lines = access_log::Lines::default();
    let _recording = lines.record();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fixture = fixture_to(listener.local_addr().unwrap(), "").await;
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let said = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
            let _ = stream.write_all(said).await;
        }
    });
    let answer = fixture.get("/grpc/x", "").await;
    assert!(
        status(&answer) == 502 && answer.contains("upstream-unreachable"),
        "{answer}"
    );
    let line = lines.line(0).await;
    let cause = line["cause"].as_str().unwrap_or_default();
    let hints = cause
        .matches("perhaps it does not speak HTTP/2 in the clear")
        .count();
    assert_eq!(hints, 1, "{line}");
}

#[tokio::test]
async fn expect_100_continue_is_answered_once_the_service_is_reachable() {
    let service = Service::start(100).await;
    let fixture = fixture_to(service.addr, "").await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = gone.local_addr().unwrap();
    drop(gone);
    add(
        &fixture,
        "gone",
        &format!("uri: /gone\nupstream: h2c://{at}\n"),
    );
    let ask = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n"
        )
    };
    let mut client = fixture.connect().await;
    client.write_all(ask("/grpc/x").as_bytes()).await.unwrap();
    read_until(&mut client, "HTTP/1.1 100 Continue\r\n\r\n").await;
    client.write_all(b"hello").await.unwrap();
    let answer = read_to_end(&mut client).await;
    assert!(
        answer.contains("HTTP/2.0") && answer.contains("hello"),
        "{answer}"
    );
    assert!(!answer.contains("\nexpect:"), "{answer}");

    let mut client = fixture.connect().await;
    client.write_all(ask("/gone").as_bytes()).await.unwrap();
    let answer = read_to_end(&mut client).await;
    assert!(
        status(&answer) == 502 && !answer.contains("100 Continue"),
        "{answer}"
    );
}

#[tokio::test]
async fn request_to_an_http2_service_is_not_upgraded() {
    let service = Service::start(100).await;
    let fixture = fixture_to(service.addr, "").await;
    let upgrade = "GET /grpc/x HTTP/1.1\r\nhost: x\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let answer = fixture.raw(upgrade).await;
    assert!(
        status(&answer) == 200 && answer.contains("HTTP/2.0"),
        "{answer}"
    );
    assert!(
        !answer.contains("\nupgrade:") && !answer.contains("\nconnection: upgrade"),
        "{answer}"
    );
}
