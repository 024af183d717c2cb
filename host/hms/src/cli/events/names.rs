//! Names of subscriptions, schedules and parked events, and times, as people write them.

use hms_core::units::Lifetime;
use hms_windows::WindowName;
use std::fmt;
use std::str::FromStr;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// `WINDOW` or `WINDOW/NAME`, with the name of a subscription or a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Of {
    pub window: WindowName,
    pub name: Option<String>,
}

impl FromStr for Of {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (window, name) = match text.split_once('/') {
            Some((window, name)) => (window, Some(part(name)?)),
            None => (text, None),
        };
        let window = window.parse()?;
        Ok(Of { window, name })
    }
}

/// `WINDOW/SUBSCRIPTION`, with `/EVENT` if it is about one parked event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ParkedId {
    pub window: WindowName,
    pub subscription: String,
    pub event: Option<String>,
}

impl FromStr for ParkedId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "write WINDOW/SUBSCRIPTION/EVENT as `hms parked` shows it, or \
                    WINDOW/SUBSCRIPTION for all of a subscription";
        let (window, rest) = text.split_once('/').ok_or(form)?;
        let (subscription, event) = match rest.split_once('/') {
            Some((subscription, event)) => (subscription, Some(part(event)?)),
            None => (rest, None),
        };
        Ok(ParkedId {
            window: window.parse().map_err(|why| format!("{why}: {form}"))?,
            subscription: part(subscription)?,
            event,
        })
    }
}

impl ParkedId {
    /// Where the admin API has it.
    pub(super) fn path(&self) -> String {
        let path = format!(
            "/windows/{}/subscriptions/{}",
            self.window, self.subscription
        );
        match &self.event {
            Some(event) => format!("{path}/parked/{event}"),
            None => format!("{path}/parked"),
        }
    }
}

impl fmt::Display for ParkedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.window, self.subscription)?;
        match &self.event {
            Some(event) => write!(f, "/{event}"),
            None => Ok(()),
        }
    }
}

/// What can stand in a path of the admin API. The runs of a schedule have a subscription of their
/// own, `hms.schedule.NAME`.
fn part(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("hms.schedule.").unwrap_or(text);
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match (1..=64).contains(&name.len()) && name.bytes().all(fits) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "'{}' has something other than lower-case letters, digits and hyphens, or is empty or \
             too long",
            text.escape_debug()
        )),
    }
}

/// A time: RFC 3339, or how long ago it was.
pub(super) fn moment(text: &str) -> Result<OffsetDateTime, String> {
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(time);
    }
    let ago: Result<Lifetime, _> = text.parse();
    let now = OffsetDateTime::now_utc();
    ago.map(|ago| now - ago.duration()).map_err(|_| {
        "not a time: write it as 2026-01-31T08:00:00Z, or how long ago it was, such as 2h"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_of_a_window_or_of_one_of_its_subscriptions() {
        let of = |text: &str| {
            text.parse::<Of>()
                .map(|of| (of.window.to_string(), of.name))
        };
        assert_eq!(of("w"), Ok(("w".into(), None)));
        assert_eq!(of("w/all"), Ok(("w".into(), Some("all".into()))));
        let runs = "hms.schedule.nightly";
        assert_eq!(
            of(&format!("w/{runs}")),
            Ok(("w".into(), Some(runs.into())))
        );
        for wrong in [
            "",
            "/",
            "w/",
            "w/a/b",
            "w/A",
            "w/a%2f",
            "w/hms.schedule.",
            "W",
        ] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn id_of_a_parked_event_is_read_as_it_is_shown_and_leads_to_its_path() {
        for (text, path) in [
            ("w/all", "/windows/w/subscriptions/all/parked"),
            ("w/all/0f-1", "/windows/w/subscriptions/all/parked/0f-1"),
        ] {
            let id: ParkedId = text.parse().unwrap();
            assert_eq!((id.to_string().as_str(), id.path().as_str()), (text, path));
        }
        for wrong in ["w", "w/", "w/all/", "w/all/../b", "w/all/a/b", "w/all/a?b"] {
            assert!(wrong.parse::<ParkedId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn moment_is_a_time_or_how_long_ago_it_was() {
        let at = moment("2026-01-31T09:00:00+01:00").unwrap();
        assert_eq!(at.unix_timestamp(), 1_769_846_400);
        let before = OffsetDateTime::now_utc();
        let ago = moment("2h").unwrap() + std::time::Duration::from_secs(7_200);
        assert!((before..=OffsetDateTime::now_utc()).contains(&ago), "{ago}");
        for wrong in ["", "yesterday", "2026-01-31", "-2h"] {
            let why = moment(wrong).unwrap_err();
            assert!(why.contains("such as 2h"), "{why}");
        }
    }
}
