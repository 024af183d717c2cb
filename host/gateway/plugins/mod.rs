//! The steps that a request passes between its route and its upstream, in one fixed order: `auth`, then
//! `rate-limit`, whatever order the manifest lists them in, because the limit counts per user.
//!
//! [`Rules`] is what one route asks for; [`Plugins`] holds what outlives every route: keys and counters.

pub mod auth;
pub mod rate_limit;

use crate::error::Error;
use crate::gateway::config::GatewayConfig;
use crate::gateway::manifest::{Route, yaml};
use auth::{Caller, Verifier};
use http::{HeaderMap, Method};
use rate_limit::{Limiter, Verdict};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::net::IpAddr;

const NAMES: &[&str] = &["auth", "rate-limit"];

/// What a route asks of its requests.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub auth: Option<auth::Rule>,
    pub rate_limit: Option<rate_limit::Rule>,
}

impl Rules {
    /// The plugins in the order in which they run.
    pub fn names(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        names.extend(self.auth.as_ref().map(|_| "auth"));
        names.extend(self.rate_limit.as_ref().map(|_| "rate-limit"));
        names
    }
}

/// The state behind the plugins.
pub struct Plugins {
    verifier: Verifier,
    limiter: Limiter,
}

/// What the plugins found out about a request. Kept for refused ones too: the answer and the log need it.
#[derive(Debug, Default)]
pub struct Passed {
    pub caller: Option<Caller>,
    pub limit: Option<Verdict>,
}

impl Plugins {
    pub fn new(config: &GatewayConfig) -> Self {
        Plugins {
            verifier: Verifier::new(config.auth.clone()),
            limiter: Limiter::new(config.limits.max_rate_keys),
        }
    }

    /// Runs the route's plugins. What they find is in `passed`, also when one refuses.
    pub async fn run(
        &self,
        route: &Route,
        method: &Method,
        headers: &HeaderMap,
        peer: IpAddr,
        passed: &mut Passed,
    ) -> Result<(), Error> {
        if let Some(rule) = &route.rules.auth {
            let caller = self.verifier.caller(headers).await?;
            let caller = passed.caller.insert(caller);
            rule.admit(caller, method)?;
        }
        if let Some(rule) = &route.rules.rate_limit {
            let user = passed.caller.as_ref().map(|caller| caller.user.as_str());
            let verdict = self.limiter.admit(rule, &route.name, user, peer);
            passed.limit.insert(verdict).outcome()?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Rules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor)
    }
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = Rules;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of plugins, as in 'plugins: [auth, rate-limit]'")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Rules, A::Error> {
        let mut rules = Rules::default();
        let mut keys = yaml::Keys::new("plugin", NAMES);
        while list
            .next_element_seed(Entry {
                rules: &mut rules,
                keys: &mut keys,
            })?
            .is_some()
        {}
        Ok(rules)
    }
}

/// One entry of the list: a name alone, or a mapping of one name to its settings.
struct Entry<'a> {
    rules: &'a mut Rules,
    keys: &'a mut yaml::Keys,
}

impl<'de> serde::de::DeserializeSeed<'de> for Entry<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Entry<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a plugin, alone or with its settings, as in '- rate-limit: {limit: 30, window: 60}'")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<(), E> {
        match self.keys.take(name)? {
            "auth" => self.rules.auth = Some(auth::Rule::default()),
            _ => self.rules.rate_limit = Some(rate_limit::Rule::default()),
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        use serde::de::Error;
        let Some(name) = map.next_key_seed(&mut *self.keys)? else {
            return Err(A::Error::custom("an empty entry in the list of plugins"));
        };
        match name {
            "auth" => self.rules.auth = Some(map.next_value::<Option<_>>()?.unwrap_or_default()),
            _ => self.rules.rate_limit = Some(map.next_value::<Option<_>>()?.unwrap_or_default()),
        }
        if let Some(other) = map.next_key::<String>()? {
            return Err(A::Error::custom(format_args!(
                "'{other}' stands beside '{name}': indent the settings of a plugin deeper than its name, and begin each plugin with '- '"
            )));
        }
        Ok(())
    }
}
