//! Long spans of time: how long an API key holds, how long an event is tried.

use super::amount::{Unit, amount, exact, split};
use super::text::serde_as_text;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

const UNITS: [Unit; 4] = [("s", 1), ("m", 60), ("h", 3600), ("d", 24 * 3600)];

/// Ten years, in seconds: the longest lifetime.
const MAX_S: u64 = 10 * 365 * 24 * 3600;

/// A lifetime in whole seconds, such as `90s`, `12h` or `30d`: from one second to ten years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lifetime(u64);

impl Lifetime {
    /// The longest, in seconds.
    pub const MAX_SECONDS: u64 = MAX_S;

    /// What the text of a lifetime matches: a regular expression for a JSON Schema.
    pub const PATTERN: &str = "^[0-9]+ *(s|m|h|d)$";

    /// That many seconds; those beyond [`Lifetime::MAX_SECONDS`] are left out.
    pub const fn of_seconds(seconds: u64) -> Self {
        Lifetime(if seconds > MAX_S { MAX_S } else { seconds })
    }

    /// As the standard library has it.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl FromStr for Lifetime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, name) = split(text);
        let unit = UNITS.iter().find(|(unit, _)| *unit == name);
        match amount(number, unit) {
            Ok(seconds @ 1..=MAX_S) => Ok(Lifetime(seconds)),
            _ => {
                Err("not a lifetime: write a number with s, m, h or d, from 1s to 3650d, for example 30d"
                .to_owned())
            }
        }
    }
}

serde_as_text!(Lifetime);

/// Exactly, in the largest unit that can: `30d`, `36h`.
impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = exact(self.0, &UNITS);
        write!(f, "{number}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lifetime_is_between_one_second_and_ten_years() {
        let texts = [("1s", 1), ("30m", 1800), ("12h", 43_200), ("3650d", MAX_S)];
        for (text, seconds) in texts {
            assert_eq!(text.parse(), Ok(Lifetime(seconds)), "{text}");
        }
        for wrong in [
            "",
            "0d",
            "3651d",
            "1",
            "1w",
            "-1d",
            "1ms",
            "99999999999999999999d",
        ] {
            let why = wrong.parse::<Lifetime>().unwrap_err();
            assert!(why.contains("from 1s to 3650d"), "{wrong}: {why}");
        }
    }

    proptest! {
        #[test]
        fn lifetime_parses_what_it_displays(seconds in 1..=MAX_S) {
            let lifetime = Lifetime(seconds);
            prop_assert_eq!(lifetime.to_string().parse(), Ok(lifetime));
            let json = serde_json::to_string(&lifetime).unwrap();
            prop_assert_eq!(serde_json::from_str::<Lifetime>(&json).unwrap(), lifetime);
        }
    }
}
