//! What is cut off the path before the upstream sees it.

use super::Pattern;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use std::fmt;

/// The manifest's `strip-prefix`.
pub enum Choice {
    /// `false`
    Nothing,
    /// `true`, which says the default aloud
    Version,
    Prefix(String),
}

/// The prefix to strip, without a slash at its end. By default the `/api/vN` that `uri` begins with.
pub fn choose(uri: &Pattern, choice: Option<&Choice>) -> Result<String, String> {
    match choice {
        Some(Choice::Nothing) => Ok(String::new()),
        Some(Choice::Version) | None => Ok(version_prefix(uri.base()).to_string()),
        Some(Choice::Prefix(text)) => {
            let prefix = text.strip_suffix('/').unwrap_or(text);
            let below = |rest: &str| rest.is_empty() || rest.starts_with('/');
            match uri.base().strip_prefix(prefix) {
                Some(rest) if below(rest) => Ok(prefix.to_string()),
                _ => Err(format!("strip-prefix '{text}' is no prefix of uri '{uri}'")),
            }
        }
    }
}

/// `/api/v1` of `/api/v1/payments`, or nothing.
fn version_prefix(path: &str) -> &str {
    let Some(rest) = path.strip_prefix("/api/v") else {
        return "";
    };
    let version = rest.split('/').next().unwrap_or_default();
    if version.is_empty() || !version.bytes().all(|b| b.is_ascii_digit()) {
        return "";
    }
    path.get(.."/api/v".len() + version.len())
        .unwrap_or_default()
}

impl<'de> Deserialize<'de> for Choice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ChoiceVisitor;
        impl Visitor<'_> for ChoiceVisitor {
            type Value = Choice;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a prefix of 'uri', or false, for 'strip-prefix'")
            }

            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Choice, E> {
                Ok(if on { Choice::Version } else { Choice::Nothing })
            }

            fn visit_str<E: de::Error>(self, prefix: &str) -> Result<Choice, E> {
                Ok(Choice::Prefix(prefix.to_string()))
            }
        }
        deserializer.deserialize_any(ChoiceVisitor)
    }
}
