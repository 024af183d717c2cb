//! The text of an API key: `hms_` + id + `_` + secret.
//!
//! The id finds the key; the secret proves it. At rest is only the secret's SHA-256: it is random and long, so nobody finds it by
//! trying, and the slow hashes that guessable passwords need would only cost every request.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io;
use subtle::ConstantTimeEq;

/// What every key begins with: scanners for leaked secrets look for such, and no JWT does.
pub const PREFIX: &str = "hms_";

/// 48 random bits, so that ids seldom collide. Whoever makes one looks.
const ID_BYTES: usize = 6;

/// 256 random bits.
const SECRET_BYTES: usize = 32;

/// A key as it is shown once.
pub struct NewKey {
    pub id: String,
    /// The whole text.
    pub text: String,
    pub hash: Hash,
}

impl NewKey {
    /// # Errors
    ///
    /// Where the system has no random numbers.
    pub fn make() -> io::Result<NewKey> {
        let (mut id, mut secret) = ([0; ID_BYTES], [0; SECRET_BYTES]);
        for bytes in [id.as_mut_slice(), secret.as_mut_slice()] {
            getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()))?;
        }
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let secret = URL_SAFE_NO_PAD.encode(secret);
        Ok(NewKey {
            text: format!("{PREFIX}{id}_{secret}"),
            hash: Hash::of(&secret),
            id,
        })
    }
}

/// Id and secret of a key's text.
pub fn split(text: &str) -> Option<(&str, &str)> {
    // A secret in base64url may have a '_' of its own; an id has none.
    text.strip_prefix(PREFIX)?.split_once('_')
}

/// The SHA-256 of a secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash([u8; 32]);

impl Hash {
    pub fn of(secret: &str) -> Hash {
        Hash(Sha256::digest(secret).into())
    }

    /// Takes as long wherever the two differ.
    pub fn is_of(&self, secret: &str) -> bool {
        self.0.ct_eq(&Hash::of(secret).0).into()
    }
}

impl TryFrom<String> for Hash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Hash, &'static str> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(Hash)
            .ok_or("a hash is the base64url of 32 bytes")
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> String {
        URL_SAFE_NO_PAD.encode(hash.0)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_long_random_and_proven_by_their_secret_alone() {
        let (one, other) = (NewKey::make().unwrap(), NewKey::make().unwrap());
        assert_ne!(one.text, other.text);
        let (id, secret) = split(&one.text).unwrap();
        assert_eq!((id, secret.len()), (one.id.as_str(), 43));
        assert!(one.hash.is_of(secret));
        assert!(!one.hash.is_of(&secret[1..]) && !other.hash.is_of(secret));
        let kept = Hash::try_from(String::from(one.hash)).unwrap();
        assert!(kept.is_of(secret));
        for broken in ["", "hms_", "hms_1", "xhms_1_2"] {
            assert!(split(broken).is_none(), "{broken}");
        }
    }
}
