//! Dates of HTTP (RFC 9110, section 5.6.7), in seconds since 1970.

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const LONG_DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

const DAY_S: i64 = 24 * 60 * 60;

/// The last second that four digits of a year can say: 9999-12-31 23:59:59.
const LAST_S: i64 = 253_402_300_799;

/// A date in one of the three forms that a recipient must read; nothing for anything else.
///
/// `now_s` decides the century of a year with two digits: one that appears to be more than 50 years
/// ahead is past. The name of the day is not compared with the date.
pub fn parse(text: &str, now_s: i64) -> Option<i64> {
    match text.split_once(", ") {
        Some((day, rest)) if DAYS.contains(&day) => imf_fixdate(rest),
        Some((day, rest)) if LONG_DAYS.contains(&day) => rfc850(rest, now_s),
        Some(_) => None,
        None => asctime(text),
    }
}

/// The form that a sender must write, `Sun, 06 Nov 1994 08:49:37 GMT`. What lies outside the years
/// 1970 to 9999 is taken to the nearest end.
pub fn format(seconds: i64) -> String {
    let seconds = seconds.clamp(0, LAST_S);
    let (days, time) = (seconds.div_euclid(DAY_S), seconds.rem_euclid(DAY_S));
    let (year, month, day) = civil(days);
    // 1970-01-01 was a Thursday.
    let name = |names: &[&'static str], index: i64| {
        let index = usize::try_from(index).unwrap_or_default();
        names.get(index).copied().unwrap_or_default()
    };
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        name(&DAYS, (days + 3).rem_euclid(7)),
        name(&MONTHS, month - 1),
        time / 3600,
        time / 60 % 60,
        time % 60
    )
}

/// `06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(rest: &str) -> Option<i64> {
    let mut parts = rest.split(' ');
    let mut next = || parts.next();
    let (day, month, year, time, zone) = (next()?, next()?, next()?, next()?, next()?);
    let whole = zone == "GMT" && next().is_none();
    let date = seconds(digits(year, 4)?, month, digits(day, 2)?, time)?;
    whole.then_some(date)
}

/// `06-Nov-94 08:49:37 GMT`
fn rfc850(rest: &str, now_s: i64) -> Option<i64> {
    let (date, time) = rest.strip_suffix(" GMT")?.split_once(' ')?;
    let mut parts = date.split('-');
    let mut next = || parts.next();
    let (day, month, year) = (next()?, next()?, next()?);
    if next().is_some() {
        return None;
    }
    let (day, year) = (digits(day, 2)?, digits(year, 2)?);
    let (year_now, ..) = civil(now_s.div_euclid(DAY_S));
    let year = year_now - year_now.rem_euclid(100) + year;
    let date = seconds(year, month, day, time)?;
    let (limit_year, month_now, day_now) = civil(now_s.div_euclid(DAY_S));
    let limit_s = (days_from_civil(limit_year + 50, month_now, day_now) + 1) * DAY_S;
    match date > limit_s {
        true => seconds(year - 100, month, day, time),
        false => Some(date),
    }
}

/// `Sun Nov  6 08:49:37 1994`: every part at its place.
fn asctime(text: &str) -> Option<i64> {
    let day = text.get(8..10)?;
    let day = match day.strip_prefix(' ') {
        Some(digit) => digits(digit, 1)?,
        None => digits(day, 2)?,
    };
    let spaced = [3, 7, 10, 19]
        .iter()
        .all(|at| text.as_bytes().get(*at) == Some(&b' '));
    let date = seconds(
        digits(text.get(20..)?, 4)?,
        text.get(4..7)?,
        day,
        text.get(11..19)?,
    )?;
    (spaced && DAYS.contains(&text.get(..3)?)).then_some(date)
}

fn seconds(year: i64, month: &str, day: i64, time: &str) -> Option<i64> {
    let month = 1 + i64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()?;
    let days = days_from_civil(year, month, day);
    // A day that the month does not have would come back as one of the next.
    if civil(days) != (year, month, day) {
        return None;
    }
    let mut parts = time.split(':');
    let mut next = |most| digits(parts.next()?, 2).filter(|number| *number <= most);
    // 60: a leap second.
    let (hour, minute, second) = (next(23)?, next(59)?, next(60)?);
    match parts.next() {
        None => Some(days * DAY_S + hour * 3600 + minute * 60 + second),
        Some(_) => None,
    }
}

/// A number of exactly `count` digits.
fn digits(text: &str, count: usize) -> Option<i64> {
    let all = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok())?
}

/// Days since 1970-01-01 in the Gregorian calendar, by eras of 400 years that begin in March
/// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a day since 1970-01-01: the inverse of [`days_from_civil`].
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1994-11-06 08:49:37, the example of RFC 9110.
    const EXAMPLE_S: i64 = 784_111_777;
    /// 2026-11-26.
    const NOW_S: i64 = 1_795_651_200;

    #[test]
    fn all_three_date_formats_are_read() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse(text, NOW_S), Some(EXAMPLE_S), "{text}");
        }
        assert_eq!(parse("Thu, 01 Jan 1970 00:00:00 GMT", NOW_S), Some(0));
        assert_eq!(parse("Wed, 31 Dec 1969 23:59:59 GMT", NOW_S), Some(-1));
        assert_eq!(
            parse("Thu Feb 29 23:59:60 2024", NOW_S),
            Some(1_709_251_200)
        );
    }

    #[test]
    fn two_digit_year_is_at_most_fifty_years_ahead() {
        let at_midnight = |date: &str| parse(&format!("Sunday, {date} 00:00:00 GMT"), NOW_S);
        let same = |date: &str| parse(&format!("Sun, {date} 00:00:00 GMT"), NOW_S);
        assert_eq!(at_midnight("26-Nov-76"), same("26 Nov 2076"));
        assert_eq!(at_midnight("28-Nov-76"), same("28 Nov 1976"));
        assert_eq!(at_midnight("01-Jan-00"), same("01 Jan 2000"));
        assert_eq!(at_midnight("01-Jan-99"), same("01 Jan 1999"));
    }

    #[test]
    fn invalid_date_is_none() {
        for text in [
            "",
            "0",
            "784111777",
            "1994-11-06T08:49:37Z",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
            "sun, 06 nov 1994 08:49:37 gmt",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Wed, 29 Feb 2023 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:00 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sunday, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun Nov 6 08:49:37 1994",
            "Sun Nov  6 08:49:37 94",
            "Sun Nov  6 08:49:37 1994 GMT",
            "Sün Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse(text, NOW_S), None, "{text:?}");
        }
    }

    #[test]
    fn date_parses_what_it_formats() {
        assert_eq!(format(EXAMPLE_S), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(format(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(format(i64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(format(-5), format(0));
        for day in 0..60_000 {
            let seconds = day * DAY_S + day % DAY_S;
            assert_eq!(parse(&format(seconds), NOW_S), Some(seconds));
        }
    }
}
