//! Services that have certificates of their own, and ask for the client's.

use super::*;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::convert::Infallible;
use tokio_rustls::TlsAcceptor;

fn certificate(name: &str) -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed([name.to_owned()]).unwrap()
}

fn pem<'a>(name: &'a str, text: &'a str) -> Pem<'a> {
    let text = text.as_bytes();
    Pem { name, text }
}

/// A service named `localhost` that takes these protocols, and asks for a certificate of `clients`.
/// It says by which protocol it was asked, and whether with a certificate.
async fn service(
    own: &CertifiedKey<KeyPair>,
    alpn: &[&str],
    clients: &CertifiedKey<KeyPair>,
) -> SocketAddr {
    let mut roots = RootCertStore::empty();
    roots.add(clients.cert.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.ok()?;
                let known = stream.get_ref().1.peer_certificates().is_some();
                let answer = service_fn(move |request: Request<Incoming>| {
                    let said = format!("{:?} {known}", request.version());
                    async { Ok::<_, Infallible>(Response::new(body::full(said))) }
                });
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

/// What the service at this port says, or why it does not.
async fn ask(client: &HttpClient, at: SocketAddr) -> Result<String, SendError> {
    let request = get(&format!("https://localhost:{}/", at.port()));
    let (answer, _stream) = client.ask(Protocol::Https, false, request).await?;
    let said = answer.into_body().collect().await.unwrap().to_bytes();
    Ok(String::from_utf8(said.to_vec()).unwrap())
}

#[tokio::test]
async fn certificate_of_an_extra_authority_is_believed_by_the_client_that_has_it_alone() {
    let (own, other) = (certificate("localhost"), certificate("client"));
    let http2 = service(&own, &["h2", "http/1.1"], &other).await;
    let http1 = service(&own, &["http/1.1"], &other).await;
    let roots = Roots::of_system().and(pem("ca.pem", &own.cert.pem()));
    let roots = roots.unwrap();
    let trusting = HttpClient::new(ClientSettings {
        roots,
        ..settings()
    });
    assert_eq!(ask(&trusting, http2).await.unwrap(), "HTTP/2.0 false");
    assert_eq!(ask(&trusting, http1).await.unwrap(), "HTTP/1.1 false");
    let stranger = HttpClient::new(ClientSettings {
        roots: Roots::of_system()
            .and(pem("ca.pem", &other.cert.pem()))
            .unwrap(),
        ..settings()
    });
    for at in [http2, http1] {
        let error = ask(&stranger, at).await.unwrap_err();
        assert!(matches!(error, SendError::Connect(_)), "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
}

#[tokio::test]
async fn client_with_a_certificate_shows_it_by_either_protocol() {
    let (own, clients) = (certificate("localhost"), certificate("client"));
    let key = clients.signing_key.serialize_pem();
    let identity = Identity::from_pem(pem("cert.pem", &clients.cert.pem()), pem("key.pem", &key));
    let client = HttpClient::new(ClientSettings {
        roots: Roots::of_system()
            .and(pem("ca.pem", &own.cert.pem()))
            .unwrap(),
        identity: Some(identity.unwrap()),
        ..settings()
    });
    for (alpn, said) in [("h2", "HTTP/2.0 true"), ("http/1.1", "HTTP/1.1 true")] {
        let at = service(&own, &[alpn], &clients).await;
        assert_eq!(ask(&client, at).await.unwrap(), said);
    }
}

#[test]
fn unusable_certificates_and_keys_are_refused_by_name() {
    let (one, two) = (certificate("one"), certificate("two"));
    let (cert, key) = (one.cert.pem(), two.signing_key.serialize_pem());
    let (cert, key) = (pem("cert.pem", &cert), pem("key.pem", &key));
    for (chain, key, expected) in [
        (cert, key, "cert.pem and key.pem do not match: "),
        (
            key,
            key,
            "key.pem has no certificate (PEM): it has a private key",
        ),
        (
            cert,
            cert,
            "cert.pem has no private key (PEM): it has: CERTIFICATE",
        ),
        (
            pem("none.pem", ""),
            key,
            "none.pem has no certificate (PEM): it is empty",
        ),
    ] {
        let why = Identity::from_pem(chain, key).err().unwrap();
        assert!(why.starts_with(expected), "{why}");
    }
    let why = Roots::of_system().and(key).unwrap_err();
    assert!(why.starts_with("key.pem has no certificate"), "{why}");
}
