//! Shares of the requests of a window.

use super::text::serde_as_text;
use std::fmt;
use std::str::FromStr;

/// A share of the requests, from 0.01% to 100%, in hundredths of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrafficShare(u16);

impl TrafficShare {
    /// That many hundredths of a percent.
    pub fn of_steps(steps: u16) -> Self {
        TrafficShare(steps)
    }

    /// In hundredths of a percent.
    pub fn steps(self) -> u16 {
        self.0
    }
}

impl FromStr for TrafficShare {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(number) = text.strip_suffix('%').map(str::trim) else {
            return Err(format!(
                "'{}' has no percent sign, so it could be a percentage or a fraction: write 10% for one in ten, 0.5% for one in \
                 two hundred",
                text.escape_debug()
            ));
        };
        let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        match number.parse::<f64>() {
            Ok(percent) if plain && (0.01..=100.0).contains(&percent) => {
                Ok(TrafficShare((percent * 100.0).round() as u16))
            }
            _ => Err(format!(
                "'{}' is not a share: use a percentage from 0.01% to 100%, for example 10%",
                text.escape_debug()
            )),
        }
    }
}

serde_as_text!(TrafficShare);

impl fmt::Display for TrafficShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn share_is_a_percentage_in_bounds() {
        assert_eq!("10%".parse(), Ok(TrafficShare(1000)));
        assert_eq!("0.5%".parse(), Ok(TrafficShare(50)));
        for wrong in ["0%", "101%", "-5%", "NaN%", "inf%", "1e1%", "ten%", "%"] {
            let why = wrong.parse::<TrafficShare>().unwrap_err();
            assert!(why.contains("from 0.01% to 100%"), "{why}");
        }
        for unclear in ["", "0.5", "1", "10", "NaN", "0.5 %%x"] {
            let why = unclear.parse::<TrafficShare>().unwrap_err();
            assert!(why.contains("no percent sign"), "{why}");
        }
    }

    proptest! {
        #[test]
        fn share_parses_what_it_displays(steps in 1u16..=10_000) {
            let share = TrafficShare(steps);
            prop_assert_eq!(share.to_string().parse(), Ok(share));
        }
    }
}
