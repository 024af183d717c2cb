//! A start that cannot be says what is wrong, where, and what to do.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs `hms serve` in the folder, which has `routes`, and gives what it says before it ends.
fn refused(folder: &Path, args: &[&str]) -> String {
    refused_by(folder, args, &[])
}

/// The same with these variables of the environment.
fn refused_by(folder: &Path, args: &[&str], variables: &[(&str, &str)]) -> String {
    let output = Command::new(hms_harness::hms())
        .envs(variables.iter().copied())
        .args(["serve", "--admin", "127.0.0.1:0", "--routes", "routes"])
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && !said.contains("panicked"),
        "{args:?}: {said}"
    );
    said
}

#[test]
fn startup_error_is_reported_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    fs::create_dir(at("routes")).unwrap();
    for (path, content) in [
        ("secret/dev-secret", &b"\xff\xfe"[..]),
        ("keys/keys.json", b"\xff\xfe"),
        ("records/host.redb", b"garbage"),
        ("issuers.yaml", b"\xff\xfe-\0"),
        (
            "cert.pem",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ),
        (
            "key.pem",
            b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        ),
    ] {
        fs::create_dir_all(at(path).parent().unwrap()).unwrap();
        fs::write(at(path), content).unwrap();
    }
    for data in ["secret", "keys", "records"] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(at(data), mode).unwrap();
    }
    let data = |folder| ["--gateway", "127.0.0.1:0", "--data", folder];
    for (args, more, expected) in [
        (
            data("secret"),
            &[][..],
            &["secret/dev-secret", "remove it"][..],
        ),
        (data("keys"), &[], &["keys/keys.json", "put a good copy"]),
        (
            data("records"),
            &[],
            &[
                "records/host.redb",
                "put a good copy back",
                "their stores stay",
            ],
        ),
        (
            data("data"),
            &["--issuers", "issuers.yaml"],
            &["issuers.yaml", "save it as UTF-8"],
        ),
        (
            data("data"),
            &["--tls-cert", "cert.pem", "--tls-key", "key.pem"],
            &["private key in key.pem is encrypted", "openssl pkey"],
        ),
        (
            data("data"),
            &["--tls-cert", "cert.pem", "--tls-key", "none.pem"],
            &["the private key none.pem"],
        ),
        (
            data("data"),
            &["--windows", "key.pem"],
            &["the windows folder key.pem is not a folder"],
        ),
        (
            data("data"),
            &["--grants", "nowhere"],
            &["the grants folder nowhere does not exist", "--grants"],
        ),
    ] {
        let said = refused(folder.path(), &[&args[..], more].concat());
        for part in expected {
            assert!(said.contains(part), "{args:?} {more:?}: {said}");
        }
    }
    let said = refused(folder.path(), &["--gateway", ":9000"]);
    assert!(
        said.contains("':9000'") && said.contains("127.0.0.1:9000"),
        "{said}"
    );
}

#[test]
fn setting_from_the_environment_is_reported_by_its_variable() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("routes")).unwrap();
    for (variables, args, expected) in [
        (
            &[("HMS_MAX_TOKEN", "99MB")][..],
            &[][..],
            "invalid value '99MB' for 'HMS_MAX_TOKEN <SIZE>': not a size: write a number of bytes, KiB",
        ),
        (
            &[("HMS_MAX_TOKEN", "99MiB")],
            &[],
            "HMS_MAX_TOKEN 99MiB: use 1KiB to 60KiB",
        ),
        (
            &[("HMS_MAX_TOKEN", "32KiB")],
            &["--max-token", "99MB"],
            "invalid value '99MB' for '--max-token <SIZE>'",
        ),
        (
            &[("HMS_JWKS", "k"), ("HMS_OIDC", "https://id.example")],
            &[],
            "'HMS_JWKS <FILE|URL>' cannot be used with 'HMS_OIDC <URL>'",
        ),
        (
            &[("HMS_JWKS", "http://id.example/keys")],
            &[],
            "HMS_JWKS: 'http://id.example/keys' must be https",
        ),
    ] {
        let said = refused_by(folder.path(), args, variables);
        assert!(said.contains(expected), "{variables:?} {args:?}: {said}");
    }
}
