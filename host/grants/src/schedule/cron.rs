//! Cron expressions: what is one. When they come is croner's matter, and `clock`'s.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::{DateTime, date};

/// Bytes of an expression.
const MAX_BYTES: usize = 256;

/// Words for whole expressions.
const NICKNAMES: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

const MONTHS: &[&str] = &[
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Reads an expression: five fields (minute, hour, day of month, month, weekday), or a nickname.
pub(super) fn read(text: &str) -> Result<Cron, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("a cron expression has at most {MAX_BYTES} bytes"));
    }
    let lower = text.trim().to_ascii_lowercase();
    let nickname = NICKNAMES.iter().find(|(name, _)| *name == lower);
    if let (None, true) = (nickname, lower.starts_with('@')) {
        let names: Vec<&str> = NICKNAMES.iter().map(|(name, _)| *name).collect();
        return Err(hms_manifest::unknown("word", text.trim(), &names));
    }
    let expression = nickname.map_or(lower.as_str(), |(_, expression)| expression);
    let fields: Vec<&str> = expression.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields[..] else {
        let why = match fields.len() {
            6 => "seconds are not supported, so it has one field too many",
            _ => "it does not have five fields",
        };
        return Err(wrong(text, why));
    };
    let known = [
        (minute, "minute", &[][..], ""),
        (hour, "hour", &[], ""),
        (day, "day of the month", &[], "lw"),
        (month, "month", MONTHS, ""),
        (weekday, "weekday", WEEKDAYS, "l"),
    ];
    for (field, what, names, modifiers) in known {
        if !field
            .split([',', '-', '/', '#'])
            .all(|piece| is_piece(piece, names, modifiers))
        {
            return Err(wrong(text, &format!("'{field}' is not a {what}")));
        }
    }
    let parser = CronParser::builder().seconds(Seconds::Disallowed);
    let parser = parser.year(Year::Disallowed).build();
    let cron = parser.parse(expression);
    let cron = cron.map_err(|error| wrong(text, error.to_string().trim_end_matches('.')))?;
    // The calendar repeats after 400 years, so what does not come from any day on never does.
    let day: DateTime = date(2000, 1, 1).at(0, 0, 0, 0);
    if cron.find_next_occurrence(&day, true).is_err() {
        return Err(format!(
            "'{}' never comes: no month of it has such a day",
            text.escape_debug()
        ));
    }
    Ok(cron)
}

/// croner takes names anywhere, also as part of a word: here they are whole words of their field.
fn is_piece(piece: &str, names: &[&str], modifiers: &str) -> bool {
    let digits =
        |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let plain = |text: &str| digits(text) || names.contains(&text);
    let modified = piece.trim_end_matches(|c| modifiers.contains(c));
    piece == "*"
        || plain(piece)
        || (modified.len() < piece.len() && (modified.is_empty() || plain(modified)))
}

fn wrong(text: &str, why: &str) -> String {
    format!(
        "'{}' is not a cron expression: {why}; write minute, hour, day of the month, month and \
         weekday, as in '0 2 * * *' for each night at two, or '@daily'",
        text.escape_debug()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_names_ranges_and_nicknames_are_read() {
        for text in [
            "0 2 * * *",
            "*/15 8-17 * * MON-FRI",
            "0 0 1,15 jan-mar sun",
            "0 0 L * *",
            "0 0 LW * *",
            "0 0 15W * *",
            "0 9 * * MON#1",
            "0 9 * * 5L",
            "0 9 * * friL",
            "@daily",
            "@Hourly",
            "@midnight",
            " 0  2 * * * ",
        ] {
            assert!(read(text).is_ok(), "{text}: {:?}", read(text));
        }
    }

    #[test]
    fn invalid_expression_is_refused_with_the_reason() {
        for (text, says) in [
            ("", "five fields"),
            ("* * * *", "five fields"),
            ("0 0 2 * * *", "seconds"),
            ("0 0 2 * * * *", "five fields"),
            ("60 * * * *", "minute"),
            ("0 24 * * *", "24"),
            ("0 0 * * MONDAY", "'monday' is not a weekday"),
            ("0 0 * * sunmon", "weekday"),
            ("0 0 * mon *", "month"),
            ("mon 0 * * *", "minute"),
            ("0 0 ? * *", "day of the month"),
            ("0 0 1 * +1", "weekday"),
            ("@dayly", "did you mean '@daily'"),
            ("@reboot", "unknown word"),
            ("0 0 31 2 *", "never comes"),
            ("0 0 31 4,6,9,11 *", "never comes"),
        ] {
            let reason = read(text).expect_err(text);
            assert!(reason.contains(says), "{text}: {reason}");
        }
        assert!(read(&"0,".repeat(200)).unwrap_err().contains("256"));
    }

    proptest! {
        #[test]
        fn expression_reader_never_panics(text in "[0-9*,/#LWa-z@ -]{0,30}") {
            let _ = read(&text);
        }
    }
}
