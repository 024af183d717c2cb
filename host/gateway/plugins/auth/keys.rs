//! The keys of a JWKS (RFC 7517), each pinned to one algorithm (RFC 8725 section 3.1): its `alg`, else the usual one of its kind.

use super::algorithms;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use std::sync::Arc;

/// Keys in one set. Providers have two to five.
const MAX_KEYS: usize = 100;

/// Base64url characters of the smallest RSA modulus: 2048 bits (RFC 7518 section 3.3).
const MIN_RSA_MODULUS_CHARS: usize = 342;

pub struct Key {
    pub id: Option<String>,
    pub algorithm: Algorithm,
    pub decoding: DecodingKey,
}

/// The usable keys of one JWKS.
pub struct KeySet(Vec<Arc<Key>>);

/// Why no key of the set is to be used.
#[derive(Debug, PartialEq, Eq)]
pub enum Miss {
    /// No key has this id. A newer set may.
    UnknownId,
    /// The id's key has another algorithm than the token says.
    WrongAlgorithm,
    /// No id, and more than one key could be meant.
    Ambiguous,
}

impl KeySet {
    /// The usable keys. Others are passed over, as RFC 7517 section 5 asks: of an unknown kind, for encryption,
    /// too short, and every symmetric one: a public set holds no secrets.
    pub fn parse(json: &[u8]) -> Result<KeySet, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set =
            serde_json::from_slice(json).map_err(|error| format!("it is no JWKS: {error}"))?;
        if set.keys.len() > MAX_KEYS {
            return Err(format!("it has more than {MAX_KEYS} keys"));
        }
        let keys: Vec<_> = set
            .keys
            .into_iter()
            .filter_map(usable)
            .map(Arc::new)
            .collect();
        if keys.is_empty() {
            return Err("it has no signature key that we can use: RSA of 2048 bits or more, P-256, P-384 or Ed25519".into());
        }
        Ok(KeySet(keys))
    }

    /// The one key for a token of this header.
    pub fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Arc<Key>, Miss> {
        let Some(id) = id else {
            let mut fitting = self.0.iter().filter(|key| key.algorithm == algorithm);
            return match (fitting.next(), fitting.next()) {
                (Some(key), None) => Ok(key.clone()),
                (Some(_), Some(_)) => Err(Miss::Ambiguous),
                (None, _) => Err(Miss::WrongAlgorithm),
            };
        };
        let mut named = self
            .0
            .iter()
            .filter(|key| key.id.as_deref() == Some(id))
            .peekable();
        if named.peek().is_none() {
            return Err(Miss::UnknownId);
        }
        named
            .find(|key| key.algorithm == algorithm)
            .cloned()
            .ok_or(Miss::WrongAlgorithm)
    }
}

fn usable(json: serde_json::Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(json).ok()?;
    let common = &jwk.common;
    let for_signatures = common
        .public_key_use
        .as_ref()
        .is_none_or(|use_| *use_ == PublicKeyUse::Signature);
    let to_verify = common
        .key_operations
        .as_ref()
        .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    if !for_signatures || !to_verify {
        return None;
    }
    if let AlgorithmParameters::RSA(rsa) = &jwk.algorithm
        && rsa.n.len() < MIN_RSA_MODULUS_CHARS
    {
        return None;
    }
    let of_kind = algorithms::of_kind(&jwk.algorithm);
    let algorithm = match common.key_algorithm {
        None => *of_kind.first()?,
        Some(own) => Algorithm::try_from(own)
            .ok()
            .filter(|own| of_kind.contains(own))?,
    };
    let decoding = DecodingKey::from_jwk(&jwk).ok()?;
    Some(Key {
        id: jwk.common.key_id,
        algorithm,
        decoding,
    })
}
