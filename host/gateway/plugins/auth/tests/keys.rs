//! Keys, each with its algorithm.

use super::*;

#[tokio::test]
async fn every_kind_of_key_in_a_jwks_verifies_its_own_algorithm() {
    for (name, algorithm) in algorithms::ASYMMETRIC {
        let (_dir, verifier) = jwks_verifier(json!([jwk(*algorithm, "k")]));
        let token = sign(*algorithm, Some("k"), &claims(json!({})));
        let caller = verifier.verify(&token, &[]).await;
        assert_eq!(caller.unwrap().user, "alice", "{name}");
        let unnamed = sign(*algorithm, None, &claims(json!({})));
        assert!(verifier.verify(&unnamed, &[]).await.is_ok(), "{name}");
        // The same key, with any other algorithm that it could do.
        for (other, wrong) in algorithms::ASYMMETRIC {
            if wrong.family() == algorithm.family() && wrong != algorithm {
                if algorithm.family() == jsonwebtoken::AlgorithmFamily::Ec {
                    continue;
                }
                let token = sign(*wrong, Some("k"), &claims(json!({})));
                assert_eq!(
                    reason(verifier.verify(&token, &[]).await),
                    "the token's algorithm is not that of its key",
                    "{other} with a key for {name}"
                );
            }
        }
    }
    let keys = [jwk(Algorithm::RS256, "r"), jwk(Algorithm::ES256, "e")];
    let (_dir, verifier) = jwks_verifier(json!(keys));
    let crossed = sign(Algorithm::ES256, Some("r"), &claims(json!({})));
    assert_eq!(
        reason(verifier.verify(&crossed, &[]).await),
        "the token's algorithm is not that of its key"
    );
}

/// The classic attack: HS256 with the public key as its secret (RFC 8725 section 2.1).
#[tokio::test]
async fn a_public_key_is_no_hmac_secret() {
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
fn unusable_keys_of_a_jwks_are_passed_over() {
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
    let none = KeySet::parse(json!({ "keys": useless }).to_string().as_bytes());
    assert!(none.is_err_and(|reason| reason.contains("no signature key")));

    let two = json!({"keys": [jwk(Algorithm::ES256, "1"), jwk(Algorithm::ES256, "2"), oct]});
    let set = KeySet::parse(two.to_string().as_bytes()).unwrap();
    assert!(set.find(Some("1"), Algorithm::ES256).is_ok());
    assert_eq!(
        set.find(None, Algorithm::ES256).err(),
        Some(Miss::Ambiguous)
    );
    assert_eq!(
        set.find(Some("o"), Algorithm::ES256).err(),
        Some(Miss::UnknownId)
    );
    assert_eq!(
        set.find(Some("1"), Algorithm::RS256).err(),
        Some(Miss::WrongAlgorithm)
    );
}

#[test]
fn a_key_that_does_not_say_its_algorithm_has_the_usual_one_of_its_kind() {
    for (algorithm, usual) in [
        (Algorithm::PS512, Algorithm::RS256),
        (Algorithm::ES256, Algorithm::ES256),
        (Algorithm::ES384, Algorithm::ES384),
        (Algorithm::EdDSA, Algorithm::EdDSA),
    ] {
        let mut key = jwk(algorithm, "k");
        key.as_object_mut().unwrap().remove("alg");
        let set = KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes()).unwrap();
        assert_eq!(set.find(Some("k"), usual).unwrap().algorithm, usual);
        if algorithm != usual {
            let other = set.find(Some("k"), algorithm).err();
            assert_eq!(other, Some(Miss::WrongAlgorithm));
        }
    }
}

#[tokio::test]
async fn a_member_that_is_there_twice_is_refused() {
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
            "the token has a member twice",
            "{header} {claims}"
        );
    }
}
