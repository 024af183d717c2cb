//! The algorithms that tokens may be signed with.

use jsonwebtoken::Algorithm;

/// What an issuer's tokens may be signed with, by their names in RFC 7518 and RFC 8037. No HMAC: an issuer's keys are public.
pub const ASYMMETRIC: &[(&str, Algorithm)] = &[
    ("RS256", Algorithm::RS256),
    ("ES256", Algorithm::ES256),
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
