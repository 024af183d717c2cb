//! The settings of `rate-limit` in a manifest.

use hms_manifest::{Field, Kind, Map};
use http::HeaderName;
use std::time::Duration;

/// `limit` is a counter in a log cell.
const MAX_LIMIT: u64 = 1_000_000;

/// A day. Counters live in memory, so a longer period would promise what a restart breaks.
const MAX_PERIOD_S: u64 = 86_400;

pub(super) const FIELDS: &[Field] = &[
    Field {
        name: "limit",
        kind: Kind::Number(1..=MAX_LIMIT),
        doc: "Requests admitted in any period of 'window' seconds. Default: 60.",
    },
    Field {
        name: "window",
        kind: Kind::Seconds(1..=MAX_PERIOD_S),
        doc: "The period, in seconds or as 1m. Default: 60.",
    },
    Field {
        name: "burst",
        kind: Kind::Number(1..=MAX_LIMIT),
        doc: "Of these so many at once; further ones as time passes, evenly. Default: all.",
    },
    Field {
        name: "key",
        kind: Kind::Text("header:x-tenant"),
        doc: "Who is counted apart: 'user' (the address where there is none), 'address', 'header:NAME', or 'route' for all together. Default: user.",
    },
];

/// At most `limit` requests in any `period`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Requests in one period; at least 1.
    pub limit: u64,
    /// Whole seconds. `window:` in the manifest.
    pub period: Duration,
    /// At most `limit`.
    pub burst: Option<u64>,
    /// Whose requests count together.
    pub key: By,
}

/// What tells callers apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// The user; the client's address where there is none.
    User,
    /// The client's address; of IPv6, its /64 network.
    Address,
    /// The values of this field; as `User` where it is not sent, or more than once. Whoever may
    /// choose it freely has no limit, so it is for fields that `auth` or a proxy in front vouches
    /// for.
    Header(HeaderName),
    /// All together.
    Route,
}

impl Default for Rule {
    fn default() -> Self {
        Rule {
            limit: 60,
            period: Duration::from_secs(60),
            burst: None,
            key: By::User,
        }
    }
}

impl Rule {
    pub(super) fn parse(map: &Map<'_>) -> Rule {
        let default = Rule::default();
        let rule = Rule {
            limit: map.number("limit").unwrap_or(default.limit),
            period: map.seconds("window").unwrap_or(default.period),
            burst: map.number("burst"),
            key: map.parsed("key", parse_key).unwrap_or(default.key),
        };
        if let (Some(burst), Some(node)) = (rule.burst, map.get("burst"))
            && burst > rule.limit
        {
            node.fault(format_args!(
                "{burst} is more than the limit of {} that it is a part of",
                rule.limit
            ));
        }
        rule
    }
}

fn parse_key(text: &str) -> Result<By, String> {
    match text.split_once(':') {
        None if text == "user" => Ok(By::User),
        None if text == "address" => Ok(By::Address),
        None if text == "route" => Ok(By::Route),
        Some(("header", name)) => HeaderName::try_from(name.trim())
            .map(By::Header)
            .map_err(|_| format!("'{name}' is no header name")),
        _ => Err(format!(
            "key is 'user', 'address', 'header:NAME' or 'route', not '{text}'"
        )),
    }
}
