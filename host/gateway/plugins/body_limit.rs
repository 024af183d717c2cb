//! `body-limit`: the largest request body of a route.

use crate::gateway::manifest::{Field, Kind, Map};

pub const FIELDS: &[Field] = &[Field {
    name: "max",
    kind: Kind::Size(0..=1 << 40),
    doc: "Bytes of one request body, as 1MiB; a larger one is refused with 413. The host's own limit holds as well.",
}];

#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    pub max: u64,
}

impl Rule {
    pub fn read(map: &Map<'_>) -> Option<Rule> {
        map.require("max")?;
        map.size("max").map(|max| Rule { max })
    }
}
