//! The text of an API key: `hms_` + id + `_` + secret.
//!
//! The id finds the key; the secret proves it. Only the secret's SHA-256 is stored. The secret is
//! long and random, so it cannot be guessed; the slow hashes that passwords need would only cost
//! time on every request.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io;
use subtle::ConstantTimeEq;

/// The prefix of every key. Scanners for leaked secrets look for prefixes, and no JWT begins like
/// this.
pub(super) const PREFIX: &str = "hms_";

/// 48 random bits, so that ids seldom collide. The creator of a key checks.
const ID_BYTES: usize = 6;

/// 256 random bits.
const SECRET_BYTES: usize = 32;

/// In base64url, without padding.
const SECRET_CHARS: usize = (SECRET_BYTES * 8).div_ceil(6);

/// A key as it is shown, once.
pub(super) struct NewKey {
    pub id: String,
    /// The whole text.
    pub text: String,
    pub hash: Hash,
}

impl NewKey {
    /// # Errors
    ///
    /// If the system has no random numbers.
    pub(super) fn make() -> io::Result<NewKey> {
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

/// Whether `bytes` contain the text of a key.
pub(super) fn is_key_in(bytes: &[u8]) -> bool {
    // Every field of every request is checked, and few contain an underscore.
    memchr::memchr_iter(b'_', bytes).any(|at| {
        let (front, rest) = bytes.split_at(at + 1);
        front.ends_with(PREFIX.as_bytes()) && begins_with_id_and_secret(rest)
    })
}

fn begins_with_id_and_secret(bytes: &[u8]) -> bool {
    let Some((id, rest)) = bytes.split_at_checked(2 * ID_BYTES) else {
        return false;
    };
    let secret = rest.strip_prefix(b"_");
    let secret = secret.and_then(|secret| secret.get(..SECRET_CHARS));
    id.iter().all(u8::is_ascii_hexdigit)
        && secret.is_some_and(|secret| {
            let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
            secret.iter().all(fits)
        })
}

/// Id and secret of a key's text.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    // A base64url secret may contain `_`; an id does not.
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

    /// In constant time.
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
    fn api_keys_are_unique_and_proven_by_the_whole_secret_alone() {
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
        assert!(is_key_in(one.text.as_bytes()));
        let (cut, _) = one.text.split_at(one.text.len() - 1);
        for none in ["", "_", "hms_", "hms_000000000000_", "hms__hms_", cut] {
            assert!(!is_key_in(none.as_bytes()), "{none}");
            // One that only begins like a key hides none behind it.
            assert!(is_key_in(format!("{none}{}", other.text).as_bytes()));
        }
    }
}
