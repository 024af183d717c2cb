//! Who asks is what the token or the key says, and nothing else.

use hms_harness::http::raw;
use hms_harness::{Host, Options, eventually, guest};
use http::Method;

const ROUTE: &str = "uri: /api/v1/prober/**\nupstream: http://hms-svc-prober\nstrip-prefix: /api/v1/prober\nplugins: [auth]\n";

async fn office() -> Host {
    let host = Host::start_with(Options {
        routes: vec![
            ("prober.yaml", ROUTE.into()),
            (
                "open.yaml",
                "uri: /open/**\nupstream: http://hms-svc-prober\nstrip-prefix: /open\n".into(),
            ),
        ],
        ..Default::default()
    })
    .await;
    host.deploy("prober", &guest("prober").await).await;
    host
}

#[tokio::test]
async fn spoofed_identity_reaches_no_window_however_it_is_spelt() {
    let host = office().await;
    let token = host.token("alice", &["x"]);
    for name in [
        "x-hms-user",
        "X-HMS-User",
        "x_hms_user",
        "X-Hms_User",
        "x.hms.user",
        "x-hms-scopes",
        "X_HMS_SCOPES",
        "x-hms-window",
        "X_HMS_Window",
    ] {
        for (path, with_token) in [("/api/v1/prober/headers", true), ("/open/headers", false)] {
            let auth = if with_token {
                format!("Authorization: Bearer {token}\r\n")
            } else {
                String::new()
            };
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: h\r\n{auth}{name}: mallory\r\n{name}: mallory\r\nConnection: close, {name}\r\n\r\n"
            );
            let answer = raw(host.gateway(), request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{name}: {answer}");
            assert!(!answer.contains("mallory"), "{name} on {path}: {answer}");
            assert_eq!(
                answer.contains("alice"),
                with_token,
                "{name} on {path}: {answer}"
            );
        }
    }
}

#[tokio::test]
async fn window_sees_the_caller_and_never_the_token() {
    let host = office().await;
    let token = host.token("alice", &["payments.read", "x"]);
    let bearer = format!("Bearer {token}");
    let seen = host
        .call(
            Method::GET,
            "/api/v1/prober/headers",
            &[("authorization", &bearer)],
            "",
        )
        .await;
    let text = seen.text();
    let headers = seen.json();
    let find = |name: &str| headers.to_string().contains(name);
    assert!(
        find("\"alice\"") && find("payments.read x") && find("traceparent") && find("x-request-id"),
        "{text}"
    );
    assert!(!text.contains(&token), "{text}");
    assert_eq!(seen.header("x-request-id").len(), 36);
}

#[tokio::test]
async fn request_without_a_valid_token_does_not_pass_auth() {
    let host = office().await;
    let path = "/api/v1/prober/headers";
    let bare = host.get(path).await;
    assert_eq!(
        (bare.status.as_u16(), bare.problem().as_str()),
        (401, "unauthorized")
    );
    assert!(bare.header("www-authenticate").starts_with("Bearer"));

    let good = host.token("alice", &[]);
    let mut forged = good.clone().into_bytes();
    let last = forged.len() - 2;
    forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSIsImV4cCI6OTk5OTk5OTk5OX0.";
    for (token, why) in [
        (forged.as_str(), "signature"),
        (none, "alg none"),
        ("", "empty"),
        ("a.b", "no JWT"),
    ] {
        let refused = host
            .call(
                Method::GET,
                path,
                &[("authorization", &format!("Bearer {token}"))],
                "",
            )
            .await;
        assert_eq!(refused.status, 401, "{why}: {}", refused.text());
    }
    let good = format!("Bearer {good}");
    assert_eq!(
        host.call(Method::GET, path, &[("authorization", &good)], "")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn jwks_tokens_are_accepted_and_development_tokens_rejected_with_a_jwks() {
    use jsonwebtoken::jwk::Jwk;
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    let root = hms_harness::root();
    let pem = |name: &str| {
        std::fs::read(
            root.join("host/gateway/src/plugins/auth/testkeys")
                .join(name),
        )
        .unwrap()
    };
    let rsa = EncodingKey::from_rsa_pem(&pem("rsa.pem")).unwrap();
    let ec = EncodingKey::from_ec_pem(&pem("ec.pem")).unwrap();
    let ed = EncodingKey::from_ed_pem(&pem("ed.pem")).unwrap();
    let public = |key: &EncodingKey, algorithm, id: &str| {
        let mut jwk = Jwk::from_encoding_key(key, algorithm).unwrap();
        jwk.common.key_id = Some(id.into());
        jwk
    };
    let set = serde_json::json!({ "keys": [
        public(&rsa, Algorithm::RS256, "rsa"),
        public(&ec, Algorithm::ES256, "ec"),
        public(&ed, Algorithm::EdDSA, "ed"),
    ] });
    let folder = tempfile::tempdir().unwrap();
    let jwks = folder.path().join("jwks.json");
    std::fs::write(&jwks, set.to_string()).unwrap();
    let host = Host::start_with(Options {
        routes: vec![("prober.yaml", ROUTE.into())],
        args: [
            "--jwks",
            jwks.to_str().unwrap(),
            "--issuer",
            "https://iam.example",
            "--audience",
            "office",
        ]
        .map(str::to_owned)
        .to_vec(),
        ..Default::default()
    })
    .await;
    host.deploy("prober", &guest("prober").await).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let expires = now.unwrap().as_secs() + 600;
    let sign = |algorithm, id: &str, key: &EncodingKey, issuer: &str| {
        let claims =
            serde_json::json!({ "sub": "carol", "iss": issuer, "aud": "office", "exp": expires });
        let mut header = Header::new(algorithm);
        header.kid = Some(id.into());
        format!("Bearer {}", encode(&header, &claims, key).unwrap())
    };
    let path = "/api/v1/prober/headers";
    for (algorithm, id, key) in [
        (Algorithm::RS256, "rsa", &rsa),
        (Algorithm::ES256, "ec", &ec),
        (Algorithm::EdDSA, "ed", &ed),
    ] {
        let bearer = sign(algorithm, id, key, "https://iam.example");
        let seen = host
            .call(Method::GET, path, &[("authorization", &bearer)], "")
            .await;
        assert_eq!(seen.status, 200, "{algorithm:?}: {}", seen.text());
        assert!(seen.text().contains("carol"));
    }
    let elsewhere = sign(Algorithm::RS256, "rsa", &rsa, "https://elsewhere.example");
    let dev = format!("Bearer {}", host.token("mallory", &[]));
    for (bearer, why) in [
        (elsewhere, "another issuer"),
        (dev, "the development secret"),
    ] {
        let refused = host
            .call(Method::GET, path, &[("authorization", &bearer)], "")
            .await;
        assert_eq!(refused.status, 401, "{why}");
    }
}

#[tokio::test]
async fn keys_published_by_an_oidc_provider_verify_its_tokens() {
    use jsonwebtoken::jwk::Jwk;
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let root = hms_harness::root();
    let pem = root.join("host/gateway/src/plugins/auth/testkeys/ec384.pem");
    let key = EncodingKey::from_ec_pem(&std::fs::read(pem).unwrap()).unwrap();
    let public = Jwk::from_encoding_key(&key, Algorithm::ES384).unwrap();

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let said = serde_json::json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") });
    let keys = serde_json::json!({ "keys": [public] });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 2048];
            let read = stream.read(&mut request).await.unwrap_or(0);
            let body = match request[..read].starts_with(b"GET /.well-known/openid-configuration ")
            {
                true => said.to_string(),
                false => keys.to_string(),
            };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });

    let host = Host::start_with(Options {
        routes: vec![("prober.yaml", ROUTE.into())],
        args: vec!["--oidc".into(), issuer.clone()],
        ..Default::default()
    })
    .await;
    host.deploy("prober", &guest("prober").await).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let expires = now.unwrap().as_secs() + 600;
    for (iss, status) in [(issuer.as_str(), 200), ("https://elsewhere.example", 401)] {
        let claims = serde_json::json!({ "sub": "carol", "iss": iss, "exp": expires });
        let token = encode(&Header::new(Algorithm::ES384), &claims, &key).unwrap();
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let path = "/api/v1/prober/headers";
        let seen = host.call(Method::GET, path, &headers, "").await;
        assert_eq!(seen.status, status, "{iss}: {}", seen.text());
    }
}

#[tokio::test]
async fn api_key_is_created_shown_once_and_revoked_on_the_command_line() {
    let host = office().await;
    let run = async |verb: &str, args: &[&str]| {
        let output = host.cli_of("key", verb, args).await;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{verb}: {stderr}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let key = run("add", &["robot", "--scope", "a.read", "--expires", "30d"]).await;
    assert!(
        key.starts_with("hms_") && !key.contains(char::is_whitespace),
        "{key}"
    );
    let path = "/api/v1/prober/headers";
    let headers = [("x-api-key", key.as_str())];
    let seen = host.call(Method::GET, path, &headers, "").await;
    assert_eq!(seen.status, 200, "{}", seen.text());
    assert!(seen.text().contains("robot") && seen.text().contains("a.read"));
    assert!(!seen.text().contains(&key), "{}", seen.text());

    let listed: serde_json::Value = serde_json::from_str(&run("list", &["--json"]).await).unwrap();
    let [listed] = listed["keys"].as_array().unwrap().as_slice() else {
        panic!("{listed}");
    };
    assert_eq!(listed["user"], "robot");
    let secret = key.rsplit_once(listed["id"].as_str().unwrap()).unwrap().1;
    assert!(!listed.to_string().contains(secret), "{listed}");

    run("revoke", &[listed["id"].as_str().unwrap()]).await;
    let refused = host.call(Method::GET, path, &headers, "").await;
    assert_eq!(refused.status, 401, "{}", refused.text());
    let bad = host.admin(
        Method::POST,
        "/keys",
        r#"{"user": "a", "expires_in": "1d"}"#,
    );
    assert_eq!(bad.await.status, 400);
    let gone = host.admin(Method::DELETE, "/keys/nothing", "").await;
    assert_eq!(
        (gone.status.as_u16(), gone.problem().as_str()),
        (404, "no-such-key")
    );
}

#[tokio::test]
async fn development_secret_is_rejected_beyond_loopback() {
    let data = tempfile::tempdir().unwrap();
    let routes = tempfile::tempdir().unwrap();
    let output = tokio::process::Command::new(hms_harness::hms())
        .args([
            "serve",
            "--gateway",
            "0.0.0.0:0",
            "--admin",
            "127.0.0.1:0",
            "--data",
        ])
        .arg(data.path())
        .arg("--routes")
        .arg(routes.path())
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("--jwks"), "{message}");
}

#[tokio::test]
async fn each_request_is_one_log_line_with_what_matters() {
    let host = office().await;
    let bearer = format!("Bearer {}", host.token("alice", &[]));
    let path = "/api/v1/prober/status?code=418";
    let headers = [
        ("authorization", bearer.as_str()),
        ("x-request-id", "quoted-by-alice"),
    ];
    assert_eq!(host.call(Method::GET, path, &headers, "").await.status, 418);
    let line = eventually("the request is logged", || async {
        let log = host.log();
        let line = log.lines().find(|line| line.contains("quoted-by-alice"));
        line.map(str::to_owned)
    })
    .await;
    for part in [
        "upstream=\"prober\"",
        "release=1",
        "status=418",
        "duration_ms=",
        "user=\"alice\"",
    ] {
        assert!(line.contains(part), "{part} is not in: {line}");
    }
    assert!(
        !host.log().contains(&bearer["Bearer ".len()..]),
        "the token is in the log"
    );
}
