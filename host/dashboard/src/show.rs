//! How numbers and times are written for people.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What stands where nothing was measured.
pub(crate) const NONE: &str = "–";

/// Bytes, such as `1.5 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    for next in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    match unit {
        "B" => format!("{bytes} B"),
        _ if value >= 100.0 || value.fract() < 0.05 => format!("{value:.0} {unit}"),
        _ => format!("{value:.1} {unit}"),
    }
}

/// A rate, such as `12.3`.
pub(crate) fn rate(rate: f32) -> String {
    match rate {
        rate if rate <= 0.0 => "0".into(),
        rate if rate < 100.0 => format!("{rate:.1}"),
        rate => format!("{rate:.0}"),
    }
}

/// Failures of all, such as `0.3 %`.
pub(crate) fn share(part: f32, all: f32) -> String {
    match (part, all) {
        (_, all) if all <= 0.0 => NONE.into(),
        (part, _) if part <= 0.0 => "0 %".into(),
        (part, all) => format!("{:.1} %", 100.0 * part / all),
    }
}

/// Milliseconds, such as `1.2 ms`.
pub(crate) fn ms(ms: Option<f32>) -> String {
    match ms {
        None => NONE.into(),
        Some(ms) if ms >= 1000.0 => format!("{:.2} s", ms / 1000.0),
        Some(ms) if ms >= 10.0 => format!("{ms:.0} ms"),
        Some(ms) if ms < 0.095 => format!("{ms:.2} ms"),
        Some(ms) => format!("{ms:.1} ms"),
    }
}

/// A number of seconds, such as `3 h 20 min`.
pub(crate) fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// A time for people and, in RFC 3339, for programs.
#[derive(Debug, Clone)]
pub(crate) struct When {
    pub(crate) iso: String,
    pub(crate) text: String,
}

/// A time to the second, in UTC.
pub(crate) fn when(time: OffsetDateTime) -> When {
    let utc = time.to_offset(time::UtcOffset::UTC);
    let whole = utc.replace_nanosecond(0).unwrap_or(utc);
    let iso = whole.format(&Rfc3339).unwrap_or_default();
    let text = iso.replace('T', " ").replace('Z', " UTC");
    When { iso, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_their_unit() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(64 << 20), "64 MiB");
        assert_eq!(rate(0.0), "0");
        assert_eq!(rate(12.34), "12.3");
        assert_eq!(rate(1234.5), "1234");
        assert_eq!(share(0.0, 0.0), NONE);
        assert_eq!(share(1.0, 4.0), "25.0 %");
        assert_eq!(ms(Some(1.23)), "1.2 ms");
        assert_eq!(ms(Some(0.034)), "0.03 ms");
        assert_eq!(ms(Some(1500.0)), "1.50 s");
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(3_661), "1 h 1 min");
        assert_eq!(duration(90_000), "1 d 1 h");
        assert_eq!(
            when(OffsetDateTime::UNIX_EPOCH).text,
            "1970-01-01 00:00:00 UTC"
        );
    }
}
