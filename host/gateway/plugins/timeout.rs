//! `timeout`: how long a route waits.

use crate::gateway::manifest::{Field, Kind, Map};
use std::time::Duration;

/// An hour, in milliseconds.
const MAX_MS: u64 = 3_600_000;

/// A day, in milliseconds: for streams of events that say something now and then.
const MAX_STREAM_MS: u64 = 24 * MAX_MS;

pub const FIELDS: &[Field] = &[
    Field {
        name: "response",
        kind: Kind::Time(1..=MAX_MS),
        doc: "Time until the upstream has sent the head of its answer, as 5s; then 504. It counts from the last byte of the request's body. A window's own wall time holds as well.",
    },
    Field {
        name: "body-idle",
        kind: Kind::Time(1..=MAX_MS),
        doc: "The longest pause inside of a request body. Default: the host's, 60s.",
    },
    Field {
        name: "body-pace",
        kind: Kind::Number(0..=1 << 30),
        doc: "The least bytes a second of a request body, on average after its first 30 s; 0 is any, also in the long run. Default: the host's, 240.",
    },
    Field {
        name: "stream-idle",
        kind: Kind::Time(1..=MAX_STREAM_MS),
        doc: "The longest time in which nothing moves, either way, once an answer has begun, as 1h for streams of events. Default: the host's, 5m.",
    },
];

#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    pub response: Option<Duration>,
    pub body_idle: Option<Duration>,
    pub body_pace: Option<u64>,
    pub stream_idle: Option<Duration>,
}

impl Rule {
    pub fn read(map: &Map<'_>) -> Option<Rule> {
        let rule = Rule {
            response: map.time("response"),
            body_idle: map.time("body-idle"),
            body_pace: map.number("body-pace"),
            stream_idle: map.time("stream-idle"),
        };
        if FIELDS.iter().all(|field| map.get(field.name).is_none()) {
            map.node().fault(
                "name 'response', 'body-idle', 'body-pace' or 'stream-idle', as in '- timeout: {response: 5s}'",
            );
            return None;
        }
        Some(rule)
    }
}
