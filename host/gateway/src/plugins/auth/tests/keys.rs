//! Keys, each with its algorithm.

use super::*;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

/// All that jsonwebtoken can sign.
const SIGNED: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// A key pair on P-521, and its public half under the name `kid`.
fn p521(kid: &str) -> (EcdsaKeyPair, Value) {
    let pair = EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(66);
    let jwk = json!({"kty": "EC", "crv": "P-521", "kid": kid, "x": b64(x), "y": b64(y)});
    (pair, jwk)
}

fn sign_es512(pair: &EcdsaKeyPair, kid: &str) -> String {
    let header = json!({"alg": "ES512", "kid": kid}).to_string();
    let message = format!(
        "{}.{}",
        b64(header.as_bytes()),
        b64(claims(json!({})).to_string().as_bytes())
    );
    let signature = pair.sign(&SystemRandom::new(), message.as_bytes());
    format!("{message}.{}", b64(signature.unwrap().as_ref()))
}

/// The token with another `alg` in its header, signed anew by the Ed25519 key.
fn sign_ed25519(kid: &str, algorithm: &str) -> String {
    let header = json!({"alg": algorithm, "kid": kid}).to_string();
    let body = claims(json!({})).to_string();
    let message = format!("{}.{}", b64(header.as_bytes()), b64(body.as_bytes()));
    let key = signer(Algorithm::EdDSA);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::EdDSA);
    format!("{message}.{}", signature.unwrap())
}

#[tokio::test]
async fn every_kind_of_jwks_key_verifies_only_its_own_algorithm() {
    for algorithm in SIGNED {
        let (_dir, verifier) = jwks_verifier(json!([jwk(algorithm, "k")]));
        let token = sign(algorithm, Some("k"), &claims(json!({})));
        let caller = verifier.verify(&token, &[]).await;
        assert_eq!(caller.unwrap().user, "alice", "{algorithm:?}");
        let unnamed = sign(algorithm, None, &claims(json!({})));
        assert!(
            verifier.verify(&unnamed, &[]).await.is_ok(),
            "{algorithm:?}"
        );
        // The same key, with any other algorithm that it could do.
        for wrong in SIGNED {
            if wrong.family() == algorithm.family() && wrong != algorithm {
                if algorithm.family() == jsonwebtoken::AlgorithmFamily::Ec {
                    continue;
                }
                let token = sign(wrong, Some("k"), &claims(json!({})));
                assert_eq!(
                    reason(verifier.verify(&token, &[]).await),
                    "the token's algorithm does not match its key",
                    "{wrong:?} with a key for {algorithm:?}"
                );
            }
        }
    }
    let keys = [jwk(Algorithm::RS256, "r"), jwk(Algorithm::ES256, "e")];
    let (_dir, verifier) = jwks_verifier(json!(keys));
    let crossed = sign(Algorithm::ES256, Some("r"), &claims(json!({})));
    assert_eq!(
        reason(verifier.verify(&crossed, &[]).await),
        "the token's algorithm does not match its key"
    );
}

#[tokio::test]
async fn es512_is_verified_with_p521_keys_only() {
    let (pair, own) = p521("s");
    let (stranger, _) = p521("s");
    let (_dir, verifier) = jwks_verifier(json!([own, jwk(Algorithm::ES256, "e")]));
    let caller = verifier.verify(&sign_es512(&pair, "s"), &[]).await;
    assert_eq!(caller.unwrap().user, "alice");
    for (token, expected) in [
        (
            sign_es512(&stranger, "s"),
            "the token's signature is invalid",
        ),
        (
            sign_es512(&pair, "e"),
            "the token's algorithm does not match its key",
        ),
    ] {
        assert_eq!(reason(verifier.verify(&token, &[]).await), expected);
    }
}

#[tokio::test]
async fn ed25519_is_known_by_both_names_in_keys_tokens_and_settings() {
    for key in [None, Some("EdDSA"), Some("Ed25519")] {
        for setting in [None, Some("EdDSA"), Some("Ed25519")] {
            let mut jwk = jwk(Algorithm::EdDSA, "d");
            match key {
                Some(name) => jwk["alg"] = name.into(),
                None => drop(jwk.as_object_mut().unwrap().remove("alg")),
            }
            let (_dir, path) = jwks_file(json!([jwk]));
            let mut issuer = IssuerConfig::only(JwksSource::File(path));
            issuer.algorithms = setting
                .map(|name| algorithms::parse(name).unwrap())
                .into_iter()
                .collect();
            let verifier = Verifier::new(AuthConfig::new(KeySource::Issuers(vec![issuer])));
            for token in ["EdDSA", "Ed25519"] {
                let verified = verifier.verify(&sign_ed25519("d", token), &[]).await;
                assert!(verified.is_ok(), "{key:?} {setting:?} {token}");
            }
            let other = sign_ed25519("d", "ed25519");
            assert_eq!(
                reason(verifier.verify(&other, &[]).await),
                "the token's algorithm is not accepted"
            );
        }
    }
}

#[tokio::test]
async fn every_key_that_a_token_may_mean_is_tried() {
    let token = sign(Algorithm::EdDSA, Some("same"), &claims(json!({})));
    let own = jwk(Algorithm::EdDSA, "same");
    let stranger = |number: u8| {
        let x = b64(&[number; 32]);
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "same", "x": x})
    };
    let without_id = |mut key: Value| {
        key.as_object_mut().unwrap().remove("kid");
        key
    };
    let mut encryption = jwk(Algorithm::RS256, "same");
    encryption["use"] = "enc".into();
    let unnamed = sign(Algorithm::EdDSA, None, &claims(json!({})));
    for (keys, token) in [
        (json!([stranger(1), own]), &token),
        (json!([own, stranger(1)]), &token),
        (json!([jwk(Algorithm::RS256, "same"), own]), &token),
        (json!([encryption, own]), &token),
        // Providers that name no keys, or whose tokens name none.
        (
            json!([without_id(stranger(1)), without_id(own.clone())]),
            &token,
        ),
        (json!([stranger(1), own]), &unnamed),
    ] {
        let (_dir, verifier) = jwks_verifier(keys.clone());
        let verified = verifier.verify(token, &[]).await;
        assert!(verified.is_ok(), "{keys}: {verified:?}");
    }
    let (_dir, verifier) = jwks_verifier(json!([stranger(1), stranger(2)]));
    assert_eq!(
        reason(verifier.verify(&token, &[]).await),
        "the token's signature is invalid"
    );
    // A key without a name does not stand in for one that has the token's.
    let (_dir, verifier) = jwks_verifier(json!([stranger(1), without_id(own.clone())]));
    assert_eq!(
        reason(verifier.verify(&token, &[]).await),
        "the token's signature is invalid"
    );
    // Each costs processor time, so there is a bound.
    let tried = std::cell::Cell::new(0);
    let many: Vec<Value> = (0..50).map(stranger).collect();
    let set = KeySet::parse(json!({ "keys": many }).to_string().as_bytes(), &[]).unwrap();
    let none = set.prove(Some("same"), Algorithm::EdDSA.into(), |_| {
        tried.set(tried.get() + 1);
        false
    });
    assert_eq!((none, tried.get()), (Err(Miss::WrongSignature), 8));
}

#[tokio::test]
async fn key_numbers_are_read_as_providers_write_them() {
    use base64::engine::general_purpose::URL_SAFE;
    let decode = |key: &Value, name: &str| BASE64.decode(key[name].as_str().unwrap()).unwrap();
    for (algorithm, names) in [
        (Algorithm::RS256, &["n", "e"][..]),
        (Algorithm::ES256, &["x", "y"]),
        (Algorithm::ES384, &["x", "y"]),
    ] {
        let token = sign(algorithm, Some("k"), &claims(json!({})));
        for write in [
            |number: &[u8]| b64(&[&[0], number].concat()),
            |number: &[u8]| b64(&[&[0, 0], number].concat()),
            |number: &[u8]| URL_SAFE.encode(number),
            |number: &[u8]| URL_SAFE.encode([&[0], number].concat()),
        ] {
            let mut key = jwk(algorithm, "k");
            for name in names {
                key[*name] = write(&decode(&key, name)).into();
            }
            let (_dir, verifier) = jwks_verifier(json!([key]));
            assert!(verifier.verify(&token, &[]).await.is_ok(), "{key}");
        }
    }
    // A coordinate that begins with a zero, which its provider leaves out.
    let short = loop {
        let (pair, key) = p521("s");
        if let [0, rest @ ..] = &*decode(&key, "x") {
            let mut key = key.clone();
            key["x"] = b64(rest).into();
            break (pair, key);
        }
    };
    let (_dir, verifier) = jwks_verifier(json!([short.1]));
    let token = sign_es512(&short.0, "s");
    assert!(verifier.verify(&token, &[]).await.is_ok());
}

/// The header of SAP's and Microsoft's tokens has such members.
#[tokio::test]
async fn key_parameters_in_a_token_header_are_ignored() {
    let (url, asked) = super::rotation::provider(|_| (200, String::new())).await;
    let (_dir, verifier) = jwks_verifier(json!([jwk(Algorithm::EdDSA, "d")]));
    let body = claims(json!({})).to_string();
    let (stranger, public) = p521("d");
    for (name, value) in [
        ("jku", json!(format!("{url}/keys"))),
        ("x5u", json!(format!("{url}/certificate"))),
        ("jwk", public),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!(7)),
        ("anything", json!({"else": null})),
    ] {
        let with = |algorithm: &str| {
            let header = json!({"alg": algorithm, "kid": "d", name: value}).to_string();
            format!("{}.{}", b64(header.as_bytes()), b64(body.as_bytes()))
        };
        let message = with("EdDSA");
        let key = signer(Algorithm::EdDSA);
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::EdDSA);
        let good = format!("{message}.{}", signature.unwrap());
        assert!(verifier.verify(&good, &[]).await.is_ok(), "{name}");
        let message = with("ES512");
        let signature = stranger.sign(&SystemRandom::new(), message.as_bytes());
        let forged = format!("{message}.{}", b64(signature.unwrap().as_ref()));
        assert_eq!(
            reason(verifier.verify(&forged, &[]).await),
            "the token's algorithm does not match its key",
            "{name}"
        );
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

/// The classic attack: HS256 with the public key as its secret (RFC 8725 section 2.1).
#[tokio::test]
async fn public_key_is_never_used_as_an_hmac_secret() {
    let public = jwk(Algorithm::RS256, "r");
    let (_dir, verifier) = jwks_verifier(json!([public]));
    for secret in [public["n"].as_str().unwrap().as_bytes(), RSA.as_bytes()] {
        let token = forge(
            secret,
            &json!({"alg": "HS256", "kid": "r"}),
            &claims(json!({})),
        );
        assert_eq!(
            reason(verifier.verify(&token, &[]).await),
            "the token's algorithm is not accepted"
        );
    }
}

#[test]
fn unusable_jwks_keys_are_skipped() {
    let oct = json!({"kty": "oct", "k": BASE64.encode("secret"), "alg": "HS256", "kid": "o"});
    let mut encryption = jwk(Algorithm::ES256, "x");
    encryption["use"] = "enc".into();
    let mut mislabelled = jwk(Algorithm::ES256, "m");
    mislabelled["alg"] = "RS256".into();
    let mut for_signing = jwk(Algorithm::ES256, "g");
    for_signing["key_ops"] = json!(["sign"]);
    let mut hmac = jwk(Algorithm::RS256, "h");
    hmac["alg"] = "HS256".into();
    let short = json!({"kty": "RSA", "n": BASE64.encode([0xff; 128]), "e": "AQAB", "kid": "s"});
    let strange = json!({"kty": "NEW", "kid": "n"});
    let useless = json!([
        oct,
        encryption,
        mislabelled,
        for_signing,
        hmac,
        short,
        strange
    ]);
    let parse = |keys: &Value| {
        let set = json!({ "keys": keys }).to_string();
        KeySet::parse(set.as_bytes(), &[]).unwrap()
    };
    assert_eq!(parse(&useless).len(), 0);
    assert_eq!(parse(&json!([])).len(), 0);
    for none in ["", "[]", "{}", r#"{"keys": {}}"#, "<html>"] {
        let reason = KeySet::parse(none.as_bytes(), &[]).err().unwrap();
        assert!(reason.contains("not a JWKS"), "{none}: {reason}");
    }
    let pem = KeySet::parse(b"\n-----BEGIN PUBLIC KEY-----\nAA==\n", &[]);
    assert_eq!(pem.err().unwrap(), "it is PEM, not a JWKS");

    let two = parse(&json!([
        jwk(Algorithm::ES256, "1"),
        jwk(Algorithm::ES256, "2"),
        oct
    ]));
    let find = |id, algorithm: Algorithm| two.prove(id, algorithm.into(), |_| true);
    assert_eq!(find(Some("1"), Algorithm::ES256), Ok(()));
    assert_eq!(find(None, Algorithm::ES256), Ok(()));
    assert_eq!(find(Some("o"), Algorithm::ES256), Err(Miss::UnknownId));
    assert_eq!(find(Some("1"), Algorithm::RS256), Err(Miss::WrongAlgorithm));
}

#[test]
fn key_without_an_algorithm_takes_that_of_its_issuer_or_kind() {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS512, RS256, RS512};
    for (kind, taken, expected) in [
        (PS512, &[][..], RS256),
        (ES256, &[], ES256),
        (ES384, &[], ES384),
        (EdDSA, &[], EdDSA),
        (RS256, &[PS256], PS256),
        (RS256, &[ES256, PS512, RS512], PS512),
        (RS256, &[ES256], RS256),
        (ES256, &[PS256, RS256], ES256),
    ] {
        let mut key = jwk(kind, "k");
        key.as_object_mut().unwrap().remove("alg");
        let set = json!({ "keys": [key] }).to_string();
        let taken: Vec<_> = taken.iter().map(|taken| (*taken).into()).collect();
        let set = KeySet::parse(set.as_bytes(), &taken).unwrap();
        let is = |algorithm: Algorithm| {
            set.prove(Some("k"), algorithm.into(), |key: &Key| {
                key.algorithm == algorithm.into()
            })
        };
        assert_eq!(is(expected), Ok(()), "{kind:?} {taken:?}");
        if kind != expected {
            assert_eq!(is(kind), Err(Miss::WrongAlgorithm), "{kind:?} {taken:?}");
        }
    }
}

#[tokio::test]
async fn rsa_key_without_an_algorithm_verifies_only_that_of_its_issuer() {
    let mut key = jwk(Algorithm::RS256, "r");
    key.as_object_mut().unwrap().remove("alg");
    let (_dir, path) = jwks_file(json!([key]));
    let mut issuer = IssuerConfig::only(JwksSource::File(path));
    issuer.algorithms = vec![Algorithm::PS256.into()];
    let verifier = Verifier::new(AuthConfig::new(KeySource::Issuers(vec![issuer])));
    let good = sign(Algorithm::PS256, Some("r"), &claims(json!({})));
    assert!(verifier.verify(&good, &[]).await.is_ok());
    let usual = sign(Algorithm::RS256, Some("r"), &claims(json!({})));
    assert_eq!(
        reason(verifier.verify(&usual, &[]).await),
        "the token's algorithm is not accepted"
    );
}

#[tokio::test]
async fn token_with_a_duplicate_member_is_rejected() {
    let (_dir, secret, verifier) = dev();
    let good = claims(json!({})).to_string();
    let admin = good.replacen('{', r#"{"sub": "admin", "#, 1);
    let nested = good.replacen('{', r#"{"act": {"sub": "a", "sub": "b"}, "#, 1);
    for (header, claims) in [
        (r#"{"alg": "HS256"}"#, admin.as_str()),
        (r#"{"alg": "HS256"}"#, &nested),
        (r#"{"alg": "none", "alg": "HS256"}"#, &good),
    ] {
        let token = forge_text(secret.as_bytes(), header, claims);
        assert_eq!(
            reason(verifier.verify(&token, &[]).await),
            "the token has a duplicate member",
            "{header} {claims}"
        );
    }
}
