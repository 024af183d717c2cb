//! From the credential of a request to the caller.

use super::AuthError;
use super::Rule;
use super::api_keys::ApiKeys;
use super::cache::{self, Cache, Verified};
use super::caller::Naming;
use super::config::{AuthConfig, KeySource};
use super::credential::{self, Credential};
use super::issuer::Issuer;
use super::rule::Accept;
use super::seldom::Seldom;
use super::source::KeyClients;
use super::token::{Token, refuse};
use crate::metrics::KeyState;
use crate::request::caller::Caller;
use http::HeaderMap;
use jsonwebtoken::get_current_timestamp;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Unknown names of issuers that are logged, each once. The operator writes the manifests, but a
/// script that keeps writing new ones must not fill the log or the memory.
const MAX_SAID: usize = 256;

/// Verifies tokens and API keys.
pub struct Verifier {
    issuers: Vec<Issuer>,
    cache: Cache,
    api_keys: Arc<ApiKeys>,
    key_users: Naming,
    said: Mutex<BTreeSet<String>>,
    max_token_bytes: usize,
    /// Tokens that exceeded the size limit.
    too_large: Counter,
    too_large_said: Seldom,
}

impl Verifier {
    /// A verifier with an empty cache. It fetches no keys before they are needed.
    pub fn new(config: AuthConfig) -> Self {
        Self::counting(config, Counter::default())
    }

    /// Counts tokens beyond the size limit in `too_large`.
    pub fn counting(config: AuthConfig, too_large: Counter) -> Self {
        let (issuers, key_users) = match config.keys {
            KeySource::DevSecret(secret) => (vec![Issuer::development(&secret)], Naming::Bare),
            KeySource::Issuers(issuers) => {
                let clients = KeyClients::new(&config.upstream_allow);
                let (namings, key_users) = Naming::of(&issuers);
                if let Naming::Under(keys) = &key_users {
                    tracing::info!(
                        issuers = issuers.len(),
                        bare = issuers
                            .iter()
                            .find(|one| one.bare_users)
                            .map(|one| &*one.name),
                        "with several issuers, users are named ISSUER:SUB, and {keys}:USER for API keys"
                    );
                }
                let issuers = issuers.into_iter().zip(namings).map(|(issuer, naming)| {
                    Issuer::provider(issuer, naming, config.leeway, clients.clone())
                });
                (issuers.collect(), key_users)
            }
        };
        Verifier {
            issuers,
            cache: Cache::default(),
            api_keys: config.api_keys,
            key_users,
            said: Mutex::default(),
            max_token_bytes: config.max_token_bytes,
            too_large,
            too_large_said: Seldom::default(),
        }
    }

    /// Fetches the keys of every issuer now. Returns the result of each, by its name.
    pub async fn read_again(&self) -> Vec<(&str, Result<(), String>)> {
        let fetches = self.issuers.iter().map(|issuer| async move {
            let outcome = issuer.read_again().await?;
            Some((issuer.name(), outcome))
        });
        let outcomes = futures_util::future::join_all(fetches).await;
        outcomes.into_iter().flatten().collect()
    }

    /// The caller that the request's only credential proves to a route with this rule.
    pub async fn caller(&self, headers: &HeaderMap, rule: &Rule) -> Result<Caller, AuthError> {
        match (credential::read(headers)?, rule.accept) {
            (Credential::Token(_), Some(Accept::Key)) => {
                Err(refuse("this route accepts API keys only"))
            }
            (Credential::Key(_), Some(Accept::Token)) => {
                Err(refuse("this route accepts tokens only"))
            }
            (Credential::Token(token), _) => self.verify(token, &rule.issuers).await,
            (Credential::Key(key), _) => {
                let mut caller = self.api_keys.caller(key)?;
                caller.user = self.key_users.user(caller.user).map_err(refuse)?;
                Ok(caller)
            }
        }
    }

    /// The caller that `token` proves, if one of `names` issued it; any issuer if `names` is empty.
    pub async fn verify(&self, token: &str, names: &[String]) -> Result<Caller, AuthError> {
        self.say_unknown(names);
        self.check_size(token)?;
        let name = cache::name(token);
        let now_s = get_current_timestamp();
        if let Some(known) = self.cache.get(&name, now_s)
            && let Some(issuer) = self.issuers.get(known.issuer)
            && issuer.generation() == Some(known.generation)
        {
            admitted(issuer, names)?;
            return Ok(known.caller);
        }
        let token = Token::read(token)?;
        let (place, issuer) = self.issuer(&token)?;
        admitted(issuer, names)?;
        let proof = issuer.verify(&token).await?;
        let verified = Verified {
            caller: proof.caller.clone(),
            expiry_s: proof.expiry_s,
            issuer: place,
            generation: proof.generation,
        };
        self.cache.put(name, verified, now_s);
        Ok(proof.caller)
    }

    /// Refuses a token that is too large to parse.
    fn check_size(&self, token: &str) -> Result<(), AuthError> {
        let (bytes, limit) = (token.len(), self.max_token_bytes);
        if bytes <= limit {
            return Ok(());
        }
        self.too_large.inc();
        if self.too_large_said.is_due() {
            tracing::warn!(
                bytes,
                limit,
                "refused a token that is too large; --max-token raises the limit"
            );
        }
        Err(refuse("the token is too large"))
    }

    /// The issuer that it claims, with its index. That only selects the keys by which it is
    /// verified.
    fn issuer(&self, token: &Token<'_>) -> Result<(usize, &Issuer), AuthError> {
        if let [only] = self.issuers.as_slice()
            && only.iss().is_none()
        {
            return Ok((0, only));
        }
        let named = token.issuer()?;
        self.issuers
            .iter()
            .enumerate()
            .find(|(_, issuer)| issuer.iss() == Some(named))
            .ok_or_else(|| refuse("the token's issuer (iss) is not accepted"))
    }

    /// Keeps the keys of every issuer fresh until `end`, starting at once.
    pub fn keep_keys(&self, end: &CancellationToken) {
        for jwks in self.issuers.iter().filter_map(Issuer::jwks) {
            let keep = jwks.clone().keep();
            tokio::spawn(end.clone().run_until_cancelled_owned(keep));
        }
    }

    /// The state of the fetched keys, by the issuer's name.
    pub fn key_states(&self) -> impl Iterator<Item = (&str, KeyState)> {
        let state = |issuer: &Issuer| issuer.jwks().map(|jwks| jwks.state());
        let issuers = self.issuers.iter();
        issuers.filter_map(move |issuer| Some((issuer.name(), state(issuer)?)))
    }

    /// The keys of machine callers.
    #[cfg(test)]
    pub fn api_keys(&self) -> &Arc<ApiKeys> {
        &self.api_keys
    }

    /// Whether `token` is in the cache.
    #[cfg(test)]
    pub fn remembers(&self, token: &str) -> bool {
        let known = self.cache.get(&cache::name(token), get_current_timestamp());
        known.is_some()
    }

    /// Logs which of `names` the host does not know: manifests are read without knowing its
    /// issuers.
    fn say_unknown(&self, names: &[String]) {
        let unknown = names
            .iter()
            .filter(|name| self.issuers.iter().all(|issuer| issuer.name() != *name));
        for name in unknown {
            let mut said = self.said.lock();
            if said.len() < MAX_SAID && said.insert(name.clone()) {
                tracing::warn!(
                    issuer = name,
                    "a route accepts tokens of an issuer that this host does not know: that name admits nobody"
                );
            }
        }
    }
}

fn admitted(issuer: &Issuer, names: &[String]) -> Result<(), AuthError> {
    if names.is_empty() || names.iter().any(|name| name == issuer.name()) {
        return Ok(());
    }
    Err(refuse(
        "this route does not accept tokens from this issuer (iss)",
    ))
}
