//! Several issuers: which keys a token is checked with, and which routes take it.

use super::rotation::provider;
use super::*;

const STAFF: &str = "https://staff.example";
const TOWN: &str = "https://town.example";

/// Two issuers; each has its own key, and both keys have the same name.
fn two() -> (TempDir, TempDir, Verifier) {
    let (dir, staff) = jwks_file(json!([jwk(Algorithm::EdDSA, "1")]));
    let (other, town) = jwks_file(json!([jwk(Algorithm::ES256, "1")]));
    let issuer = |name: &str, iss: &str, path| IssuerConfig {
        name: name.into(),
        issuer: Some(iss.into()),
        ..IssuerConfig::only(JwksSource::File(path))
    };
    let mut town = issuer("town", TOWN, town);
    town.scope_claim = Some("https://town.example/may".into());
    let issuers = vec![issuer("staff", STAFF, staff), town];
    let verifier = Verifier::new(AuthConfig::new(KeySource::Issuers(issuers)));
    (dir, other, verifier)
}

fn token(algorithm: Algorithm, changes: Value) -> String {
    sign(algorithm, Some("1"), &claims(changes))
}

#[tokio::test]
async fn issuer_claim_alone_selects_the_keys() {
    let (_dir, _other, verifier) = two();
    for (algorithm, iss) in [(Algorithm::EdDSA, STAFF), (Algorithm::ES256, TOWN)] {
        let good = token(algorithm, json!({ "iss": iss }));
        assert!(verifier.verify(&good, &[]).await.is_ok(), "{iss}");
    }
    for (algorithm, iss, expected) in [
        (
            Algorithm::EdDSA,
            json!(TOWN),
            "the token's algorithm does not match its key",
        ),
        (
            Algorithm::EdDSA,
            json!("https://staff.example/"),
            "the token's issuer (iss) is not accepted",
        ),
        (
            Algorithm::EdDSA,
            json!(null),
            "the token has no issuer (iss)",
        ),
        (
            Algorithm::EdDSA,
            json!([STAFF]),
            "the token's issuer (iss) is not a string",
        ),
    ] {
        let bad = token(algorithm, json!({ "iss": iss }));
        assert_eq!(reason(verifier.verify(&bad, &[]).await), expected, "{iss}");
    }
}

#[tokio::test]
async fn user_name_has_issuer_and_subject_with_several_issuers() {
    let (_dir, _other, verifier) = two();
    for (algorithm, iss, user) in [
        (Algorithm::EdDSA, STAFF, "staff:town:1001"),
        (Algorithm::ES256, TOWN, "town:town:1001"),
    ] {
        let good = token(algorithm, json!({ "iss": iss, "sub": "town:1001" }));
        // Verified, then remembered.
        for _ in 0..2 {
            assert_eq!(verifier.verify(&good, &[]).await.unwrap().user, user);
        }
    }
    let longest = "a".repeat(256);
    let long = token(Algorithm::EdDSA, json!({ "iss": STAFF, "sub": longest }));
    let user = verifier.verify(&long, &[]).await.unwrap().user;
    assert_eq!(user, format!("staff:{longest}"));
    // Users of keys are nobody else's.
    let (_, text) = verifier.api_keys().add("staff:1", &[], None).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", text.parse().unwrap());
    let caller = verifier.caller(&headers, &Rule::default()).await.unwrap();
    assert_eq!(caller.user, "key:staff:1");
}

#[tokio::test]
async fn issuer_may_keep_the_bare_names_of_its_users() {
    let issuers = |bare_users| {
        let (dir, staff) = jwks_file(json!([jwk(Algorithm::EdDSA, "1")]));
        let (other, town) = jwks_file(json!([jwk(Algorithm::ES256, "1")]));
        let issuer = |name: &str, iss: &str, path, bare_users| IssuerConfig {
            name: name.into(),
            issuer: Some(iss.into()),
            bare_users,
            ..IssuerConfig::only(JwksSource::File(path))
        };
        let issuers = vec![
            issuer("staff", STAFF, staff, bare_users),
            issuer("town", TOWN, town, false),
        ];
        (
            dir,
            other,
            Verifier::new(AuthConfig::new(KeySource::Issuers(issuers))),
        )
    };
    let (_dir, _other, verifier) = issuers(true);
    let of = |sub: &str| token(Algorithm::EdDSA, json!({ "iss": STAFF, "sub": sub }));
    let user = verifier.verify(&of("1001"), &[]).await.unwrap().user;
    assert_eq!(user, "1001");
    let town = token(Algorithm::ES256, json!({ "iss": TOWN, "sub": "1001" }));
    let user = verifier.verify(&town, &[]).await.unwrap().user;
    assert_eq!(user, "town:1001");
    for forged in ["town:1001", "staff:1001", "key:robot"] {
        assert_eq!(
            reason(verifier.verify(&of(forged), &[]).await),
            "the token's subject (sub) begins like one of another issuer",
            "{forged}"
        );
    }
}

#[tokio::test]
async fn scopes_are_read_from_the_configured_claim() {
    let (_dir, _other, verifier) = two();
    let claims = json!({"iss": TOWN, "https://town.example/may": ["a.read"], "scope": "admin"});
    let caller = verifier
        .verify(&token(Algorithm::ES256, claims), &[])
        .await
        .unwrap();
    assert_eq!(caller.scopes, ["a.read"]);
    let bare = json!({"iss": TOWN, "scope": "admin"});
    let caller = verifier
        .verify(&token(Algorithm::ES256, bare), &[])
        .await
        .unwrap();
    assert_eq!(caller.scopes, [""; 0]);
}

#[tokio::test]
async fn route_accepts_only_the_issuers_it_names() {
    let (_dir, _other, verifier) = two();
    let staff = token(Algorithm::EdDSA, json!({"iss": STAFF}));
    let town = token(Algorithm::ES256, json!({"iss": TOWN}));
    let names = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
    assert!(verifier.verify(&staff, &names(&["staff"])).await.is_ok());
    assert!(
        verifier
            .verify(&town, &names(&["staff", "town"]))
            .await
            .is_ok()
    );
    for unwelcome in [names(&["staff"]), names(&["unknown"])] {
        assert_eq!(
            reason(verifier.verify(&town, &unwelcome).await),
            "this route does not accept tokens from this issuer (iss)"
        );
    }
}

#[tokio::test]
async fn issuer_accepts_only_its_configured_algorithms() {
    let (_dir, path) = jwks_file(json!([
        jwk(Algorithm::EdDSA, "d"),
        jwk(Algorithm::ES256, "e")
    ]));
    let mut issuer = IssuerConfig::only(JwksSource::File(path));
    issuer.algorithms = vec![Algorithm::ES256.into()];
    let verifier = Verifier::new(AuthConfig::new(KeySource::Issuers(vec![issuer])));
    let good = sign(Algorithm::ES256, Some("e"), &claims(json!({})));
    assert!(verifier.verify(&good, &[]).await.is_ok());
    let other = sign(Algorithm::EdDSA, Some("d"), &claims(json!({})));
    assert_eq!(
        reason(verifier.verify(&other, &[]).await),
        "the token's algorithm is not accepted"
    );
}

#[tokio::test]
async fn discovery_finds_keys_only_of_an_issuer_with_the_same_name() {
    let keys = json!({"keys": [jwk(Algorithm::EdDSA, "1")]}).to_string();
    let said = Arc::new(parking_lot::Mutex::new(String::new()));
    let answer = said.clone();
    let (url, _) = provider(move |path| match path {
        "/.well-known/openid-configuration" => (200, answer.lock().clone()),
        "/keys" => (200, keys.clone()),
        _ => (404, String::new()),
    })
    .await;
    let verifier = || {
        let jwks = JwksSource::discover(&url).unwrap();
        let issuer = IssuerConfig {
            issuer: Some(url.clone()),
            ..IssuerConfig::only(jwks)
        };
        Verifier::new(AuthConfig::new(KeySource::Issuers(vec![issuer])))
    };
    let token = token(Algorithm::EdDSA, json!({ "iss": url }));
    let keys = format!("{url}/keys");
    *said.lock() = json!({"issuer": url, "jwks_uri": keys}).to_string();
    assert!(verifier().verify(&token, &[]).await.is_ok());
    *said.lock() = json!({"issuer": format!("{url}/"), "jwks_uri": keys}).to_string();
    assert!(matches!(
        verifier().verify(&token, &[]).await,
        Err(AuthError::KeysUnavailable)
    ));
}

#[tokio::test]
async fn discovery_reaches_a_local_address_only_where_allowed() {
    let keys = json!({"keys": [jwk(Algorithm::EdDSA, "1")]}).to_string();
    let (inner, reached) = provider(move |_| (200, keys.clone())).await;
    let said = Arc::new(parking_lot::Mutex::new(String::new()));
    let answer = said.clone();
    let (url, _) = provider(move |_| (200, answer.lock().clone())).await;
    let port = inner.rsplit(':').next().unwrap().to_owned();
    let verify = async |allowed: &[&str]| {
        let issuer = IssuerConfig {
            issuer: Some(url.clone()),
            ..IssuerConfig::only(JwksSource::discover(&url).unwrap())
        };
        let config = AuthConfig {
            upstream_allow: allowed.iter().map(|net| net.parse().unwrap()).collect(),
            ..AuthConfig::new(KeySource::Issuers(vec![issuer]))
        };
        let token = token(Algorithm::EdDSA, json!({ "iss": url }));
        Verifier::new(config).verify(&token, &[]).await
    };
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let elsewhere = format!("http://{host}:{port}/keys");
        *said.lock() = json!({"issuer": url, "jwks_uri": elsewhere}).to_string();
        let refused = verify(&[]).await;
        assert!(matches!(refused, Err(AuthError::KeysUnavailable)), "{host}");
        assert_eq!(reached.load(Ordering::SeqCst), 0, "{host}");
    }
    let elsewhere = format!("{inner}/keys");
    *said.lock() = json!({"issuer": url, "jwks_uri": elsewhere}).to_string();
    assert!(verify(&["127.0.0.0/8"]).await.is_ok());
    assert_eq!(reached.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn redirect_of_a_provider_is_not_followed() {
    let (inner, reached) = provider(|_| (200, String::new())).await;
    // The helper's status line is all that a redirect needs beside its field.
    let location = format!("302 Found\r\nlocation: {inner}/keys");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 2048]).await;
            let head = format!("HTTP/1.1 {location}\r\ncontent-length: 0\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
        }
    });
    for jwks in [
        JwksSource::discover(&url).unwrap(),
        JwksSource::parse(&url).unwrap(),
    ] {
        let issuer = IssuerConfig {
            issuer: Some(url.clone()),
            ..IssuerConfig::only(jwks)
        };
        let verifier = Verifier::new(AuthConfig::new(KeySource::Issuers(vec![issuer])));
        let token = token(Algorithm::EdDSA, json!({ "iss": url }));
        let refused = verifier.verify(&token, &[]).await;
        assert!(matches!(refused, Err(AuthError::KeysUnavailable)));
    }
    assert_eq!(reached.load(Ordering::SeqCst), 0);
}

#[test]
fn issuers_file_is_yaml_or_json() {
    let yaml = "- name: staff\n  issuer: https://staff.example\n  audience: hms\n  jwks: keys.json\n\
                - name: town\n  issuer: https://town.example\n  audience: [hms, desk]\n  scope-claim: may\n  algorithms: [ES256]\n";
    let json = r#"[
        {"name": "staff", "issuer": "https://staff.example", "audience": "hms", "jwks": "keys.json"},
        {"name": "town", "issuer": "https://town.example", "audience": ["hms", "desk"],
         "scope-claim": "may", "algorithms": ["ES256"]}
    ]"#;
    let issuers = issuers_file::parse(yaml).unwrap();
    assert_eq!(issuers, issuers_file::parse(json).unwrap());
    assert_eq!(issuers[0].jwks, JwksSource::File("keys.json".into()));
    assert_eq!(issuers[0].audience, ["hms"]);
    assert_eq!(issuers[1].jwks, JwksSource::Discovery(TOWN.into()));
    assert_eq!(issuers[1].audience, ["hms", "desk"]);
    assert_eq!(issuers[1].scope_claim.as_deref(), Some("may"));
    assert_eq!(issuers[1].algorithms, [Algorithm::ES256.into()]);
}

#[test]
fn every_fault_of_an_issuers_file_is_reported_with_its_line() {
    let said = |text: &str| {
        let faults = issuers_file::parse(text).unwrap_err();
        let said: Vec<_> = faults.iter().map(ToString::to_string).collect();
        said.join("; ")
    };
    let first = "- name: staff\n  issuer: https://staff.example\n";
    for (text, expected) in [
        ("", "the file is empty"),
        ("[]\n---\n[]", "one file is one list of issuers"),
        ("issuers: []", "a list of issuers"),
        ("[]", "name 1 to 64 issuers"),
        ("- name: staff", "'issuer' is missing"),
        (
            "- name: Staff\n  issuer: https://a.example",
            "'Staff' is not a valid issuer name",
        ),
        ("- name: a\n  issuer: http://a.example", "must be https"),
        (
            "- name: a\n  issuer: a\n  jwks: http://a.example/keys",
            "line 3",
        ),
        ("- name: a\n  issuer: a", "OIDC discovery"),
        (
            "- name: a\n  issuer: https://a.example\n  algorithms: [HS256]",
            "'HS256' is not a supported token algorithm",
        ),
        (
            "- name: a\n  issuer: https://a.example\n  audience: []",
            "audiences",
        ),
        (
            "- name: a\n  issuer: https://a.example\n  audience: [1]",
            "audience[0]",
        ),
        (
            "- name: a\n  issuer: https://a.example\n  jkws: x",
            "did you mean 'jwks'?",
        ),
        (
            &format!("{first}- name: staff\n  issuer: https://b.example"),
            "line 3, column 3: [1]: the name 'staff' is duplicated",
        ),
        (
            "- name: key\n  issuer: https://a.example",
            "choose another name",
        ),
        (
            "- name: a:b\n  issuer: https://a.example",
            "'a:b' is not a valid issuer name",
        ),
        (
            &format!(
                "{first}  bare-users: true\n- name: b\n  issuer: https://b.example\n  bare-users: true"
            ),
            "could have one name",
        ),
        (
            &format!("{first}- name: b\n  issuer: https://staff.example"),
            "the same 'issuer'",
        ),
    ] {
        let said = said(text);
        assert!(said.contains(expected), "{text:?}: {said}");
    }
    let many = said("- name: A\n  issuer: https://a.example\n  scope-claim: 7\n- issuer: ''\n");
    assert_eq!(many.matches("line").count(), 4, "{many}");
}
