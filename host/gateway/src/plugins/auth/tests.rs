//! Tokens accepted and refused, each by its reason.

use super::jwks::{Ages, Jwks};
use super::keys::{Key, KeySet, Miss};
use super::*;
use crate::request::caller::Caller;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use http::{HeaderMap, Method};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, get_current_timestamp};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;

mod api_keys;
mod challenge;
mod issuers;
mod keys;
mod rotation;

/// In base64url, without padding.
pub(super) fn b64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

const RSA: &str = include_str!("testkeys/rsa.pem");
const EC: &str = include_str!("testkeys/ec.pem");
const EC384: &str = include_str!("testkeys/ec384.pem");
const ED: &str = include_str!("testkeys/ed.pem");

fn signer(algorithm: Algorithm) -> EncodingKey {
    match algorithm {
        Algorithm::ES256 => EncodingKey::from_ec_pem(EC.as_bytes()),
        Algorithm::ES384 => EncodingKey::from_ec_pem(EC384.as_bytes()),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(ED.as_bytes()),
        _ => EncodingKey::from_rsa_pem(RSA.as_bytes()),
    }
    .unwrap()
}

/// The public half, under the name `kid`.
fn jwk(algorithm: Algorithm, kid: &str) -> Value {
    let mut jwk = Jwk::from_encoding_key(&signer(algorithm), algorithm).unwrap();
    jwk.common.key_id = Some(kid.into());
    serde_json::to_value(jwk).unwrap()
}

fn claims(changes: Value) -> Value {
    let mut claims =
        json!({"sub": "alice", "exp": get_current_timestamp() + 60, "scope": "a.read b.write"});
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims
                .as_object_mut()
                .unwrap()
                .insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn sign(algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
    let mut header = Header::new(algorithm);
    header.kid = kid.map(str::to_string);
    jsonwebtoken::encode(&header, claims, &signer(algorithm)).unwrap()
}

/// A token with any header and a correct HS256 signature.
fn forge(secret: &[u8], header: &Value, claims: &Value) -> String {
    forge_text(secret, &header.to_string(), &claims.to_string())
}

fn forge_text(secret: &[u8], header: &str, claims: &str) -> String {
    let message = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
    let key = EncodingKey::from_secret(secret);
    let provider = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
    format!("{message}.{}", provider.unwrap())
}

fn reason(outcome: Result<Caller, AuthError>) -> &'static str {
    match outcome {
        Err(AuthError::Unauthorized {
            reason,
            token_sent: true,
        }) => reason,
        other => panic!("not refused as unauthorized: {other:?}"),
    }
}

fn dev() -> (TempDir, DevSecret, Verifier) {
    let dir = tempfile::tempdir().unwrap();
    let secret = dev_secret::load_or_create(dir.path()).unwrap();
    let verifier = Verifier::new(AuthConfig::new(KeySource::DevSecret(secret.clone())));
    (dir, secret, verifier)
}

/// A JWKS file with these keys.
fn jwks_file(keys: Value) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwks.json");
    fs::write(&path, json!({ "keys": keys }).to_string()).unwrap();
    (dir, path)
}

fn jwks_verifier(keys: Value) -> (TempDir, Verifier) {
    let (dir, path) = jwks_file(keys);
    (
        dir,
        Verifier::new(AuthConfig::new(KeySource::Issuers(vec![
            IssuerConfig::only(JwksSource::File(path)),
        ]))),
    )
}

#[tokio::test]
async fn development_token_names_its_caller() {
    let (_dir, secret, verifier) = dev();
    let scopes = ["payments.write".to_string(), "docs.read".to_string()];
    let token = issue_token(&secret, "alice", &scopes, Duration::from_secs(60)).unwrap();
    let caller = verifier.verify(&token, &[]).await.unwrap();
    assert_eq!(
        caller,
        Caller {
            user: "alice".into(),
            scopes: scopes.to_vec()
        }
    );
}

#[test]
fn development_secret_is_created_once_and_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let first = dev_secret::load_or_create(dir.path()).unwrap();
    let again = dev_secret::load_or_create(dir.path()).unwrap();
    assert_eq!(first.as_bytes(), again.as_bytes());
    let path = dir.path().join(dev_secret::FILE);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "no draft stays"
    );
    fs::write(&path, "short").unwrap();
    assert!(
        dev_secret::load_or_create(dir.path())
            .unwrap_err()
            .to_string()
            .contains("remove it")
    );
}

#[test]
fn user_that_is_no_header_value_gets_no_token() {
    let (_dir, secret, _) = dev();
    for user in ["", " alice", "a\nb", "élise", &"x".repeat(257)] {
        assert!(
            issue_token(&secret, user, &[], Duration::from_secs(60)).is_err(),
            "{user:?}"
        );
    }
    let scopes = ["a b".to_string()];
    assert!(issue_token(&secret, "alice", &scopes, Duration::from_secs(60)).is_err());
}

#[tokio::test]
async fn invalid_claims_are_rejected() {
    let (_dir, secret, verifier) = dev();
    let now = get_current_timestamp();
    let header = json!({"alg": "HS256"});
    for (changes, expected) in [
        (json!({"exp": now - 1}), "the token has expired"),
        (json!({"exp": now}), "the token has expired"),
        (json!({"exp": null}), "the token has no expiry (exp)"),
        (
            json!({"exp": "tomorrow"}),
            "the token's expiry (exp) is not a number",
        ),
        (json!({"exp": -1}), "the token has expired"),
        (
            json!({"nbf": "now"}),
            "the token's start time (nbf) is not a number",
        ),
        (
            json!({"sub": 7}),
            "the token's subject (sub) is not a string",
        ),
        (
            json!({"scope": 7}),
            "the token's scopes are neither a string nor a list of strings",
        ),
        (
            json!({"scope": null, "scp": [7]}),
            "the token's scopes are neither a string nor a list of strings",
        ),
        (json!({"nbf": now + 30}), "the token is not valid yet (nbf)"),
        (json!({"sub": null}), "the token has no subject (sub)"),
        (
            json!({"sub": ""}),
            "the token's subject (sub) cannot be sent as a header",
        ),
        (
            json!({"sub": "a\r\nx-hms-user: b"}),
            "the token's subject (sub) cannot be sent as a header",
        ),
        (
            json!({"sub": "élise"}),
            "the token's subject (sub) cannot be sent as a header",
        ),
        (json!({"scope": "a\tb"}), "the token has an invalid scope"),
        (
            json!({"scope": null, "scp": ["a b"]}),
            "the token has an invalid scope",
        ),
        (
            json!({"scope": "x ".repeat(300)}),
            "the token has too many scopes",
        ),
    ] {
        let token = forge(secret.as_bytes(), &header, &claims(changes.clone()));
        assert_eq!(
            reason(verifier.verify(&token, &[]).await),
            expected,
            "{changes}"
        );
    }
}

#[tokio::test]
async fn scopes_are_read_from_text_or_list() {
    let (_dir, secret, verifier) = dev();
    for (changes, expected) in [
        (json!({"scope": "a  b"}), vec!["a", "b"]),
        (json!({"scope": null, "scp": "a b"}), vec!["a", "b"]),
        (json!({"scope": null, "scp": ["a", "b"]}), vec!["a", "b"]),
        (json!({"scope": null, "scopes": ["a"]}), vec!["a"]),
        (json!({"scope": null}), vec![]),
    ] {
        let token = forge(
            secret.as_bytes(),
            &json!({"alg": "HS256"}),
            &claims(changes),
        );
        assert_eq!(verifier.verify(&token, &[]).await.unwrap().scopes, expected);
    }
}

#[tokio::test]
async fn invalid_token_headers_are_rejected() {
    let (_dir, secret, verifier) = dev();
    for (header, expected) in [
        (
            json!({"alg": "none"}),
            "the token's algorithm is not accepted",
        ),
        (
            json!({"alg": "HS512"}),
            "the token's algorithm is not accepted",
        ),
        (
            json!({"alg": "RS256"}),
            "the token's algorithm is not accepted",
        ),
        (
            json!({"alg": "HS256", "crit": ["x"], "x": 1}),
            "the token has an unsupported critical extension (crit)",
        ),
        (
            json!({"alg": "HS256", "crit": null}),
            "the token has an unsupported critical extension (crit)",
        ),
        (json!({"alg": "HS256", "kid": 7}), "the token is not a JWT"),
        (
            json!({"alg": "HS256", "typ": "dpop+jwt"}),
            "the token's type (typ) is not accepted",
        ),
        (json!({"typ": "JWT"}), "the token is not a JWT"),
    ] {
        let token = forge(secret.as_bytes(), &header, &claims(json!({})));
        assert_eq!(
            reason(verifier.verify(&token, &[]).await),
            expected,
            "{header}"
        );
    }
    let good = forge(
        secret.as_bytes(),
        &json!({"alg": "HS256", "typ": "at+JWT"}),
        &claims(json!({})),
    );
    assert!(verifier.verify(&good, &[]).await.is_ok());
    for broken in ["", "a", "a.b", "a.b.c", "a.b.c.d", "..", &"x".repeat(9000)] {
        assert!(
            matches!(
                verifier.verify(broken, &[]).await,
                Err(AuthError::Unauthorized { .. })
            ),
            "{broken}"
        );
    }
    let other = forge(
        b"another secret",
        &json!({"alg": "HS256"}),
        &claims(json!({})),
    );
    assert_eq!(
        reason(verifier.verify(&other, &[]).await),
        "the token's signature is invalid"
    );
    let unsigned = good.rsplit_once('.').unwrap().0.to_string() + ".";
    assert_eq!(
        reason(verifier.verify(&unsigned, &[]).await),
        "the token's signature is invalid"
    );
}

#[tokio::test]
async fn request_needs_exactly_one_bearer_token() {
    let (_dir, secret, verifier) = dev();
    let token = issue_token(&secret, "alice", &[], Duration::from_secs(60)).unwrap();
    let headers = |values: &[&str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("authorization", value.parse().unwrap());
        }
        headers
    };
    assert!(
        verifier
            .caller(&headers(&[&format!("bearer {token}")]), &Rule::default())
            .await
            .is_ok()
    );
    for (values, sent) in [
        (vec![], false),
        (vec!["Basic YTpi"], false),
        (vec!["Bearer x", "Bearer y"], true),
    ] {
        match verifier.caller(&headers(&values), &Rule::default()).await {
            Err(AuthError::Unauthorized { token_sent, .. }) => {
                assert_eq!(token_sent, sent, "{values:?}")
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn issuer_and_audience_are_required_once_configured() {
    let (_dir, path) = jwks_file(json!([jwk(Algorithm::EdDSA, "d")]));
    let mut issuer = IssuerConfig::only(JwksSource::File(path));
    issuer.issuer = Some("https://id.example".into());
    issuer.audience = vec!["hms".into(), "desk".into()];
    let verifier = Verifier::new(AuthConfig::new(KeySource::Issuers(vec![issuer])));
    for (changes, expected) in [
        (json!({"aud": "hms"}), "the token has no issuer (iss)"),
        (
            json!({"aud": "hms", "iss": "https://evil.example"}),
            "the token's issuer (iss) is not accepted",
        ),
        (
            json!({"iss": "https://id.example"}),
            "the token has no audience (aud)",
        ),
        (
            json!({"iss": "https://id.example", "aud": ["x"]}),
            "the token is for another audience (aud)",
        ),
    ] {
        let token = sign(Algorithm::EdDSA, Some("d"), &claims(changes.clone()));
        assert_eq!(
            reason(verifier.verify(&token, &[]).await),
            expected,
            "{changes}"
        );
    }
    let good = claims(json!({"iss": "https://id.example", "aud": ["x", "desk"]}));
    assert!(
        verifier
            .verify(&sign(Algorithm::EdDSA, Some("d"), &good), &[])
            .await
            .is_ok()
    );
}

#[test]
fn plain_http_keys_are_fetched_from_this_machine_only() {
    assert!(JwksSource::parse("http://id.example/jwks").is_err());
    assert!(JwksSource::parse("http://127.0.0.1.example/jwks").is_err());
    for url in [
        "https://id.example/jwks",
        "http://localhost:8080/jwks",
        "http://[::1]/jwks",
    ] {
        assert!(
            matches!(JwksSource::parse(url), Ok(JwksSource::Url(_))),
            "{url}"
        );
    }
    assert_eq!(
        JwksSource::parse("keys.json"),
        Ok(JwksSource::File("keys.json".into()))
    );
}

#[test]
fn development_secret_is_rejected_beyond_loopback() {
    let (_dir, secret, _) = dev();
    let auth = AuthConfig::new(KeySource::DevSecret(secret));
    let addr = |text: &str| text.parse().unwrap();
    assert!(check_exposure(&[addr("127.0.0.1:9000"), addr("[::1]:9000")], &auth).is_ok());
    for open in ["0.0.0.0:9000", "[::]:9000", "192.0.2.1:9000"] {
        let sentence = check_exposure(&[addr("127.0.0.1:9000"), addr(open)], &auth).unwrap_err();
        assert!(sentence.contains(open), "{sentence}");
    }
    let jwks = AuthConfig::new(KeySource::Issuers(vec![IssuerConfig::only(
        JwksSource::File("keys.json".into()),
    )]));
    assert!(check_exposure(&[addr("0.0.0.0:9000")], &jwks).is_ok());
}

#[test]
fn scope_suffix_decides_which_methods_it_admits() {
    let rule = |scopes: &[&str], all| Rule {
        scopes: scopes.iter().map(|s| s.to_string()).collect(),
        all,
        ..Rule::default()
    };
    let caller = |scopes: &[&str]| Caller {
        user: "alice".into(),
        scopes: scopes.iter().map(|s| s.to_string()).collect(),
    };
    let both = rule(&["p.write", "p.read"], false);
    assert!(both.admit(&caller(&["p.read"]), &Method::GET).is_ok());
    assert!(both.admit(&caller(&["p.read"]), &Method::HEAD).is_ok());
    assert!(both.admit(&caller(&["p.write"]), &Method::DELETE).is_ok());
    match both.admit(&caller(&["p.read"]), &Method::POST) {
        Err(AuthError::Forbidden { needed }) => assert_eq!(needed, "p.write"),
        other => panic!("{other:?}"),
    }
    assert!(both.admit(&caller(&["p.write"]), &Method::GET).is_err());
    assert!(
        both.admit(
            &caller(&["P.READ", "p.reader", "p.read.more"]),
            &Method::GET
        )
        .is_err()
    );
    assert!(
        rule(&["admin"], false)
            .admit(&caller(&["admin"]), &Method::POST)
            .is_ok()
    );
    assert!(matches!(
        rule(&["p.read"], false).admit(&caller(&["p.read"]), &Method::POST),
        Err(AuthError::NoScopeForMethod { .. })
    ));
    let all = rule(&["p.write", "p.read"], true);
    assert!(all.admit(&caller(&["p.read"]), &Method::GET).is_err());
    assert!(
        all.admit(&caller(&["p.read", "p.write"]), &Method::GET)
            .is_ok()
    );
    assert!(Rule::default().admit(&caller(&[]), &Method::POST).is_ok());
}
