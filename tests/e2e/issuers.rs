//! Several issuers: one `sub` of two of them is two callers, everywhere it counts.

use hms_harness::{Host, Options, eventually, guest, window};
use http::Method;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use std::path::Path;

const PAYMENTS: &str = "uri: /api/v1/payments/**\nupstream: http://hms-svc-payments\n\
                        plugins: [auth, idempotency]\n";
const PROBER: &str = "uri: /prober/**\nupstream: http://hms-svc-prober\nstrip-prefix: /prober\n\
                      plugins:\n  - auth\n  - rate-limit: {limit: 1, window: 600}\n";

/// A key of the tests, and its set in a file.
fn issuer(folder: &Path, name: &str, algorithm: Algorithm) -> EncodingKey {
    let root = hms_harness::root();
    let pem = |file| {
        std::fs::read(
            root.join("host/gateway/src/plugins/auth/testkeys")
                .join(file),
        )
    };
    let key = match algorithm {
        Algorithm::ES256 => EncodingKey::from_ec_pem(&pem("ec.pem").unwrap()),
        _ => EncodingKey::from_ed_pem(&pem("ed.pem").unwrap()),
    }
    .unwrap();
    let set = json!({ "keys": [Jwk::from_encoding_key(&key, algorithm).unwrap()] });
    std::fs::write(folder.join(format!("{name}.json")), set.to_string()).unwrap();
    key
}

fn bearer(name: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let claims = json!({
        "iss": format!("https://{name}.example"),
        "sub": "1001",
        "exp": now.unwrap().as_secs() + 600,
    });
    let token = encode(&Header::new(algorithm), &claims, key).unwrap();
    format!("Bearer {token}")
}

#[tokio::test]
async fn same_sub_from_two_issuers_is_two_callers() {
    let folder = tempfile::tempdir().unwrap();
    let staff = issuer(folder.path(), "staff", Algorithm::EdDSA);
    let citizens = issuer(folder.path(), "citizens", Algorithm::ES256);
    let entry = |name: &str| {
        let jwks = folder.path().join(format!("{name}.json"));
        format!("- {{name: {name}, issuer: 'https://{name}.example', jwks: {jwks:?}}}\n")
    };
    let file = folder.path().join("issuers.yaml");
    std::fs::write(&file, entry("staff") + &entry("citizens")).unwrap();
    let host = Host::start_with(Options {
        args: vec!["--issuers".into(), file.to_str().unwrap().into()],
        routes: vec![
            ("payments.yaml", PAYMENTS.into()),
            ("prober.yaml", PROBER.into()),
        ],
        ..Default::default()
    })
    .await;
    host.deploy("prober", &guest("prober").await).await;
    host.deploy("payments", &window("payments").await).await;
    let staff = bearer("staff", &staff, Algorithm::EdDSA);
    let citizens = bearer("citizens", &citizens, Algorithm::ES256);

    for (bearer, user) in [(&staff, "staff:1001"), (&citizens, "citizens:1001")] {
        let headers = [("authorization", bearer.as_str())];
        let seen = host
            .call(Method::GET, "/prober/headers", &headers, "")
            .await;
        assert_eq!(seen.status, 200, "each has a limit: {}", seen.text());
        assert!(
            seen.text().contains(&format!("\"{user}\"")),
            "{}",
            seen.text()
        );
        let again = host
            .call(Method::GET, "/prober/headers", &headers, "")
            .await;
        assert_eq!(again.status, 429);
        eventually("the user is in the log", || async {
            host.log()
                .contains(&format!("user=\"{user}\""))
                .then_some(())
        })
        .await;
    }
    // One key of idempotency, two payments: each its caller's own.
    let mut ids = Vec::new();
    for bearer in [&staff, &citizens] {
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", "\"one\""),
        ];
        let order = r#"{"amount": 42, "purpose": "fee"}"#;
        let paid = host
            .call(Method::POST, "/api/v1/payments", &headers, order)
            .await;
        assert_eq!(paid.status, 201, "{}", paid.text());
        let again = host
            .call(Method::POST, "/api/v1/payments", &headers, order)
            .await;
        assert_eq!(again.json(), paid.json());
        ids.push(paid.json()["id"].as_str().unwrap().to_owned());
    }
    for (bearer, owner, own, other) in [
        (&staff, "staff:1001", 0, 1),
        (&citizens, "citizens:1001", 1, 0),
    ] {
        let headers = [("authorization", bearer.as_str())];
        let get = async |id: &str| {
            let path = format!("/api/v1/payments/{id}");
            host.call(Method::GET, &path, &headers, "").await
        };
        assert_eq!(get(&ids[own]).await.json()["owner"], owner);
        assert_eq!(get(&ids[other]).await.status, 404);
    }
    // And an API key's user is neither's.
    let made = host
        .admin(Method::POST, "/keys", r#"{"user": "1001"}"#)
        .await;
    let key = made.json()["key"].as_str().unwrap().to_owned();
    let headers = [("x-api-key", key.as_str())];
    let seen = host
        .call(Method::GET, "/prober/headers", &headers, "")
        .await;
    assert!(seen.text().contains("\"key:1001\""), "{}", seen.text());
}
