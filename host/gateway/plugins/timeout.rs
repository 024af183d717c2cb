//! `timeout`: how long a route waits.

use crate::gateway::manifest::{Field, Kind, Map};
use std::time::Duration;

/// An hour, in milliseconds.
const MAX_MS: u64 = 3_600_000;

pub const FIELDS: &[Field] = &[
    Field {
        name: "response",
        kind: Kind::Time(1..=MAX_MS),
        doc: "Time until the upstream has sent the head of its answer, as 5s; then 504. A window's own wall time holds as well.",
    },
    Field {
        name: "body-idle",
        kind: Kind::Time(1..=MAX_MS),
        doc: "The longest pause inside of a request body. Default: the host's, 60s.",
    },
    Field {
        name: "body-pace",
        kind: Kind::Number(0..=1 << 30),
        doc: "The least bytes a second of a request body, on average after its first 30 s; 0 is any. Default: the host's, 240.",
    },
];

#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    pub response: Option<Duration>,
    pub body_idle: Option<Duration>,
    pub body_pace: Option<u64>,
}

impl Rule {
    pub fn read(map: &Map<'_>) -> Option<Rule> {
        let rule = Rule {
            response: map.time("response"),
            body_idle: map.time("body-idle"),
            body_pace: map.number("body-pace"),
        };
        if FIELDS.iter().all(|field| map.get(field.name).is_none()) {
            map.node().fault(
                "name 'response', 'body-idle' or 'body-pace', as in '- timeout: {response: 5s}'",
            );
            return None;
        }
        Some(rule)
    }
}
