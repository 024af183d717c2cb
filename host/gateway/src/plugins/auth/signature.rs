//! Whether a token is signed with a key.

use super::algorithms::Algorithm;
use super::keys::Key;
use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Whether `token`, a JWS in its compact form, has a signature that `key` verifies.
pub(super) fn is_of(key: &Key, token: &str) -> bool {
    let Some((message, signature)) = token.rsplit_once('.') else {
        return false;
    };
    let message = message.as_bytes();
    match key.algorithm {
        Algorithm::Library(algorithm) => {
            let verified =
                jsonwebtoken::crypto::verify(signature, message, &key.decoding, algorithm);
            verified.unwrap_or(false)
        }
        Algorithm::Es512 => es512(key, message, signature).is_some(),
    }
}

fn es512(key: &Key, message: &[u8], signature: &str) -> Option<()> {
    let point = key.decoding.try_get_as_bytes().ok()?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let key = UnparsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, point);
    key.verify(message, &signature).ok()
}

#[cfg(test)]
mod tests {
    use super::super::keys::KeySet;
    use super::super::tests::b64;
    use super::*;
    use serde_json::json;

    fn verifies(set: &serde_json::Value, algorithm: &str, token: &str) -> bool {
        let set = KeySet::parse(set.to_string().as_bytes(), &[]).unwrap();
        let algorithm = super::super::algorithms::find(algorithm).unwrap();
        set.prove(None, algorithm, |key| is_of(key, token)).is_ok()
    }

    /// RFC 7515 appendix A.4, and RFC 8037 appendices A.2 and A.4.
    #[test]
    fn rfc_examples_verify_and_altered_ones_do_not() {
        let p521 = json!({"keys": [{
            "kty": "EC", "crv": "P-521",
            "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
            "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
        }]});
        let es512 = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOY\
                     aRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdO\
                     O8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";
        let ed25519 = json!({"keys": [{
            "kty": "OKP", "crv": "Ed25519",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        }]});
        let eddsa = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG\
                     1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        for (set, names, token) in [
            (&p521, &["ES512"][..], es512),
            (&ed25519, &["EdDSA", "Ed25519"], eddsa),
        ] {
            for name in names {
                assert!(verifies(set, name, token), "{name}");
                let (message, signature) = token.rsplit_once('.').unwrap();
                let (head, payload) = message.split_once('.').unwrap();
                let half = &signature[..signature.len() / 2];
                for other in [
                    format!("{head}.{}.{signature}", b64(b"Payloae")),
                    format!("{}.{payload}.{signature}", b64(b"{}")),
                    format!("{message}."),
                    format!("{message}.{half}"),
                    format!("{message}.{signature}AAAA"),
                    format!("{message}.{}", "A".repeat(signature.len())),
                    String::new(),
                ] {
                    assert!(!verifies(set, name, &other), "{name}: {other}");
                }
            }
        }
        assert!(!verifies(&p521, "ES256", es512));
    }
}
