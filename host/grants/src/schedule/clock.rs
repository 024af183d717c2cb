//! When an expression comes in a time zone.
//!
//! An expression is about the time that clocks show. Where they are put forward, a time that they
//! do not show comes at the first instant after. Where they are put back, a time that they show
//! twice comes once, the first time. Only expressions for every hour (`*`) go by the time that
//! passes instead: each instant at which clocks show a time of theirs, so that "every 15 minutes"
//! stays every 15 minutes. This is what the cron of Debian does. The database of time zones is the
//! program's own.

use super::cron;
use croner::Cron;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};
use std::sync::LazyLock;

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Changes of a zone's clocks that are looked at for one answer. The rarest expression that comes,
/// a leap day, is eight years away at most, around 2100.
const MAX_CHANGES: usize = 64;

/// An expression and a time zone.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    cron: Cron,
    zone: TimeZone,
    /// Goes by the time that passes.
    every_hour: bool,
}

/// The time zone of this name, and the name as the database has it.
pub(super) fn zone(name: &str) -> Result<(TimeZone, String), String> {
    // jiff reads names in any case.
    let zone = ZONES.get(name).map_err(|_| {
        format!(
            "'{}' is not a time zone: write a name of the IANA database, such as Europe/Berlin or \
             UTC",
            name.escape_debug()
        )
    })?;
    let name = zone.iana_name().unwrap_or("UTC").to_owned();
    Ok((zone, name))
}

impl Clock {
    pub(super) fn new(expression: &str, time_zone: &str) -> Result<Self, String> {
        let cron = cron::read(expression)?;
        let (zone, _) = zone(time_zone)?;
        let every_hour = cron.pattern.hours.values().len() == 24;
        Ok(Clock {
            cron,
            zone,
            every_hour,
        })
    }

    /// The first instant after `ms` at which it comes, both in milliseconds since the epoch.
    pub(super) fn next_after(&self, ms: u64) -> Option<u64> {
        let after = Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
        let next = match self.every_hour {
            true => self.next_passing(after)?,
            false => self.next_shown(after)?,
        };
        u64::try_from(next.as_millisecond()).ok()
    }

    /// By the time that clocks show. Later times never come earlier, so the first one that comes
    /// after `after` is the next.
    fn next_shown(&self, after: Timestamp) -> Option<Timestamp> {
        let mut shown = self.zone.to_datetime(after);
        loop {
            shown = self.following(shown)?;
            let comes = self.instant(shown)?;
            if comes > after {
                return Some(comes);
            }
        }
    }

    /// By the time that passes: as in a zone without changes, up to the next change.
    fn next_passing(&self, after: Timestamp) -> Option<Timestamp> {
        let mut shown = self.following(self.zone.to_datetime(after))?;
        let mut from = after;
        for _ in 0..MAX_CHANGES {
            let offset = self.zone.to_offset(from);
            let comes = offset.to_timestamp(shown).ok()?;
            let change = self.zone.following(from).next();
            match change.map(|change| change.timestamp()) {
                Some(change) if change <= comes => {
                    from = change;
                    let just_before = SignedDuration::from_secs(-1);
                    let now = self.zone.to_datetime(change);
                    shown = self.following(now.checked_add(just_before).ok()?)?;
                }
                _ => return Some(comes),
            }
        }
        None
    }

    /// The next time of the expression that a clock shows after this one.
    fn following(&self, shown: DateTime) -> Option<DateTime> {
        self.cron.find_next_occurrence(&shown, false).ok()
    }

    fn instant(&self, shown: DateTime) -> Option<Timestamp> {
        let comes = self.zone.to_ambiguous_timestamp(shown);
        let is_skipped = matches!(comes.offset(), AmbiguousOffset::Gap { .. });
        let earlier = comes.earlier().ok()?;
        match is_skipped {
            // `earlier` is before the change here.
            true => Some(self.zone.following(earlier).next()?.timestamp()),
            false => Some(earlier),
        }
    }

    /// A time as RFC 3339 has it, with the offset of the zone: `2026-10-25T02:30:00+02:00`.
    pub(super) fn written(&self, ms: u64) -> Option<String> {
        let at = Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
        let zoned = at.to_zoned(self.zone.clone());
        Some(zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(text: &str) -> u64 {
        let at: Timestamp = text.parse().unwrap();
        u64::try_from(at.as_millisecond()).unwrap()
    }

    /// The occurrences after `from`, as they are written.
    fn next(expression: &str, zone: &str, from: &str, many: usize) -> Vec<String> {
        let clock = Clock::new(expression, zone).unwrap();
        let mut at = ms(from);
        let mut next = || {
            at = clock.next_after(at)?;
            clock.written(at)
        };
        (0..many).filter_map(|_| next()).collect()
    }

    const BERLIN: &str = "Europe/Berlin";

    #[test]
    fn time_that_clocks_skip_comes_at_the_first_instant_after() {
        let half_past_two = next("30 2 * * *", BERLIN, "2026-03-28T00:00:00Z", 3);
        assert_eq!(
            half_past_two,
            [
                "2026-03-28T02:30:00+01:00",
                "2026-03-29T03:00:00+02:00",
                "2026-03-30T02:30:00+02:00"
            ]
        );
        // Several skipped times of one day are one occurrence.
        let often = next("*/20 2 * * *", BERLIN, "2026-03-29T00:00:00Z", 2);
        assert_eq!(
            often,
            ["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"]
        );
        // The hour before and the hour after are as ever.
        let around = next("0 1,3 * * *", BERLIN, "2026-03-28T23:30:00Z", 3);
        assert_eq!(
            around,
            [
                "2026-03-29T01:00:00+01:00",
                "2026-03-29T03:00:00+02:00",
                "2026-03-30T01:00:00+02:00"
            ]
        );
    }

    #[test]
    fn time_that_clocks_show_twice_comes_once() {
        let half_past_two = next("30 2 * * *", BERLIN, "2026-10-24T12:00:00Z", 2);
        assert_eq!(
            half_past_two,
            ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]
        );
        // Asked between the two.
        let after = next("30 2 * * *", BERLIN, "2026-10-25T01:10:00Z", 1);
        assert_eq!(after, ["2026-10-26T02:30:00+01:00"]);
        let both = next("0 2,3 * * *", BERLIN, "2026-10-24T23:00:00Z", 2);
        assert_eq!(
            both,
            ["2026-10-25T02:00:00+02:00", "2026-10-25T03:00:00+01:00"]
        );
    }

    #[test]
    fn expression_for_every_hour_goes_by_the_time_that_passes() {
        let back = next("30 * * * *", BERLIN, "2026-10-24T23:40:00Z", 4);
        assert_eq!(
            back,
            [
                "2026-10-25T02:30:00+02:00",
                "2026-10-25T02:30:00+01:00",
                "2026-10-25T03:30:00+01:00",
                "2026-10-25T04:30:00+01:00"
            ]
        );
        let forward = next("30 * * * *", BERLIN, "2026-03-29T00:00:00Z", 2);
        assert_eq!(
            forward,
            ["2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"]
        );
    }

    #[test]
    fn changes_of_half_an_hour_and_of_a_whole_day_are_known() {
        // Lord Howe: half an hour.
        let howe = next(
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03T12:00:00Z",
            1,
        );
        assert_eq!(howe, ["2026-10-04T02:30:00+11:00"]);
        // Samoa had no 30 December 2011.
        let samoa = next("0 12 30 12 *", "Pacific/Apia", "2011-12-29T00:00:00Z", 1);
        assert_eq!(samoa, ["2011-12-31T00:00:00+14:00"]);
        // Changes at midnight.
        let cairo = next("@daily", "Africa/Cairo", "2026-04-23T12:00:00Z", 1);
        assert_eq!(cairo, ["2026-04-24T01:00:00+03:00"]);
    }

    #[test]
    fn leap_day_is_found_over_the_century_that_has_none() {
        let leap = next("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", 1);
        assert_eq!(leap, ["2104-02-29T00:00:00+00:00"]);
        let hourly = next("0 * 29 2 *", BERLIN, "2096-03-01T00:00:00Z", 1);
        assert_eq!(hourly, ["2104-02-29T00:00:00+01:00"]);
    }

    #[test]
    fn zones_are_known_without_the_system_and_by_their_own_names() {
        assert_eq!(zone("europe/berlin").unwrap().1, BERLIN);
        assert_eq!(zone("UTC").unwrap().1, "UTC");
        assert_eq!(zone("Asia/Kolkata").unwrap().1, "Asia/Kolkata");
        for wrong in ["Berlin", "", "CEST+1", "../etc/passwd", "Europe/Berlin "] {
            assert!(zone(wrong).unwrap_err().contains("IANA"), "{wrong}");
        }
    }

    proptest! {
        /// Against a search through every minute of the days around both changes of 2026.
        #[test]
        fn next_time_is_the_first_minute_that_matches(
            (minute, hour) in (0..60_i8, 0..24_i8),
            spring: bool,
            zone_name in prop::sample::select(vec![BERLIN, "America/New_York", "UTC"]),
            start in 0..(3 * 24 * 60_u64),
            every_hour: bool,
        ) {
            let from = match (spring, zone_name) {
                (true, "America/New_York") => "2026-03-07T00:00:00Z",
                (false, "America/New_York") => "2026-10-31T00:00:00Z",
                (true, _) => "2026-03-28T00:00:00Z",
                (false, _) => "2026-10-24T00:00:00Z",
            };
            let from = ms(from) + start * 60_000;
            let (zone, _) = zone(zone_name).unwrap();
            let shown = |ms: u64| {
                zone.to_datetime(Timestamp::from_millisecond(ms as i64).unwrap())
            };
            let hours = if every_hour { "*".to_owned() } else { hour.to_string() };
            let clock = Clock::new(&format!("{minute} {hours} * * *"), zone_name).unwrap();
            let mut seen = std::collections::BTreeSet::new();
            // Those from long before, so that a time shown twice is known the second time.
            let first = (1..3 * 24 * 60_u64).map(|step| from - 24 * 3_600_000 + step * 60_000).find(|at| {
                let (now, before) = (shown(*at), shown(at - 60_000));
                if every_hour {
                    return now.minute() == minute && *at > from;
                }
                let wanted = now.date().at(hour, minute, 0, 0);
                let skipped = before < wanted && wanted < now;
                let fits = now == wanted || skipped;
                fits && seen.insert(wanted) && *at > from
            });
            prop_assert_eq!(clock.next_after(from), first);
        }

        #[test]
        fn answers_ascend_and_are_the_same_from_wherever_one_asks(
            start in 1_700_000_000_000_u64..1_900_000_000_000,
            expression in prop::sample::select(vec![
                "*/7 * * * *", "30 2 * * *", "0 0 1 * *", "15 1-3 * * sun", "0 */2 * * *",
            ]),
        ) {
            let clock = Clock::new(expression, BERLIN).unwrap();
            let next = clock.next_after(start).unwrap();
            prop_assert!(next > start);
            prop_assert_eq!(clock.next_after(next - 1), Some(next));
            prop_assert_eq!(clock.next_after(start + (next - start) / 2), Some(next));
        }
    }
}
