//! TLS, and proxies in front, over real sockets.

use super::*;
use hms_net::certificate::Certificate;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Writes a new certificate for `localhost`, and gives it.
fn renew(dir: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    // The key first: between the two they do not match, which must harm nobody.
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    made.cert.der().clone()
}

/// A gateway with TLS, the folder of its certificate, and the certificate.
async fn secure() -> (Fixture, TempDir, CertificateDer<'static>) {
    secure_with(|_| {}).await
}

async fn secure_with(
    change: impl FnOnce(&mut Limits),
) -> (Fixture, TempDir, CertificateDer<'static>) {
    let dir = tempfile::tempdir().unwrap();
    let known = renew(dir.path());
    let certificate = Certificate::load(dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let certificate = certificate.unwrap();
    let fixture = Fixture::configured(|config| {
        config.certificate = Some(certificate);
        config.limits.handshake_timeout = Duration::from_millis(200);
        change(&mut config.limits);
    })
    .await;
    (fixture, dir, known)
}

/// A connection that believes this certificate alone.
async fn shake(
    fixture: &Fixture,
    known: &CertificateDer<'static>,
    protocol: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    shake_over(fixture.connect().await, known, protocol).await
}

async fn shake_over<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    known: &CertificateDer<'static>,
    protocol: &str,
) -> std::io::Result<TlsStream<S>> {
    let mut roots = RootCertStore::empty();
    roots.add(known.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await
}

/// A client on a bad line: it takes 4 KiB every 20 ms.
struct BadLine {
    stream: TcpStream,
    pause: Pin<Box<tokio::time::Sleep>>,
}

impl AsyncRead for BadLine {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        ready!(self.pause.as_mut().poll(cx));
        let mut piece = [0; 4096];
        let room = piece.len().min(buf.remaining());
        let mut piece = ReadBuf::new(&mut piece[..room]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
        buf.put_slice(piece.filled());
        let next = tokio::time::Instant::now() + Duration::from_millis(20);
        self.pause.as_mut().reset(next);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for BadLine {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_on_a_bad_line_is_waited_for_over_tls_with_both_protocols() {
    for protocol in ["http/1.1", "h2"] {
        let (fixture, _dir, known) = secure_with(|limits| {
            limits.handshake_timeout = PATIENCE;
            limits.write_idle_timeout = Duration::from_millis(700);
        })
        .await;
        // Of what the kernel holds for this client a third takes longer than it has.
        for _ in 0..300 {
            fixture.give.send(vec![7; 64 << 10].into()).unwrap();
        }
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        let line = BadLine {
            stream: socket.connect(fixture.addr).await.unwrap(),
            pause: Box::pin(tokio::time::sleep(Duration::ZERO)),
        };
        let stream = TokioIo::new(shake_over(line, &known, protocol).await.unwrap());
        let request = Request::get("https://localhost/open/out").header("host", "localhost");
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let mut body = if protocol == "h2" {
            let mut client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
            client.initial_stream_window_size(1 << 28);
            client.initial_connection_window_size(1 << 28);
            let (mut sender, connection) = client.handshake(stream).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap().into_body()
        } else {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap().into_body()
        };
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(4) {
            let frame = tokio::time::timeout(PATIENCE, body.frame()).await;
            assert!(matches!(frame, Ok(Some(Ok(_)))), "{protocol}: {frame:?}");
        }
    }
}

#[tokio::test]
async fn tls_serves_both_protocols_and_tells_the_window() {
    let (fixture, _dir, known) = secure().await;
    let mut stream = shake(&fixture, &known, "http/1.1").await.unwrap();
    let request = b"GET /open/x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(answer.contains("x-forwarded-proto: https\n"), "{answer}");

    let stream = shake(&fixture, &known, "h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://localhost/open/x")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let said = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&said).contains("x-forwarded-proto: https\n"));
}

#[tokio::test]
async fn new_certificate_is_served_and_a_broken_one_keeps_the_old() {
    let (fixture, dir, first) = secure().await;
    std::fs::write(dir.path().join("cert.pem"), "nonsense").unwrap();
    shake(&fixture, &first, "http/1.1").await.unwrap();
    let second = renew(dir.path());
    let begun = Instant::now();
    while shake(&fixture, &second, "http/1.1").await.is_err() {
        assert!(
            begun.elapsed() < PATIENCE,
            "the new certificate is not live"
        );
        tokio::task::yield_now().await;
    }
    assert!(shake(&fixture, &first, "http/1.1").await.is_err());
}

#[tokio::test]
async fn client_that_speaks_no_tls_is_cut_and_others_are_served() {
    let (fixture, _dir, known) = secure().await;
    let plain = fixture
        .raw("GET /open/x HTTP/1.1\r\nhost: here\r\n\r\n")
        .await;
    assert!(!plain.contains("HTTP/1.1"), "{plain:?}");
    let mut silent = fixture.connect().await;
    assert_eq!(read_to_end(&mut silent).await, "");
    shake(&fixture, &known, "http/1.1").await.unwrap();
}

#[tokio::test]
async fn trusted_proxy_names_the_client() {
    let fixture = Fixture::configured(|config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let named = "x-forwarded-for: 6.6.6.6, 198.51.100.1\r\nx-forwarded-proto: https\r\n";
    let answer = fixture.get("/open/x", named).await;
    assert!(
        answer.contains("x-forwarded-for: 198.51.100.1\n"),
        "{answer}"
    );
    assert!(answer.contains("x-forwarded-proto: https\n"), "{answer}");
    let both = "x-forwarded-for: 198.51.100.1\r\nforwarded: for=198.51.100.2\r\n";
    assert_eq!(status(&fixture.get("/open/x", both).await), 400);
}

#[tokio::test]
async fn non_ascii_byte_forges_no_address_and_keeps_no_hop_by_hop_field() {
    let fixture = Fixture::configured(|config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let only = "uri: /inner/**\nupstream: http://hms-svc-inner\nplugins:\n  - ip-allow: {addresses: [127.0.0.0/8, 10.0.0.0/8]}\n";
    std::fs::write(fixture.data.path().join("inner.yaml"), only).unwrap();
    fixture.gateway.routes.reload();
    let ask = async |path: &str, fields: &[u8]| {
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
        fixture
            .raw([head.as_bytes(), fields, b"\r\n"].concat())
            .await
    };
    // What a client sent, and a proxy wrote behind it.
    let listed = b"x-forwarded-for: \xff, 198.51.100.1\r\n";
    let answer = ask("/open/x", listed).await;
    assert!(
        answer.contains("x-forwarded-for: 198.51.100.1\n"),
        "{answer}"
    );
    assert_eq!(status(&ask("/inner/x", listed).await), 403);
    let both = [&listed[..], b"forwarded: for=10.9.8.7\r\n"].concat();
    assert_eq!(status(&ask("/inner/x", &both).await), 400);
    let own = b"x-forwarded-for: 10.9.8.7, \xff\r\n";
    assert_eq!(status(&ask("/inner/x", own).await), 400);
    let named = b"connection: \xff, x-inner\r\nx-inner: 1\r\nx-outer: \xff\r\n";
    let answer = ask("/open/x", named).await;
    assert!(
        answer.contains("x-outer: ") && !answer.contains("x-inner"),
        "{answer}"
    );
}

#[tokio::test]
async fn proxy_header_names_the_client_and_is_required_from_a_trusted_proxy() {
    let trusting = |net: &'static str| {
        Fixture::configured(move |config| {
            config.trusted_proxies = vec![net.parse().unwrap()];
            config.proxy_protocol = true;
        })
    };
    let request = "GET /open/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let named = format!("PROXY TCP4 198.51.100.1 127.0.0.1 1 2\r\n{request}");
    let fixture = trusting("127.0.0.0/8").await;
    let answer = fixture.raw(&named).await;
    assert!(
        answer.contains("x-forwarded-for: 198.51.100.1\n"),
        "{answer}"
    );
    assert_eq!(fixture.raw(request).await, "");
    // From anybody else it is no request.
    let fixture = trusting("10.0.0.0/8").await;
    assert_eq!(status(&fixture.raw(&named).await), 400);
    assert_eq!(status(&fixture.raw(request).await), 200);
}

#[tokio::test]
async fn route_reaches_a_local_address_only_where_the_operator_allows_it() {
    let fixture = Fixture::configured(|config| config.upstream_allow.clear()).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for (name, host) in [
        ("one", "127.0.0.1"),
        ("two", "localhost"),
        ("three", "[::ffff:127.0.0.1]"),
    ] {
        let text = format!("uri: /{name}/**\nupstream: http://{host}:{port}\n");
        std::fs::write(fixture.data.path().join(format!("{name}.yaml")), text).unwrap();
        fixture.gateway.routes.reload();
        let answer = fixture.get(&format!("/{name}/x"), "").await;
        assert_eq!(status(&answer), 502, "{answer}");
        assert!(
            answer.contains("urn:hms:problem:upstream-refused"),
            "{answer}"
        );
        // What to do about it is for the log.
        assert!(!answer.contains("--upstream-allow"), "{answer}");
        assert!(!answer.contains("127.0.0.1"), "{answer}");
    }
    // Nobody has even knocked.
    let knocked = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(knocked.is_err());
}
