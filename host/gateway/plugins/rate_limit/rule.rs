//! The settings of `rate-limit` in a manifest.

use crate::gateway::manifest::yaml;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use std::fmt;
use std::time::Duration;

/// `limit` is a counter in a log cell.
const MAX_LIMIT: u64 = 1_000_000;

/// A day. Counters live in memory, so a longer period would promise what a restart breaks.
const MAX_PERIOD_S: u64 = 86_400;

/// At most `limit` requests in any `period`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub limit: u64,
    /// Whole seconds. `window:` in the manifest.
    pub period: Duration,
}

impl Default for Rule {
    fn default() -> Self {
        Rule {
            limit: 60,
            period: Duration::from_secs(60),
        }
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RuleVisitor;
        impl<'de> Visitor<'de> for RuleVisitor {
            type Value = Rule;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the settings 'limit' and 'window' (seconds) of rate-limit")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rule, A::Error> {
                let mut rule = Rule::default();
                let mut keys = yaml::Keys::new("field", &["limit", "window"]);
                while let Some(key) = map.next_key_seed(&mut keys)? {
                    if key == "limit" {
                        let seed = yaml::Number {
                            field: "limit",
                            bounds: 1..=MAX_LIMIT,
                        };
                        rule.limit = map.next_value_seed(seed)?;
                    } else {
                        let seed = yaml::Number {
                            field: "window",
                            bounds: 1..=MAX_PERIOD_S,
                        };
                        rule.period = Duration::from_secs(map.next_value_seed(seed)?);
                    }
                }
                Ok(rule)
            }
        }
        deserializer.deserialize_any(RuleVisitor)
    }
}
