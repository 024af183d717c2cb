//! A manifest: the YAML text of one file becomes one checked [`Route`], or a [`Fault`] that says where and why.
//!
//! Every check runs while serde reads the node that it is about, so that the fault carries that node's line.
//!
//! | field | meaning |
//! |---|---|
//! | `uri` | the path; `/**` at its end takes everything below the base as well ([`Pattern`]) |
//! | `upstream` | `http://hms-svc-NAME[:port]` for a window, else an http(s) URL ([`Upstream`]) |
//! | `plugins` | a list; of each, its name alone or with settings ([`Rules`]) |
//! | `strip-prefix` | what is cut off the path: a prefix of `uri`, or `false`; default the `/api/vN` in front |

mod pattern;
mod strip;
mod suggest;
mod upstream;
pub mod yaml;

pub use pattern::Pattern;
pub use upstream::Upstream;

use crate::gateway::plugins::Rules;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Bytes of one manifest. A real one has some hundred.
pub const MAX_MANIFEST_BYTES: u64 = 64 * 1024;

/// An editor that has just begun to write leaves such a file for a moment.
const EMPTY: &str = "the file is empty";

const FIELDS: &[&str] = &["uri", "upstream", "plugins", "strip-prefix"];

/// A checked manifest.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    /// The manifest's file name without its extension: the route's name in logs, metrics and rate limits.
    pub name: Arc<str>,
    pub uri: Pattern,
    pub upstream: Upstream,
    /// Cut off the front of the path; on segment borders, without a slash at its end, often empty.
    pub strip: String,
    pub rules: Rules,
}

/// What is wrong with a manifest, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Counted from 1. 1 where the fault is in no one line.
    pub line: usize,
    /// Counted from 1.
    pub column: usize,
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: {}",
            self.line, self.column, self.reason
        )
    }
}

impl Route {
    /// Reads the manifest `text` of the route `name`.
    pub fn parse(name: &str, text: &str) -> Result<Route, Fault> {
        if text.trim().is_empty() {
            return Err(Fault {
                line: 1,
                column: 1,
                reason: EMPTY.into(),
            });
        }
        let manifest: Manifest = serde_yaml::from_str(text).map_err(yaml::fault)?;
        let strip =
            strip::choose(&manifest.uri, manifest.strip.as_ref()).map_err(|reason| Fault {
                line: line_of(text, "strip-prefix"),
                column: 1,
                reason,
            })?;
        Ok(Route {
            name: name.into(),
            uri: manifest.uri,
            upstream: manifest.upstream,
            strip,
            rules: manifest.rules,
        })
    }

    /// The path that the upstream sees for a `path` that this route matches.
    pub fn stripped<'a>(&self, path: &'a str) -> &'a str {
        match path.strip_prefix(self.strip.as_str()) {
            Some("") => "/",
            Some(rest) if rest.starts_with('/') => rest,
            _ => path,
        }
    }
}

/// The line of a top-level field, or 1.
pub fn line_of(text: &str, field: &str) -> usize {
    let is_field = |line: &str| {
        line.strip_prefix(field)
            .is_some_and(|rest| rest.trim_start().starts_with(':'))
    };
    text.lines().position(is_field).map_or(1, |index| index + 1)
}

struct Manifest {
    uri: Pattern,
    upstream: Upstream,
    rules: Rules,
    strip: Option<strip::Choice>,
}

impl<'de> Deserialize<'de> for Manifest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ManifestVisitor;
        impl<'de> Visitor<'de> for ManifestVisitor {
            type Value = Manifest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a manifest with the fields 'uri' and 'upstream'")
            }

            fn visit_unit<E: serde::de::Error>(self) -> Result<Manifest, E> {
                Err(E::custom(EMPTY))
            }

            fn visit_none<E: serde::de::Error>(self) -> Result<Manifest, E> {
                Err(E::custom(EMPTY))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Manifest, A::Error> {
                let (mut uri, mut upstream, mut rules, mut strip) = (None, None, None, None);
                let mut keys = yaml::Keys::new("field", FIELDS);
                while let Some(key) = map.next_key_seed(&mut keys)? {
                    match key {
                        "uri" => {
                            uri = Some(map.next_value_seed(yaml::parsed("uri", Pattern::parse))?)
                        }
                        "upstream" => {
                            let seed = yaml::parsed("upstream", Upstream::parse);
                            upstream = Some(map.next_value_seed(seed)?);
                        }
                        "plugins" => rules = Some(map.next_value::<Rules>()?),
                        _ => strip = Some(map.next_value::<strip::Choice>()?),
                    }
                }
                Ok(Manifest {
                    uri: uri.ok_or_else(|| yaml::missing("uri"))?,
                    upstream: upstream.ok_or_else(|| yaml::missing("upstream"))?,
                    rules: rules.unwrap_or_default(),
                    strip,
                })
            }
        }
        deserializer.deserialize_any(ManifestVisitor)
    }
}

#[cfg(test)]
mod tests;
