//! Spans of time, up to a day.

use super::amount::{AmountError, Unit, amount, exact, split};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

const UNITS: [Unit; 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];

/// A span of time in whole milliseconds, such as `500ms`, `30s`, `2m` or `1h`. A text has at most
/// [`Time::MAX`]: a longer time limit is a mistake.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(u64);

impl Time {
    /// The longest that can be written: a day.
    pub const MAX: Time = Time(24 * 3_600_000);

    /// What the text of a time matches: a regular expression for a JSON Schema.
    pub const PATTERN: &str = "^[0-9]+(ms|s|m|h)$";

    /// The same for whole seconds.
    pub const PATTERN_OF_SECONDS: &str = "^[0-9]+(s|m|h)$";

    /// That many milliseconds.
    pub const fn of_ms(ms: u64) -> Self {
        Time(ms)
    }

    /// In milliseconds.
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// In seconds, where it is a whole number of them.
    pub fn whole_seconds(self) -> Option<u64> {
        self.0.is_multiple_of(1000).then_some(self.0 / 1000)
    }

    /// As the standard library has it.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// Whether it is no time at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, name) = split(text);
        let unit = UNITS.iter().find(|(unit, _)| *unit == name);
        match amount(number, unit).map(Time) {
            Ok(time) if time <= Time::MAX => Ok(time),
            Ok(_) | Err(AmountError::TooLarge) => Err("too long: a time is at most 24h".to_owned()),
            Err(AmountError::Malformed) => {
                Err("not a time: write a number with ms, s, m or h, for example 500ms".to_owned())
            }
        }
    }
}

/// Exactly, in the largest unit that can: `1h`, `90s`, `1500ms`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0s"),
            ms => {
                let (number, unit) = exact(ms, &UNITS);
                write!(f, "{number}{unit}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn time_is_a_number_with_a_unit() {
        let texts = [
            ("500ms", 500),
            ("30s", 30_000),
            ("2 m", 120_000),
            ("24h", 86_400_000),
            ("0s", 0),
        ];
        for (text, ms) in texts {
            assert_eq!(text.parse(), Ok(Time::of_ms(ms)), "{text}");
        }
    }

    #[test]
    fn invalid_time_is_rejected_with_an_example_and_a_long_one_with_the_bound() {
        for wrong in ["", "5", "5S", "1d", "-1s", "1.5h", " 1s", "s"] {
            let why = wrong.parse::<Time>().unwrap_err();
            assert!(why.contains("for example 500ms"), "{wrong}: {why}");
        }
        for long in ["25h", "86400001ms", "9999999999m", "18446744073709551615h"] {
            let why = long.parse::<Time>().unwrap_err();
            assert!(why.contains("at most 24h"), "{long}: {why}");
        }
    }

    #[test]
    fn time_displays_in_the_largest_exact_unit() {
        let texts = [
            (0, "0s"),
            (1, "1ms"),
            (1500, "1500ms"),
            (90_000, "90s"),
            (3_600_000, "1h"),
        ];
        for (ms, text) in texts {
            assert_eq!(Time::of_ms(ms).to_string(), text);
        }
        assert_eq!(Time::of_ms(90_000).whole_seconds(), Some(90));
        assert_eq!(Time::of_ms(1500).whole_seconds(), None);
    }

    proptest! {
        #[test]
        fn time_parses_what_it_displays(ms in 0..=Time::MAX.ms()) {
            let time = Time::of_ms(ms);
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }

        #[test]
        fn time_parser_never_panics(text in "\\PC*") {
            let _ = text.parse::<Time>();
        }
    }
}
