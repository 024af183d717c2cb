use super::*;

/// Writes a new certificate and its key into a folder.
fn renew(dir: &Path) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
}

#[test]
fn mismatched_certificate_files_are_rejected_by_name() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    renew(one.path());
    renew(two.path());
    let load = |cert: &Path, key: &Path| {
        Certificate::load(cert.to_path_buf(), key.to_path_buf()).unwrap_err()
    };
    let (cert, key) = (one.path().join("cert.pem"), two.path().join("key.pem"));
    assert!(load(&cert, &key).contains("do not match"));
    assert!(load(&cert, &cert).contains("has no private key"));
    assert!(load(&key, &key).contains("has no certificate"));
    assert!(load(&key, &cert).contains("swapped"));
    assert!(load(Path::new("/not/there"), &key).contains("/not/there"));
}

#[test]
fn encrypted_key_error_explains_how_to_decrypt_it() {
    let dir = tempfile::tempdir().unwrap();
    renew(dir.path());
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let plain = std::fs::read_to_string(&key).unwrap();
    let pkcs8 = plain.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let openssl = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n\
                   AAAA\n-----END RSA PRIVATE KEY-----\n";
    for encrypted in [&pkcs8, openssl] {
        std::fs::write(&key, encrypted).unwrap();
        let why = Certificate::load(cert.clone(), key.clone()).unwrap_err();
        let named = format!("the private key in {} is encrypted", key.display());
        assert!(
            why.starts_with(&named) && why.contains("openssl pkey -in"),
            "{why}"
        );
    }
    for (content, expected) in [
        (&b""[..], "it is empty"),
        (b"\x30\x82\x01", "binary"),
        (
            b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
            "it has: PUBLIC KEY",
        ),
    ] {
        std::fs::write(&key, content).unwrap();
        let why = Certificate::load(cert.clone(), key.clone()).unwrap_err();
        assert!(
            why.contains("has no private key (PEM)") && why.contains(expected),
            "{why}"
        );
    }
    std::fs::write(&key, format!("\u{feff}{plain}")).unwrap();
    Certificate::load(cert, key).unwrap();
}

#[test]
fn unreadable_certificate_files_keep_the_certificate_and_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    renew(dir.path());
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let certificate = Certificate::load(cert, key.clone()).unwrap();
    let refused = Gauge::default();
    certificate.reload(&refused);
    assert_eq!(refused.get(), 0);
    let away = dir.path().join("away");
    for round in 0..2 {
        std::fs::rename(&key, &away).unwrap();
        certificate.reload(&refused);
        assert_eq!(refused.get(), 1, "{round}");
        std::fs::rename(&away, &key).unwrap();
        certificate.reload(&refused);
        assert_eq!(refused.get(), 0, "{round}");
    }
}
