//! TLS, and proxies in front, over real sockets.

use super::*;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Writes a new certificate for `localhost`, and gives it.
fn renew(dir: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    // The key first: between the two they are no pair, which must harm nobody.
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    made.cert.der().clone()
}

/// A gateway with TLS, the folder of its certificate, and the certificate.
async fn secure() -> (House, TempDir, CertificateDer<'static>) {
    let dir = tempfile::tempdir().unwrap();
    let known = renew(dir.path());
    let certificate = Certificate::load(dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let certificate = certificate.unwrap();
    let house = House::configured(|config| {
        config.certificate = Some(certificate);
        config.limits.handshake_timeout = Duration::from_millis(200);
    })
    .await;
    (house, dir, known)
}

/// A connection that believes this certificate alone.
async fn shake(
    house: &House,
    known: &CertificateDer<'static>,
    protocol: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
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
    connector.connect(name, house.connect().await).await
}

#[tokio::test]
async fn over_tls_http_1_and_http_2_are_served_and_the_window_learns_of_it() {
    let (house, _dir, known) = secure().await;
    let mut stream = shake(&house, &known, "http/1.1").await.unwrap();
    let request = b"GET /open/x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(answer.contains("x-forwarded-proto: https\n"), "{answer}");

    let stream = shake(&house, &known, "h2").await.unwrap();
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
async fn a_new_certificate_is_served_and_a_broken_one_leaves_the_old() {
    let (house, dir, first) = secure().await;
    std::fs::write(dir.path().join("cert.pem"), "nonsense").unwrap();
    shake(&house, &first, "http/1.1").await.unwrap();
    let second = renew(dir.path());
    let begun = Instant::now();
    while shake(&house, &second, "http/1.1").await.is_err() {
        assert!(
            begun.elapsed() < PATIENCE,
            "the new certificate is not live"
        );
        tokio::task::yield_now().await;
    }
    assert!(shake(&house, &first, "http/1.1").await.is_err());
}

#[tokio::test]
async fn who_speaks_no_tls_or_nothing_at_all_is_cut_and_others_are_served() {
    let (house, _dir, known) = secure().await;
    let plain = house
        .raw("GET /open/x HTTP/1.1\r\nhost: here\r\n\r\n")
        .await;
    assert!(!plain.contains("HTTP/1.1"), "{plain:?}");
    let mut silent = house.connect().await;
    assert_eq!(read_to_end(&mut silent).await, "");
    shake(&house, &known, "http/1.1").await.unwrap();
}

#[test]
fn files_that_are_no_pair_are_refused_by_name() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    renew(one.path());
    renew(two.path());
    let load = |cert: &Path, key: &Path| {
        Certificate::load(cert.to_path_buf(), key.to_path_buf()).unwrap_err()
    };
    let (cert, key) = (one.path().join("cert.pem"), two.path().join("key.pem"));
    assert!(load(&cert, &key).contains("are no pair"));
    assert!(load(&cert, &cert).contains("has no private key"));
    assert!(load(&key, &key).contains("has no certificate"));
    assert!(load(Path::new("/not/there"), &key).contains("/not/there"));
}

#[tokio::test]
async fn the_client_of_a_trusted_proxy_is_whom_the_proxy_names() {
    let house = House::configured(|config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let named = "x-forwarded-for: 6.6.6.6, 198.51.100.1\r\nx-forwarded-proto: https\r\n";
    let answer = house.get("/open/x", named).await;
    assert!(
        answer.contains("x-forwarded-for: 198.51.100.1\n"),
        "{answer}"
    );
    assert!(answer.contains("x-forwarded-proto: https\n"), "{answer}");
    let both = "x-forwarded-for: 198.51.100.1\r\nforwarded: for=198.51.100.2\r\n";
    assert_eq!(status(&house.get("/open/x", both).await), 400);
}

#[tokio::test]
async fn a_byte_beyond_ascii_forges_no_address_and_keeps_no_field_that_ends_here() {
    let house = House::configured(|config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let only = "uri: /inner/**\nupstream: http://hms-svc-inner\nplugins:\n  - ip-allow: {addresses: [127.0.0.0/8, 10.0.0.0/8]}\n";
    std::fs::write(house.data.path().join("inner.yaml"), only).unwrap();
    house.gateway.routes.reload();
    let ask = async |path: &str, fields: &[u8]| {
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
        house.raw([head.as_bytes(), fields, b"\r\n"].concat()).await
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
async fn a_proxy_header_names_the_client_where_the_proxy_is_trusted_and_is_needed_there() {
    let trusting = |net: &'static str| {
        House::configured(move |config| {
            config.trusted_proxies = vec![net.parse().unwrap()];
            config.proxy_protocol = true;
        })
    };
    let request = "GET /open/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let named = format!("PROXY TCP4 198.51.100.1 127.0.0.1 1 2\r\n{request}");
    let house = trusting("127.0.0.0/8").await;
    let answer = house.raw(&named).await;
    assert!(
        answer.contains("x-forwarded-for: 198.51.100.1\n"),
        "{answer}"
    );
    assert_eq!(house.raw(request).await, "");
    // From anybody else it is no request.
    let house = trusting("10.0.0.0/8").await;
    assert_eq!(status(&house.raw(&named).await), 400);
    assert_eq!(status(&house.raw(request).await), 200);
}

#[tokio::test]
async fn a_route_leads_to_no_address_of_this_machine_unless_the_operator_allows_it() {
    let house = House::configured(|config| config.upstream_allow.clear()).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for (name, host) in [
        ("one", "127.0.0.1"),
        ("two", "localhost"),
        ("three", "[::ffff:127.0.0.1]"),
    ] {
        let text = format!("uri: /{name}/**\nupstream: http://{host}:{port}\n");
        std::fs::write(house.data.path().join(format!("{name}.yaml")), text).unwrap();
        house.gateway.routes.reload();
        let answer = house.get(&format!("/{name}/x"), "").await;
        assert_eq!(status(&answer), 502, "{answer}");
        assert!(
            answer.contains("urn:hms:problem:upstream-refused"),
            "{answer}"
        );
        assert!(answer.contains("--upstream-allow"), "{answer}");
    }
    // Nobody has even knocked.
    let knocked = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(knocked.is_err());
}
