//! The keys of a JWKS (RFC 7517), each pinned to one algorithm (RFC 8725 section 3.1): its `alg`,
//! else the first of its kind that the issuer is configured with, else the usual one.

use super::algorithms::{self, Algorithm};
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jsonwebtoken::{Algorithm as Library, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// Keys in one set. Providers have two to five.
const MAX_KEYS: usize = 100;

/// Keys tried for one token, if several have its `kid`, or it has none. A signature costs up to a
/// millisecond of processor time, and providers seldom have two such keys.
const MAX_TRIED: usize = 8;

/// Bits of an RSA modulus: at least the minimum of RFC 7518 section 3.3, at most what aws-lc
/// verifies.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The beginning of a text in PEM (RFC 7468 section 2).
const PEM: &[u8] = b"-----BEGIN ";

/// Bytes of an Ed25519 key (RFC 8032 section 5.1.5).
const ED25519_BYTES: usize = 32;

/// Some providers add padding, which RFC 7518 section 2 forbids.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) struct Key {
    pub id: Option<String>,
    pub algorithm: Algorithm,
    pub decoding: DecodingKey,
}

/// The usable keys of one JWKS. May be empty: the issuer has then withdrawn all keys.
pub(super) struct KeySet(Vec<Key>);

/// Why no key of the set verifies a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Miss {
    /// No key has this id.
    UnknownId,
    /// The key with this id has another algorithm than the token.
    WrongAlgorithm,
    /// No candidate key has signed it.
    WrongSignature,
}

impl KeySet {
    /// The usable keys. Others are ignored, as RFC 7517 section 5 requires: of an unknown kind, for
    /// encryption, too short, and all symmetric ones, because a public set holds no secrets.
    /// `taken` are the algorithms that the issuer is configured with; empty for all.
    ///
    /// # Errors
    ///
    /// A sentence, if `json` is not a key set, or exceeds the bounds.
    pub(super) fn parse(json: &[u8], taken: &[Algorithm]) -> Result<KeySet, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(json).map_err(|error| {
            match json.trim_ascii_start().starts_with(PEM) {
                true => "it is PEM, not a JWKS".to_owned(),
                false => format!("it is not a JWKS: {error}"),
            }
        })?;
        if set.keys.len() > MAX_KEYS {
            return Err(format!("it has more than {MAX_KEYS} keys"));
        }
        let keys = set.keys.into_iter();
        Ok(KeySet(keys.filter_map(|key| usable(key, taken)).collect()))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Tries `verifies` with the candidate keys of a token with this header, until one succeeds.
    ///
    /// Candidates are the keys with the token's id; if none has it, those without an id; if the
    /// token has no id, all keys. So a provider without key ids can rotate keys.
    pub(super) fn prove(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        verifies: impl Fn(&Key) -> bool,
    ) -> Result<(), Miss> {
        let keys = || self.0.iter();
        let named = |key: &&Key| id.is_none() || key.id.as_deref() == id;
        let is_named = keys().any(|key| named(&key));
        let meant = keys().filter(|key| match is_named {
            true => named(key),
            false => key.id.is_none(),
        });
        let mut fitting = meant
            .filter(|key| key.algorithm == algorithm)
            .take(MAX_TRIED)
            .peekable();
        match fitting.peek().is_some() {
            true if fitting.any(verifies) => Ok(()),
            true => Err(Miss::WrongSignature),
            false if is_named => Err(Miss::WrongAlgorithm),
            false => Err(Miss::UnknownId),
        }
    }
}

/// The members of a JWK that are read (RFC 7517 section 4, RFC 7518 section 6, RFC 8037).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    intended: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

fn usable(json: Value, taken: &[Algorithm]) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(json).ok()?;
    let for_signatures = jwk.intended.as_ref().is_none_or(|it| it == "sig");
    let operations = jwk.key_ops.as_ref();
    let to_verify = operations.is_none_or(|all| all.iter().any(|it| it == "verify"));
    if !for_signatures || !to_verify {
        return None;
    }
    let (of_kind, decoding) = material(&jwk)?;
    let algorithm = match &jwk.alg {
        Some(own) => algorithms::find(own).filter(|own| of_kind.contains(own))?,
        None => {
            let configured = taken.iter().find(|taken| of_kind.contains(taken));
            *configured.or(of_kind.first())?
        }
    };
    Some(Key {
        id: jwk.kid,
        algorithm,
        decoding,
    })
}

/// The algorithms that a key can verify, the usual one first, and the verifying key.
fn material(jwk: &Jwk) -> Option<(&'static [Algorithm], DecodingKey)> {
    let number = |text: &Option<String>| BASE64URL.decode(text.as_deref()?).ok();
    match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => {
            let (n, e) = (number(&jwk.n)?, number(&jwk.e)?);
            let (n, e) = (trimmed(&n), trimmed(&e));
            let bits = (n.len() * 8).saturating_sub(n.first()?.leading_zeros() as usize);
            let key = DecodingKey::from_rsa_raw_components(n, e);
            RSA_BITS.contains(&bits).then_some((algorithms::RSA, key))
        }
        ("EC", Some(curve)) => {
            let (algorithm, bytes): (&[Algorithm], usize) = match curve {
                "P-256" => (&[Algorithm::Library(Library::ES256)], 32),
                "P-384" => (&[Algorithm::Library(Library::ES384)], 48),
                "P-521" => (&[Algorithm::Es512], 66),
                _ => return None,
            };
            // SEC 1 section 2.3.3: an uncompressed point.
            let mut point = vec![4];
            for coordinate in [&jwk.x, &jwk.y] {
                let coordinate = number(coordinate)?;
                let coordinate = trimmed(&coordinate);
                let missing = bytes.checked_sub(coordinate.len())?;
                point.extend(std::iter::repeat_n(0, missing));
                point.extend(coordinate);
            }
            Some((algorithm, DecodingKey::from_ec_der(&point)))
        }
        ("OKP", Some("Ed25519")) => {
            let key = number(&jwk.x)?;
            let fits = key.len() == ED25519_BYTES;
            fits.then(|| -> (&[Algorithm], _) {
                let algorithm = &[Algorithm::Library(Library::EdDSA)];
                (algorithm, DecodingKey::from_ed_der(&key))
            })
        }
        _ => None,
    }
}

/// A number without leading zeros: some providers write one, as ASN.1 does.
fn trimmed(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}
