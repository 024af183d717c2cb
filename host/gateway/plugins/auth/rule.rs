//! The settings of `auth` in a manifest, and what they admit.

use super::Caller;
use super::claims::is_scope;
use crate::error::Error;
use crate::gateway::manifest::yaml;
use http::Method;
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Scopes in one rule.
const MAX_SCOPES: usize = 64;

/// Which scopes a route asks for. The default asks for a valid token only.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Rule {
    pub scopes: Vec<String>,
    /// `match: all`: every scope, whatever the method. Else one that admits the method.
    pub all: bool,
}

impl Rule {
    /// Admits the caller's request, or says which scope is missing.
    pub fn admit(&self, caller: &Caller, method: &Method) -> Result<(), Error> {
        if self.scopes.is_empty() {
            return Ok(());
        }
        let asked: Vec<&str> = self
            .scopes
            .iter()
            .map(String::as_str)
            .filter(|scope| self.all || admits(scope, method))
            .collect();
        if asked.is_empty() {
            return Err(Error::NoScopeForMethod {
                method: method.to_string(),
            });
        }
        let has = |scope: &&str| caller.scopes.iter().any(|own| own == scope);
        let enough = if self.all {
            asked.iter().all(has)
        } else {
            asked.iter().any(has)
        };
        if enough {
            Ok(())
        } else {
            Err(Error::Forbidden {
                needed: asked.join(" "),
            })
        }
    }
}

/// `.read` admits what only looks, `.write` everything else, any other scope all methods.
fn admits(scope: &str, method: &Method) -> bool {
    let looks = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
    if scope.ends_with(".read") {
        looks
    } else if scope.ends_with(".write") {
        !looks
    } else {
        true
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RuleVisitor;
        impl<'de> Visitor<'de> for RuleVisitor {
            type Value = Rule;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the settings 'scopes' and 'match' of auth")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rule, A::Error> {
                let mut rule = Rule::default();
                let mut keys = yaml::Keys::new("field", &["scopes", "match"]);
                while let Some(key) = map.next_key_seed(&mut keys)? {
                    if key == "scopes" {
                        rule.scopes = map.next_value_seed(Scopes)?;
                    } else {
                        rule.all = map.next_value_seed(yaml::parsed("match", parse_match))?;
                    }
                }
                Ok(rule)
            }
        }
        deserializer.deserialize_any(RuleVisitor)
    }
}

fn parse_match(text: &str) -> Result<bool, String> {
    match text {
        "any" => Ok(false),
        "all" => Ok(true),
        other => Err(format!("match is 'any' or 'all', not '{other}'")),
    }
}

fn parse_scope(text: &str) -> Result<String, String> {
    if is_scope(text) {
        Ok(text.to_string())
    } else {
        Err(format!(
            "'{text}' is no scope: printable ASCII without spaces, '\"' and '\\'"
        ))
    }
}

struct Scopes;

impl<'de> DeserializeSeed<'de> for Scopes {
    type Value = Vec<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<String>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scopes {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of scopes, as in 'scopes: [\"payments.write\"]'")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        let mut scopes = Vec::new();
        while let Some(scope) = list.next_element_seed(yaml::parsed("scopes", parse_scope))? {
            if scopes.len() == MAX_SCOPES {
                return Err(de::Error::custom(format_args!(
                    "more than {MAX_SCOPES} scopes"
                )));
            }
            scopes.push(scope);
        }
        if scopes.is_empty() {
            // It would read as "no scope does" and mean "any token does".
            return Err(de::Error::custom(
                "the list of scopes is empty: leave 'scopes' out to ask for a token only",
            ));
        }
        Ok(scopes)
    }
}
