//! What an operator agrees to before a change is made.

use crate::ChangeError;
use crate::release::artifacts::hex;
use sha2::{Digest, Sha256};
use std::str::FromStr;

/// Hexadecimal digits of a digest.
const DIGITS: usize = 64;

/// What an operator has agreed to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Consent {
    /// To nothing: whatever more a release could do is asked about.
    #[default]
    Nothing,
    /// To whatever it is.
    Everything,
    /// To what was asked in these words, by their [`Consent::digest`]. What has grown since is
    /// asked about again: somebody else may have edited the grants, or deployed.
    To(String),
}

impl Consent {
    /// The SHA-256 of the words in which was asked, hexadecimal.
    pub fn digest(words: &str) -> String {
        hex(&Sha256::digest(words))
    }

    /// # Errors
    /// What `asks`, if anything, where it is not agreed to.
    pub(crate) fn check(&self, asks: Option<&String>) -> Result<(), ChangeError> {
        let Some(asks) = asks else { return Ok(()) };
        let asked = ChangeError::NeedsConsent(asks.clone());
        let agreed = match self {
            Consent::Nothing => false,
            Consent::Everything => true,
            Consent::To(digest) => *digest == Consent::digest(&asked.to_string()),
        };
        match agreed {
            true => Ok(()),
            false => Err(asked),
        }
    }
}

impl From<bool> for Consent {
    fn from(yes: bool) -> Self {
        match yes {
            true => Consent::Everything,
            false => Consent::Nothing,
        }
    }
}

impl FromStr for Consent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(yes) = text.parse::<bool>() {
            return Ok(yes.into());
        }
        let is_digest = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match is_digest {
            true => Ok(Consent::To(text.to_ascii_lowercase())),
            false => Err(format!(
                "'{}' is not true, false or the SHA-256 shown with the question",
                text.escape_debug()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consent_to_certain_words_is_none_to_others() {
        let (asks, more) = ("it may now GET a".to_owned(), "it may now GET b".to_owned());
        let asked = Consent::Nothing.check(Some(&asks)).unwrap_err();
        let digest = Consent::digest(&asked.to_string());
        let agreed: Consent = digest.to_uppercase().parse().unwrap();
        assert!(agreed.check(Some(&asks)).is_ok() && agreed.check(None).is_ok());
        assert!(agreed.check(Some(&more)).is_err());
        assert!(Consent::Everything.check(Some(&more)).is_ok());
        assert_eq!("true".parse(), Ok(Consent::Everything));
        assert_eq!("false".parse(), Ok(Consent::Nothing));
        for bad in ["", "1", "yes", &digest[1..]] {
            assert!(bad.parse::<Consent>().is_err(), "{bad}");
        }
    }
}
