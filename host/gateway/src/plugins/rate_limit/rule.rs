//! The settings of `rate-limit` in a manifest.

use hms_manifest::{Field, Kind, Map};
use http::HeaderName;
use std::time::Duration;

/// `limit` is a counter in a log cell.
const MAX_LIMIT: u64 = 1_000_000;

/// A day. Counters are in memory, so a restart would break the promise of a longer period.
const MAX_PERIOD_S: u64 = 86_400;

pub(super) const FIELDS: &[Field] = &[
    Field {
        name: "limit",
        kind: Kind::Number(1..=MAX_LIMIT),
        doc: "Requests admitted in any period of length 'window'. Default: 60.",
    },
    Field {
        name: "window",
        kind: Kind::Seconds(1..=MAX_PERIOD_S),
        doc: "The period: a number of seconds, or a time such as 1m. Default: 60.",
    },
    Field {
        name: "burst",
        kind: Kind::Number(1..=MAX_LIMIT),
        doc: "How many of these are admitted at once; the others become available evenly over the period. Default: all.",
    },
    Field {
        name: "key",
        kind: Kind::Text("header:x-tenant"),
        doc: "What requests are counted by: 'user' (the address if there is no user), 'address', 'header:NAME', or 'route' for all together. Default: user.",
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

/// How callers are distinguished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// The user; the client's address without a user.
    User,
    /// The client's address; of IPv6, its /64 network.
    Address,
    /// The value of this field; like `User` if it is missing or repeated. A client that can choose
    /// it freely has no limit, so use it only for fields that `auth` or a proxy in front
    /// guarantees.
    Header(HeaderName),
    /// All requests together.
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
            node.fault(format_args!("{burst} exceeds the limit of {}", rule.limit));
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
            .map_err(|_| format!("'{name}' is not a valid header name")),
        _ => Err(format!(
            "key is 'user', 'address', 'header:NAME' or 'route', not '{text}'"
        )),
    }
}
