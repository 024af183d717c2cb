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
];

#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    pub response: Option<Duration>,
    pub body_idle: Option<Duration>,
}

impl Rule {
    pub fn read(map: &Map<'_>) -> Option<Rule> {
        let rule = Rule {
            response: map.time("response"),
            body_idle: map.time("body-idle"),
        };
        if map.get("response").is_none() && map.get("body-idle").is_none() {
            map.node()
                .fault("name 'response' or 'body-idle', as in '- timeout: {response: 5s}'");
            return None;
        }
        Some(rule)
    }
}
