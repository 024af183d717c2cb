//! Services by TLS, and by HTTP/2.

use super::secrets::{Lines, granted};
use super::*;
use hms_grants::outbound::ClientCert;
use hms_net::pem::Pem;
use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use tokio_rustls::TlsAcceptor;

pub(super) fn certificate(name: &str) -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed([name.to_owned()]).unwrap()
}

/// A service of this name and with this protocol, that says by which it was asked, on the how
/// manieth connection, and whether with a certificate of `clients`.
pub(super) async fn secure(
    own: &CertifiedKey<KeyPair>,
    clients: &CertifiedKey<KeyPair>,
    alpn: &str,
) -> SocketAddr {
    let mut roots = RootCertStore::empty();
    roots.add(clients.cert.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    raw(move |number, stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let known = stream.get_ref().1.peer_certificates().is_some();
            let answer = service_fn(move |request: Request<Incoming>| {
                let said = format!("{:?} {number} {known}", request.version());
                let silent = request.uri().path() == "/silent";
                async move {
                    if silent {
                        std::future::pending::<()>().await;
                    }
                    Ok::<_, Infallible>(Response::new(body::full(said)))
                }
            });
            let builder = auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), answer).await;
        }
    })
    .await
}

pub(super) fn https(at: SocketAddr) -> OutboundGrant {
    OutboundGrant {
        scheme: Scheme::HTTPS,
        host: HostPattern::Exact("service.example".into()),
        ..to(at)
    }
}

#[tokio::test]
async fn service_of_an_own_authority_is_believed_by_its_grant_and_by_no_other() {
    let (own, clients) = (certificate("service.example"), certificate("client"));
    let world = World::new();
    world.names.set("service.example", &["127.0.0.1"]);
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, own.cert.pem()).unwrap();
    for (alpn, version) in [("h2", "HTTP/2.0"), ("http/1.1", "HTTP/1.1")] {
        let at = secure(&own, &clients, alpn).await;
        let uri = format!("https://service.example:{}/", at.port());
        let trusting = OutboundGrant {
            ca: Some(ca.clone()),
            paths: vec!["/".into()],
            ..https(at)
        };
        world.grant(&[trusting, https(at)]);
        let said = world.get(&uri).await.unwrap().1;
        assert!(said.starts_with(version), "{said}");
        // The same service by the other grant: its connection is not the first one's.
        let refused = world.get(format!("{uri}other")).await;
        assert!(
            matches!(refused, Err(CallError::Certificate(_))),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn connection_with_a_certificate_is_not_used_by_a_grant_without_it() {
    let (own, clients) = (certificate("service.example"), certificate("client"));
    let pem = own.cert.pem();
    let roots = Roots::of_system().and(Pem {
        name: "ca.pem",
        text: pem.as_bytes(),
    });
    let world = World::with(roots.unwrap(), 64);
    world.names.set("service.example", &["127.0.0.1"]);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    };
    let identity = ClientCert {
        cert: file("cert.pem", clients.cert.pem()),
        key: file("key.pem", clients.signing_key.serialize_pem()),
    };
    for alpn in ["h2", "http/1.1"] {
        let at = secure(&own, &clients, alpn).await;
        let known = OutboundGrant {
            client_cert: Some(identity.clone()),
            paths: vec!["/known".into()],
            ..https(at)
        };
        world.grant(&[known, https(at)]);
        let said = async |path: &str| {
            let uri = format!("https://service.example:{}/{path}", at.port());
            world.get(uri).await.unwrap().1
        };
        let first = said("known").await;
        assert!(first.ends_with(" true"), "{first}");
        assert!(said("other").await.ends_with(" false"));
        // And it is used again by its own.
        assert_eq!(said("known").await, first);
    }
    // A key that others can read is not used.
    std::fs::set_permissions(&identity.key, Permissions::from_mode(0o640)).unwrap();
    let at = secure(&own, &clients, "h2").await;
    let world = World::new();
    world.names.set("service.example", &["127.0.0.1"]);
    world.grant(&[OutboundGrant {
        ca: Some(file("ca.pem", pem)),
        client_cert: Some(identity),
        ..https(at)
    }]);
    let uri = format!("https://service.example:{}/", at.port());
    assert!(world.get(uri).await.is_err());
}

#[tokio::test]
async fn unusable_files_are_named_in_the_log_of_the_window() {
    let world = World::new();
    let at = saying("here").await;
    world.names.set("service.example", &["127.0.0.1"]);
    world.grant(&[OutboundGrant {
        ca: Some("missing.pem".into()),
        ..https(at)
    }]);
    let failed = world
        .get(format!("https://service.example:{}/", at.port()))
        .await;
    assert!(matches!(failed, Err(CallError::Tls(_))), "{failed:?}");
    let log = world.log();
    assert!(
        log[0].contains("windows/missing.pem: No such file"),
        "{log:?}"
    );
}

#[tokio::test]
async fn secret_is_in_no_log_of_http2_and_a_late_answer_is_told_as_that() {
    let lines = Lines::default();
    let _recording = lines.record();
    let (own, clients) = (certificate("service.example"), certificate("client"));
    let pem = own.cert.pem();
    let roots = Roots::of_system().and(Pem {
        name: "ca.pem",
        text: pem.as_bytes(),
    });
    let world = World::with(roots.unwrap(), 64);
    world.names.set("service.example", &["127.0.0.1"]);
    let at = secure(&own, &clients, "h2").await;
    let grant = OutboundGrant {
        scheme: Scheme::HTTPS,
        host: HostPattern::Exact("service.example".into()),
        ..granted(at)
    };
    world.grant_with(&[grant], &[("card-key", "sk_live_9f4b2")]);
    let uri = format!("https://service.example:{}", at.port());
    assert_eq!(world.get(&uri).await.unwrap().1, "HTTP/2.0 0 false");
    let requested = RequestedTimeouts {
        connect: Some(PATIENCE),
        first_byte: Some(Duration::from_millis(60)),
        ..RequestedTimeouts::default()
    };
    let late = world
        .with_timeouts(get(format!("{uri}/silent")), requested)
        .await;
    assert_eq!(late.err(), Some(CallError::ResponseTimeout));
    let logged = lines.text();
    assert!(logged.contains("\"target\":\"h2::"), "{logged}");
    assert!(!logged.contains("9f4b2"), "{logged}");
}

#[tokio::test]
async fn connection_that_nobody_waits_for_any_more_is_ended() {
    let own = certificate("service.example");
    let pem = own.cert.pem();
    let roots = Roots::of_system().and(Pem {
        name: "ca.pem",
        text: pem.as_bytes(),
    });
    let world = World::with(roots.unwrap(), 64);
    world.names.set("service.example", &["127.0.0.1"]);
    let ended = Arc::new(tokio::sync::Semaphore::new(0));
    let told = ended.clone();
    // Says nothing, so that TLS hangs.
    let at = raw(move |_, mut stream| {
        let told = told.clone();
        async move {
            while stream.read_u8().await.is_ok() {}
            told.add_permits(1);
        }
    })
    .await;
    world.grant(&[https(at)]);
    let requested = RequestedTimeouts {
        connect: Some(Duration::from_millis(100)),
        ..RequestedTimeouts::default()
    };
    let uri = format!("https://service.example:{}/", at.port());
    let late = world.with_timeouts(get(uri), requested).await;
    assert_eq!(late.err(), Some(CallError::ConnectTimeout));
    let ended = tokio::time::timeout(PATIENCE / 4, ended.acquire()).await;
    assert!(ended.is_ok(), "the connection is still open");
}
