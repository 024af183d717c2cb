//! The certificate files of grants, while they change.

use super::tls::{certificate, https, secure};
use super::*;
use hms_grants::outbound::ClientCert;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

/// Files of a folder as a grant names them.
struct Pems(tempfile::TempDir);

impl Pems {
    fn write(&self, name: &str, text: String) -> std::path::PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }
}

#[tokio::test]
async fn last_good_certificates_are_used_while_their_files_are_away_or_no_pair() {
    let (own, clients) = (certificate("service.example"), certificate("client"));
    let pems = Pems(tempfile::tempdir().unwrap());
    let world = World::new();
    world.names.set("service.example", &["127.0.0.1"]);
    let at = secure(&own, &clients, "h2").await;
    let known = OutboundGrant {
        ca: Some(pems.write("ca.pem", own.cert.pem())),
        client_cert: Some(ClientCert {
            cert: pems.write("cert.pem", clients.cert.pem()),
            key: pems.write("key.pem", clients.signing_key.serialize_pem()),
        }),
        ..https(at)
    };
    let uri = format!("https://service.example:{}/", at.port());
    let is_known = async || {
        world
            .get(&uri)
            .await
            .map(|(_, said)| said.ends_with(" true"))
    };
    world.grant(std::slice::from_ref(&known));
    assert_eq!(is_known().await, Ok(true));
    // A new certificate without its key yet.
    pems.write("cert.pem", certificate("client").cert.pem());
    world.grant(std::slice::from_ref(&known));
    assert_eq!(is_known().await, Ok(true));
    // An edit of the grant while the files are away.
    for name in ["ca.pem", "cert.pem"] {
        std::fs::remove_file(pems.0.path().join(name)).unwrap();
    }
    world.grant(&[OutboundGrant {
        methods: vec![Method::GET],
        ..known.clone()
    }]);
    assert_eq!(is_known().await, Ok(true));
    let log = world.log();
    assert!(
        log.iter().any(|line| line.contains("ca.pem: No such file")),
        "{log:?}"
    );
    // Another authority: what the old one said is no longer believed.
    pems.write("ca.pem", certificate("other").cert.pem());
    world.grant(&[known]);
    let refused = is_known().await;
    assert!(
        matches!(refused, Err(CallError::Certificate(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn unusable_file_holds_no_call_up() {
    let pems = Pems(tempfile::tempdir().unwrap());
    let (world, at) = (World::new(), saying("here").await);
    world.names.set("service.example", &["127.0.0.1"]);
    let uri = format!("https://service.example:{}/", at.port());
    let pipe = std::process::Command::new("mkfifo")
        .arg(pems.0.path().join("pipe"))
        .status();
    assert!(pipe.unwrap().success());
    let large = pems.write("large", "x".repeat((4 << 20) + 1));
    for (file, why) in [
        (pems.0.path().join("pipe"), "pipe is not a file"),
        (large, "large is larger than 4194304 bytes"),
    ] {
        world.grant(&[OutboundGrant {
            ca: Some(file),
            ..https(at)
        }]);
        let failed = world.get(&uri).await;
        assert!(matches!(failed, Err(CallError::Tls(_))), "{failed:?}");
        let log = world.log();
        assert!(log.last().unwrap().ends_with(why), "{log:?}");
    }
}
