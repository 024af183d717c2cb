//! `schedules`: what a window is asked to do at certain times.

use super::names::each_by_name;
use super::subscriptions::path;
use crate::schedule::{Missed, Overlap, Schedule, check_cron, check_time_zone};
use hms_core::units::Time;
use hms_manifest::{Field, Kind, Node, object};
use serde_json::{Value, json};
use std::time::Duration;

/// Schedules of one window.
pub(super) const MAX_SCHEDULES: usize = 64;

const SCHEDULE: &[Field] = &[
    Field {
        name: "cron",
        kind: Kind::Text("\"0 2 * * *\""),
        doc: "When: minute, hour, day of the month, month and weekday, or @hourly, @daily, @weekly, @monthly, @yearly.",
    },
    Field {
        name: "time-zone",
        kind: Kind::Text("Europe/Berlin"),
        doc: "The time zone of 'cron', by its IANA name. Default: UTC.",
    },
    Field {
        name: "to",
        kind: Kind::Text("/jobs/nightly"),
        doc: "The path of the window that is asked by POST.",
    },
    Field {
        name: "missed",
        kind: Kind::Choice(&["last", "all", "skip"]),
        doc: "Which of the times are run that passed while the host could not. Default: last.",
    },
    Field {
        name: "within",
        kind: Kind::Lifetime(1..=30 * 24 * 3600),
        doc: "How long after its time a missed one is still run. Default: 1h.",
    },
    Field {
        name: "overlap",
        kind: Kind::Choice(&["skip", "queue"]),
        doc: "Whether a run is left out or waits where the last one is not over. Default: skip.",
    },
    Field {
        name: "jitter",
        kind: Kind::Time(0..=Time::MAX.ms()),
        doc: "The longest delay, fixed for each schedule, so that many do not begin at once. Default: 0s.",
    },
];

pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "propertyNames": super::names::schema(),
        "additionalProperties": object(SCHEDULE, &["cron", "to"]),
        "maxProperties": MAX_SCHEDULES,
    })
}

pub(super) fn read(text: &str, node: &Node<'_>) -> Vec<Schedule> {
    let example =
        "schedules by name, as in 'schedules: {nightly: {cron: \"0 2 * * *\", to: /jobs/nightly}}'";
    each_by_name(node, "schedule", MAX_SCHEDULES, example, |name, node| {
        one(text, name, node)
    })
}

fn one(text: &str, name: &str, node: &Node<'_>) -> Option<Schedule> {
    let map = node.map(
        SCHEDULE,
        "a mapping, as in '{cron: \"0 2 * * *\", to: /jobs/nightly}'",
    )?;
    let checked = |text: &str| check_cron(text).map(|()| text.trim().to_owned());
    let cron = map
        .require("cron")
        .and_then(|_| map.parsed("cron", checked));
    let to = map.require("to").and_then(|_| map.parsed("to", path));
    let time_zone = map.parsed("time-zone", check_time_zone);
    let within = map.lifetime("within");
    let jitter = map.time("jitter");
    Some(Schedule {
        name: name.to_owned(),
        time_zone: time_zone.unwrap_or_else(|| "UTC".to_owned()),
        missed: match map.choice("missed") {
            Some("all") => Missed::All,
            Some("skip") => Missed::Skip,
            _ => Missed::Last,
        },
        within: within.unwrap_or(Duration::from_secs(3600)),
        overlap: match map.choice("overlap") {
            Some("queue") => Overlap::Queue,
            _ => Overlap::Skip,
        },
        jitter: jitter.unwrap_or_default(),
        line: node.line(text),
        cron: cron?,
        to: to?,
    })
}
