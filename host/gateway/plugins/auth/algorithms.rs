//! The algorithms that tokens may be signed with.

use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve};

/// What an issuer's tokens may be signed with, by their names in RFC 7518 and RFC 8037. No HMAC: an issuer's keys are public.
pub const ASYMMETRIC: &[(&str, Algorithm)] = &[
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

/// The algorithm of that name.
///
/// # Errors
///
/// A sentence with the names there are.
pub fn parse(name: &str) -> Result<Algorithm, String> {
    find(name).ok_or_else(|| {
        let names: Vec<&str> = ASYMMETRIC.iter().map(|(name, _)| *name).collect();
        format!(
            "'{name}' is no algorithm for tokens; there are: {}",
            names.join(", ")
        )
    })
}

/// The algorithm of that name, compared with case as RFC 7515 section 4.1.1 asks.
pub fn find(name: &str) -> Option<Algorithm> {
    ASYMMETRIC
        .iter()
        .find(|(other, _)| *other == name)
        .map(|(_, algorithm)| *algorithm)
}

/// What a key of this kind can verify; the first where it does not say which (`alg`).
pub fn of_kind(parameters: &AlgorithmParameters) -> &'static [Algorithm] {
    match parameters {
        AlgorithmParameters::RSA(_) => &[
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => &[],
        },
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => {
            &[Algorithm::EdDSA]
        }
        // Symmetric keys among them: a public set holds no secrets.
        _ => &[],
    }
}
