//! gRPC through the gateway: a service behind a route, by HTTP/2 in the clear and over TLS. And
//! what a TLS service that knows only HTTP/1.1 makes of it.

use bytes::Bytes;
use hms_harness::{Host, Options, PATIENCE};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::channel::{Channel, Sender};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A gRPC message: not compressed, its length, its bytes.
fn message(text: &str) -> Bytes {
    let length = (text.len() as u32).to_be_bytes();
    [&[0], &length[..], text.as_bytes()].concat().into()
}

fn grpc_status(code: &'static str) -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().unwrap(), code.parse().unwrap())])
}

/// `Echo` answers each message with itself as it comes; every other method is UNIMPLEMENTED, which
/// is said in the head. It wants what gRPC asks of a client.
async fn echo(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let known = request.uri().path() == "/test.Echo/Echo";
    let wanted = |name: &str, value: &str| request.headers().get(name).is_some_and(|v| v == value);
    assert_eq!(request.version(), Version::HTTP_2);
    assert!(wanted("te", "trailers") && wanted("content-type", "application/grpc"));
    let response = Response::builder().header("content-type", "application/grpc");
    if !known {
        let mut response = response.body(Empty::new().boxed_unsync()).unwrap();
        response.headers_mut().extend(grpc_status("12"));
        return Ok(response);
    }
    let frames = futures_util::stream::unfold(Some(request.into_body()), |body| async {
        let mut body = body?;
        Some(match body.frame().await {
            Some(Ok(frame)) => (Ok(frame), Some(body)),
            _ => (Ok(Frame::trailers(grpc_status("0"))), None),
        })
    });
    Ok(response
        .body(StreamBody::new(frames).boxed_unsync())
        .unwrap())
}

/// Serves `echo` by HTTP/2, over TLS where there is an acceptor. Its port.
async fn service(acceptor: Option<TlsAcceptor>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let service = service_fn(echo);
                let _ = match acceptor {
                    None => {
                        builder
                            .serve_connection(TokioIo::new(stream), service)
                            .await
                    }
                    Some(acceptor) => {
                        let Ok(stream) = acceptor.accept(stream).await else {
                            return;
                        };
                        builder
                            .serve_connection(TokioIo::new(stream), service)
                            .await
                    }
                };
            });
        }
    });
    port
}

/// TLS for `localhost` with these protocols, and its certificate as PEM.
fn tls(protocols: &[&[u8]]) -> (TlsAcceptor, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::from(key))
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    (TlsAcceptor::from(Arc::new(config)), made.cert.pem())
}

/// A host with one route to `upstream`, which believes these certificates.
async fn host_to(upstream: &str, certificates: &str) -> Host {
    let route = format!("uri: /test.Echo/**\nupstream: {upstream}\n");
    let mut host = Host::start_with(Options {
        args: ["--upstream-allow", "127.0.0.0/8"].map(String::from).into(),
        routes: vec![("echo.yaml", route)],
        up: None,
    })
    .await;
    host.kill();
    let file = host.data().join("ca.pem");
    std::fs::write(&file, certificates).unwrap();
    host.boot_with(&[("SSL_CERT_FILE", file.to_str().unwrap())])
        .await;
    host
}

async fn client(host: &Host) -> SendRequest<Body> {
    let at = host.gateway().trim_start_matches("http://");
    let stream = TokioIo::new(TcpStream::connect(at).await.unwrap());
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = builder.handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn call(host: &Host, method: &str) -> (Sender<Bytes, Infallible>, Request<Body>) {
    let (sender, body) = Channel::new(1);
    let request = Request::post(format!("{}/test.Echo/{method}", host.gateway()))
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .body(body.boxed_unsync());
    (sender, request.unwrap())
}

async fn calls_of_all_kinds(host: &Host) {
    let mut client = client(host).await;

    // Unary.
    let (mut send, request) = call(host, "Echo");
    send.send_data(message("one")).await.unwrap();
    drop(send);
    let answer = client.send_request(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let whole = answer.into_body().collect().await.unwrap();
    assert_eq!(whole.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(whole.to_bytes(), message("one"));

    // Both ways at once, each answer before the next question.
    let (mut send, request) = call(host, "Echo");
    let asked = client.send_request(request);
    send.send_data(message("first")).await.unwrap();
    let mut answer = asked.await.unwrap().into_body();
    for next in ["second", "third"] {
        assert!(answer.frame().await.unwrap().unwrap().is_data());
        send.send_data(message(next)).await.unwrap();
    }
    drop(send);
    let rest = answer.collect().await.unwrap();
    assert_eq!(rest.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(rest.to_bytes(), message("third"));

    // An error without a body.
    let (send, request) = call(host, "Other");
    drop(send);
    let answer = client.send_request(request).await.unwrap();
    assert_eq!(
        (answer.status(), &answer.headers()["grpc-status"]),
        (StatusCode::OK, &"12".parse().unwrap())
    );
}

#[tokio::test]
async fn grpc_works_behind_a_route_in_the_clear_and_over_tls() {
    let (acceptor, certificate) = tls(&[b"h2"]);
    let clear = format!("h2c://127.0.0.1:{}", service(None).await);
    let secure = format!("https://localhost:{}", service(Some(acceptor)).await);
    for upstream in [clear, secure] {
        let host = host_to(&upstream, &certificate).await;
        let calls = tokio::time::timeout(PATIENCE, calls_of_all_kinds(&host));
        calls
            .await
            .unwrap_or_else(|_| panic!("{upstream}: {}", host.log()));
    }
}

#[tokio::test]
async fn tls_service_that_negotiates_http1_is_served_by_it() {
    for protocols in [&[&b"http/1.1"[..]][..], &[]] {
        let (acceptor, certificate) = tls(protocols);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let answer = |request: Request<Incoming>| async move {
                    let host = request.headers()["host"].to_str().unwrap();
                    let said = format!("{:?} for {host}", request.version());
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(said))))
                };
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                tokio::spawn(connection);
            }
        });
        let host = host_to(&format!("https://localhost:{port}"), &certificate).await;
        for _ in 0..3 {
            let answer = host.get("/test.Echo/x").await;
            assert_eq!(answer.text(), format!("HTTP/1.1 for localhost:{port}"));
        }
    }
}
