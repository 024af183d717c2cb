//! What the operator sets in `windows/passports.yaml`.

use hms_window::{config, days};
use serde_json::Number;
use std::time::Duration;

const DEFAULT_FEE: u32 = 60;
const DEFAULT_REMINDER_DAYS: u32 = 10;

/// The operator's settings, or else the defaults.
pub struct Settings {
    /// `fee`: what a renewal costs.
    pub fee: Number,
    /// `currency`, in which it is shown. The one of payments decides.
    pub currency: String,
    /// `remind-after`: how long fee or photo may be missing until the applicant is reminded.
    pub remind_after: Duration,
}

impl Settings {
    /// As they are now. The log says which of them cannot be read.
    pub fn read() -> Self {
        Settings {
            fee: set("fee", fee).unwrap_or_else(|| DEFAULT_FEE.into()),
            currency: config("currency").unwrap_or_else(|| "EUR".to_owned()),
            remind_after: set("remind-after", duration)
                .unwrap_or_else(|| days(DEFAULT_REMINDER_DAYS)),
        }
    }
}

fn set<T>(name: &str, read: fn(&str) -> Option<T>) -> Option<T> {
    let text = config(name)?;
    let value = read(&text);
    if value.is_none() {
        eprintln!("config '{name}': '{text}' cannot be read: the default is used");
    }
    value
}

/// An amount such as `60` or `37.50`.
fn fee(text: &str) -> Option<Number> {
    let fee: Number = serde_json::from_str(text).ok()?;
    let amount = fee.as_f64()?;
    (amount.is_finite() && amount >= 0.0).then_some(fee)
}

/// A time such as `10d`, `36h`, `15m` or `5s`.
fn duration(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(at);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    Some(Duration::from_secs(number.checked_mul(seconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_is_a_number_and_a_unit() {
        for (text, seconds) in [("5s", 5), ("15m", 900), ("36h", 129_600), ("10d", 864_000)] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in [
            "",
            "10",
            "d",
            "10 d",
            "-1d",
            "1.5d",
            "99999999999999999999d",
        ] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn fee_is_an_amount() {
        assert_eq!(fee("37.50").unwrap().to_string(), "37.50");
        for wrong in ["", "free", "-1", "1e999", "\"60\""] {
            assert_eq!(fee(wrong), None, "{wrong}");
        }
    }
}
