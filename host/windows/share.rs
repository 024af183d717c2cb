//! Which requests a canary gets.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;

/// A share of the requests, from 0.01% to 100%, in hundredths of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Share(u16);

const WHOLE: u16 = 10_000;

impl Share {
    /// Whether the request of `caller` belongs to this share of the requests of release `number`. The same caller gets the same
    /// answer as long as the share does not shrink, and each release draws anew, so that no one is the canary of every release.
    pub(super) fn takes(self, number: u64, caller: &[u8]) -> bool {
        // Its keys are fixed, so a restart changes nothing.
        let mut hasher = DefaultHasher::new();
        (number, caller).hash(&mut hasher);
        hasher.finish() % u64::from(WHOLE) < u64::from(self.0)
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').unwrap_or(text).trim();
        let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        match number.parse::<f64>() {
            Ok(percent) if plain && (0.01..=100.0).contains(&percent) => {
                Ok(Share((percent * 100.0).round() as u16))
            }
            _ => Err(format!(
                "'{}' is no share: use a percentage from 0.01% to 100%, for example 10%",
                text.escape_debug()
            )),
        }
    }
}

impl TryFrom<String> for Share {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Share> for String {
    fn from(share: Share) -> String {
        share.to_string()
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shares_are_percentages() {
        assert_eq!("10%".parse(), Ok(Share(1000)));
        assert_eq!("0.5".parse(), Ok(Share(50)));
        for wrong in ["", "0%", "101%", "-5%", "NaN", "inf", "1e1", "ten"] {
            assert!(wrong.parse::<Share>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_share_gets_about_that_many_callers() {
        let share = Share(1000);
        let taken = (0..20_000u32)
            .filter(|i| share.takes(4, &i.to_be_bytes()))
            .count();
        assert!((1800..2200).contains(&taken), "{taken}");
    }

    proptest! {
        #[test]
        fn whoever_is_in_a_share_is_in_every_larger_one(a in 1u16..=WHOLE, b in 1u16..=WHOLE, number: u64, caller: Vec<u8>) {
            let (small, large) = (Share(a.min(b)), Share(a.max(b)));
            prop_assert!(!small.takes(number, &caller) || large.takes(number, &caller));
            prop_assert!(Share(WHOLE).takes(number, &caller));
            prop_assert_eq!(small.to_string().parse(), Ok(small));
        }
    }
}
