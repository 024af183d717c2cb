//! The algorithms that tokens may be signed with.

use jsonwebtoken::Algorithm as Library;

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// What jsonwebtoken verifies.
    Library(Library),
    /// ECDSA on P-521 with SHA-512 (RFC 7518 section 3.4), which jsonwebtoken does not have.
    Es512,
}

impl From<Library> for Algorithm {
    fn from(library: Library) -> Self {
        Algorithm::Library(library)
    }
}

/// What an issuer's tokens may be signed with, by their names in RFC 7518, RFC 8037 and RFC 9864.
/// No HMAC: an issuer's keys are public. `Ed25519` is the full name of what `EdDSA` is with a key
/// on that curve, so both name one algorithm.
pub(super) const ASYMMETRIC: &[(&str, Algorithm)] = &[
    ("RS256", Algorithm::Library(Library::RS256)),
    ("RS384", Algorithm::Library(Library::RS384)),
    ("RS512", Algorithm::Library(Library::RS512)),
    ("PS256", Algorithm::Library(Library::PS256)),
    ("PS384", Algorithm::Library(Library::PS384)),
    ("PS512", Algorithm::Library(Library::PS512)),
    ("ES256", Algorithm::Library(Library::ES256)),
    ("ES384", Algorithm::Library(Library::ES384)),
    ("ES512", Algorithm::Es512),
    ("EdDSA", Algorithm::Library(Library::EdDSA)),
    ("Ed25519", Algorithm::Library(Library::EdDSA)),
];

/// What RSA keys can verify, the usual one first.
pub(super) const RSA: &[Algorithm] = &[
    Algorithm::Library(Library::RS256),
    Algorithm::Library(Library::RS384),
    Algorithm::Library(Library::RS512),
    Algorithm::Library(Library::PS256),
    Algorithm::Library(Library::PS384),
    Algorithm::Library(Library::PS512),
];

/// The algorithm of that name.
///
/// # Errors
///
/// A sentence with the names there are.
pub(super) fn parse(name: &str) -> Result<Algorithm, String> {
    find(name).ok_or_else(|| {
        let names: Vec<&str> = ASYMMETRIC.iter().map(|(name, _)| *name).collect();
        format!(
            "'{name}' is not a supported token algorithm; supported: {}",
            names.join(", ")
        )
    })
}

/// The algorithm of that name, compared with case as RFC 7515 section 4.1.1 asks.
pub(super) fn find(name: &str) -> Option<Algorithm> {
    ASYMMETRIC
        .iter()
        .find(|(other, _)| *other == name)
        .map(|(_, algorithm)| *algorithm)
}
