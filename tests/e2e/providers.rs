//! Identity providers as they are: away, wrongly named, behind a proxy, with large tokens; and what
//! reaches an application that brings an authentication of its own.

use hms_harness::http::try_http2_with;
use hms_harness::{Host, Options, eventually, guest};
use http::Method;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

const PROBER: &str = "uri: /prober/**\nupstream: http://hms-svc-prober\nstrip-prefix: /prober\n";

fn key() -> EncodingKey {
    let root = hms_harness::root();
    let pem = root.join("host/gateway/src/plugins/auth/testkeys/ed.pem");
    EncodingKey::from_ed_pem(&std::fs::read(pem).unwrap()).unwrap()
}

fn key_set() -> String {
    json!({ "keys": [Jwk::from_encoding_key(&key(), Algorithm::EdDSA).unwrap()] }).to_string()
}

/// A token of alice's with `more` claims.
fn bearer(more: Value) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let mut claims = json!({"sub": "alice", "exp": now.unwrap().as_secs() + 600});
    let claims = claims.as_object_mut().unwrap();
    claims.extend(more.as_object().unwrap().clone());
    let token = encode(&Header::new(Algorithm::EdDSA), &claims, &key());
    format!("Bearer {}", token.unwrap())
}

/// A host that asks for tokens on `/prober`, with more settings of `auth`.
async fn host(args: &[&str], auth: &str) -> Host {
    let host = Host::start_with(Options {
        args: args.iter().map(|arg| arg.to_string()).collect(),
        routes: vec![
            (
                "prober.yaml",
                format!("{PROBER}plugins:\n  - auth: {auth}\n"),
            ),
            ("open.yaml", PROBER.replace("/prober", "/open")),
        ],
        ..Default::default()
    })
    .await;
    host.deploy("prober", &guest("prober").await).await;
    host
}

async fn headers(host: &Host, path: &str, bearer: &str) -> (u16, String) {
    let headers = [("authorization", bearer), ("cookie", "session=1")];
    let answer = host.call(Method::GET, path, &headers, "").await;
    (answer.status.as_u16(), answer.text())
}

async fn said(host: &Host, text: &str) {
    eventually(text, || async { host.log().contains(text).then_some(()) }).await;
}

async fn metric(host: &Host, line: &str) {
    eventually(line, || async {
        let metrics = host.admin(Method::GET, "/metrics", "").await.text();
        metrics.lines().any(|it| it == line).then_some(())
    })
    .await;
}

/// Reads a request's head.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

async fn answer(stream: &mut (impl AsyncWrite + Unpin), body: &str) {
    let length = body.len();
    let answer =
        format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

#[tokio::test]
async fn missing_key_set_is_reported_at_startup_and_used_when_it_appears() {
    let folder = tempfile::tempdir().unwrap();
    let jwks = folder.path().join("keys.json");
    let host = host(&["--jwks", jwks.to_str().unwrap()], "{}").await;
    said(&host, "the keys of an issuer are unavailable").await;
    for part in ["keys.json", "No such file", "--jwks", "issuer=\"default\""] {
        said(&host, part).await;
    }
    let none = "hms_gateway_keys_usable{issuer=\"default\"} 0";
    metric(&host, none).await;
    let refused = headers(&host, "/prober/headers", &bearer(json!({}))).await;
    assert!(
        refused.0 == 503 && refused.1.contains("keys-unavailable"),
        "{refused:?}"
    );

    std::fs::write(&jwks, key_set()).unwrap();
    said(&host, "fetched the keys of an issuer").await;
    metric(&host, &none.replace(" 0", " 1")).await;
    let seen = headers(&host, "/prober/headers", &bearer(json!({}))).await;
    assert_eq!(seen.0, 200, "{}", seen.1);
    let metrics = host.admin(Method::GET, "/metrics", "").await.text();
    assert!(
        metrics.contains("hms_gateway_key_fetches_failed_total{issuer=\"default\"}")
            && metrics.contains("hms_gateway_keys_age_seconds{issuer=\"default\"}"),
        "{metrics}"
    );
    // Once, though the file was looked for every second.
    let log = host.whole_log().await;
    assert_eq!(log.matches("issuer are unavailable").count(), 1, "{log}");

    // What withdraws all keys is seen without a request.
    std::fs::write(&jwks, r#"{"keys": []}"#).unwrap();
    said(&host, "key set has no usable key").await;
    let refused = headers(&host, "/prober/headers", &bearer(json!({}))).await;
    assert_eq!(refused.0, 401, "{}", refused.1);
}

#[tokio::test]
async fn unreachable_or_misnamed_provider_is_reported_at_startup() {
    let away = host(&["--oidc", "http://127.0.0.1:1"], "{}").await;
    said(&away, "the keys of an issuer are unavailable").await;
    said(&away, "Connection refused").await;

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let own = json!({"issuer": format!("{issuer}/"), "jwks_uri": format!("{issuer}/keys")});
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            head(&mut stream).await;
            answer(&mut stream, &own.to_string()).await;
        }
    });
    let named = host(&["--oidc", &issuer], "{}").await;
    said(&named, &format!("is that of the issuer \\\"{issuer}/\\\"")).await;
    said(&named, "write it exactly so").await;
}

/// All variables that the help names, as a compose file sets them by `${X:-}`.
#[tokio::test]
async fn empty_variable_counts_as_unset() {
    let mut host = Host::start().await;
    let help = host.hms("serve").arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let names = help.split("[env: ").skip(1);
    let names: Vec<&str> = names.filter_map(|rest| rest.split('=').next()).collect();
    assert!(names.len() > 15 && names.contains(&"HMS_JWKS"), "{names:?}");
    host.terminate().await;
    let nothing = names.iter().chain(&["HMS_LOG"]).map(|name| (*name, ""));
    host.boot_with(&nothing.collect::<Vec<_>>()).await;
    let token = host
        .hms("token")
        .args(["--user", "a"])
        .env("HMS_DATA", "")
        .output();
    assert!(token.unwrap().status.success());
    // What is written out is taken at its word.
    let refused = host.hms("serve").args(["--jwks", ""]).output().unwrap();
    let sentence = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && sentence.contains("--jwks"),
        "{sentence}"
    );
}

#[tokio::test]
async fn thirty_kilobyte_token_is_accepted_over_both_http_versions() {
    let folder = tempfile::tempdir().unwrap();
    let jwks = folder.path().join("keys.json");
    std::fs::write(&jwks, key_set()).unwrap();
    let jwks = jwks.to_str().unwrap();
    let mut host = host(&["--jwks", jwks], "{pass-credentials: true}").await;
    let large = |bytes: usize| bearer(json!({"filler": "x".repeat(bytes / 4 * 3)}));
    let path = "/prober/headers";
    for (bytes, status) in [(11 << 10, 200), (30 << 10, 200), (40 << 10, 401)] {
        let bearer = large(bytes);
        assert!(bearer.len() > bytes);
        let (found, text) = headers(&host, path, &bearer).await;
        assert_eq!(found, status, "{bytes}: {text}");
        assert_eq!(text.contains(&bearer), status == 200, "the window has it");
        let url = format!("{}{path}", host.gateway());
        let sent = [("authorization", bearer.as_str())];
        let answer = try_http2_with(&url, &sent).await.unwrap();
        assert_eq!(answer.status, status, "{bytes}: {}", answer.text());
    }
    metric(&host, "hms_gateway_tokens_too_large_total 2").await;
    said(&host, "--max-token").await;
    host.terminate().await;
    host.boot_with(&[("HMS_MAX_TOKEN", "60KiB")]).await;
    assert_eq!(headers(&host, path, &large(58 << 10)).await.0, 200);
    for size in ["64KiB", "100"] {
        let refused = host.hms("serve").args(["--max-token", size]).output();
        let sentence = String::from_utf8(refused.unwrap().stderr).unwrap();
        assert!(sentence.contains("use 1KiB to 60KiB"), "{sentence}");
    }
}

#[tokio::test]
async fn nested_scope_claim_is_read_and_its_absence_logged() {
    let folder = tempfile::tempdir().unwrap();
    let (jwks, issuers) = (folder.path().join("keys"), folder.path().join("issuers"));
    std::fs::write(&jwks, key_set()).unwrap();
    let issuer = "https://id.example/realms/town";
    let entry = format!(
        "- {{name: town, issuer: '{issuer}', jwks: {jwks:?}, scope-claim: /realm_access/roles}}\n"
    );
    std::fs::write(&issuers, entry).unwrap();
    let host = host(
        &["--issuers", issuers.to_str().unwrap()],
        "{scopes: [a.read]}",
    )
    .await;
    let path = "/prober/headers";
    let without = bearer(json!({"iss": issuer, "realm": {"roles": ["a.read"]}}));
    assert_eq!(headers(&host, path, &without).await.0, 403);
    said(&host, "claims=\"exp, iss, realm, sub\"").await;
    let with = bearer(json!({"iss": issuer, "realm_access": {"roles": ["a.read", "offline"]}}));
    let (status, text) = headers(&host, path, &with).await;
    assert!(status == 200 && text.contains("a.read offline"), "{text}");
    let log = host.whole_log().await;
    assert_eq!(log.matches("claim in 'scope-claim'").count(), 1, "{log}");
}

#[tokio::test]
async fn keys_are_fetched_through_the_proxy_of_the_environment() {
    let name = "id.example.test";
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der());
    let tls = rustls::ServerConfig::builder().with_no_client_auth();
    let tls = tls.with_single_cert(vec![made.cert.der().clone()], key.unwrap());
    let tls = tokio_rustls::TlsAcceptor::from(Arc::new(tls.unwrap()));

    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = proxy.local_addr().unwrap().port();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let heads = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = proxy.accept().await {
            let connect = head(&mut stream).await;
            heads.lock().unwrap().push(connect);
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            if let Ok(mut stream) = tls.accept(stream).await {
                let get = head(&mut stream).await;
                heads.lock().unwrap().push(get);
                answer(&mut stream, &key_set()).await;
            }
        }
    });
    let url = format!("https://{name}/keys");
    let mut host = host(&["--jwks", &url], "{}").await;
    said(&host, "the keys of an issuer are unavailable").await;
    host.terminate().await;
    assert!(asked.lock().unwrap().is_empty());

    let through = format!("http://town:p%40ss@127.0.0.1:{port}");
    let roots = roots.to_str().unwrap();
    let environment = [
        ("HTTPS_PROXY", through.as_str()),
        ("NO_PROXY", "localhost,.example.org"),
        ("SSL_CERT_FILE", roots),
    ];
    host.boot_with(&environment).await;
    said(&host, "fetched the keys of an issuer").await;
    let seen = headers(&host, "/prober/headers", &bearer(json!({}))).await;
    assert_eq!(seen.0, 200, "{}", seen.1);
    let heads = asked.lock().unwrap().clone();
    let tunnel = format!("CONNECT {name}:443 HTTP/1.1\r\n");
    let [connect, get, ..] = heads.as_slice() else {
        panic!("{heads:?}");
    };
    assert!(connect.starts_with(&tunnel), "{connect}");
    let user = "proxy-authorization: basic dG93bjpwQHNz";
    assert!(
        connect.to_lowercase().contains(&user.to_lowercase()),
        "{connect}"
    );
    assert!(get.starts_with("GET /keys HTTP/1.1\r\n"), "{get}");
    assert!(!get.to_lowercase().contains("proxy-auth"), "{get}");
    host.terminate().await;

    let environment = [environment[0], ("NO_PROXY", name), environment[2]];
    let before = heads.len();
    host.boot_with(&environment).await;
    said(&host, "the keys of an issuer are unavailable").await;
    assert_eq!(asked.lock().unwrap().len(), before, "it is asked directly");
}

/// A route without `auth`, with a middleware and without one.
#[tokio::test]
async fn application_with_its_own_authentication_gets_its_fields_and_no_host_key() {
    let host = Host::start_with(Options {
        routes: vec![
            ("open.yaml", PROBER.replace("/prober", "/open")),
            (
                "visited.yaml",
                format!("{}plugins:\n  - wasm: {{window: meddler}}\n", PROBER.replace("/prober", "/visited")),
            ),
            (
                "shut.yaml",
                format!("{}plugins:\n  - auth\n  - wasm: {{window: meddler}}\n", PROBER.replace("/prober", "/shut")),
            ),
            (
                "passed.yaml",
                format!(
                    "{}plugins:\n  - auth: {{pass-credentials: true}}\n  - wasm: {{window: meddler}}\n",
                    PROBER.replace("/prober", "/passed")
                ),
            ),
        ],
        ..Default::default()
    })
    .await;
    host.deploy("prober", &guest("prober").await).await;
    host.deploy("meddler", &guest("meddler").await).await;
    let own = "Basic YWxpY2U6c2VjcmV0";
    for path in ["/open/headers", "/visited/headers"] {
        let (status, text) = headers(&host, path, own).await;
        assert!(status == 200 && text.contains(own), "{path}: {text}");
        assert!(text.contains("session=1"), "{path}: {text}");
    }
    let token = format!("Bearer {}", host.token("alice", &[]));
    for (path, passes) in [("/shut/headers", false), ("/passed/headers", true)] {
        let (status, text) = headers(&host, path, &token).await;
        assert!(status == 200 && text.contains("alice"), "{path}: {text}");
        assert_eq!(text.contains(&token), passes, "{path}: {text}");
    }
    let made = host
        .admin(Method::POST, "/keys", r#"{"user": "robot"}"#)
        .await;
    let ours = made.json()["key"].as_str().unwrap().to_owned();
    for path in ["/open/headers", "/visited/headers", "/passed/headers"] {
        for (name, value) in [
            ("authorization", format!("Bearer {ours}")),
            ("x-api-key", ours.clone()),
        ] {
            let sent = [(name, value.as_str())];
            let answer = host.call(Method::GET, path, &sent, "").await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            assert!(!answer.text().contains("hms_"), "{path}: {}", answer.text());
        }
    }
}
