//! From the Authorization header to the caller.

use super::config::{AuthConfig, KeySource};
use super::issuer::Issuer;
use super::token::{Token, bearer, refuse};
use super::{Caller, Rule};
use crate::error::Error;
use crate::gateway::client::HttpClient;
use http::HeaderMap;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Time to connect to the provider of a JWKS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Unknown names of issuers that are said in the log, each once. Manifests are the operator's own; a script that writes
/// ever new ones must not fill the log or the memory.
const MAX_SAID: usize = 256;

/// Verifies bearer tokens.
pub struct Verifier {
    issuers: Vec<Issuer>,
    said: Mutex<BTreeSet<String>>,
}

impl Verifier {
    pub fn new(config: AuthConfig) -> Self {
        let issuers = match config.keys {
            KeySource::DevSecret(secret) => vec![Issuer::development(&secret)],
            KeySource::Issuers(issuers) => {
                let client = HttpClient::new(CONNECT_TIMEOUT);
                issuers
                    .into_iter()
                    .map(|issuer| Issuer::provider(issuer, config.leeway, client.clone()))
                    .collect()
            }
        };
        Verifier {
            issuers,
            said: Mutex::default(),
        }
    }

    /// The caller that the request's one bearer token proves to a route of this rule.
    pub async fn caller(&self, headers: &HeaderMap, rule: &Rule) -> Result<Caller, Error> {
        self.verify(bearer(headers)?, &rule.issuers).await
    }

    /// The caller that `token` proves, where one of `names` issued it; any issuer where there are none.
    pub async fn verify(&self, token: &str, names: &[String]) -> Result<Caller, Error> {
        self.say_unknown(names);
        let token = Token::read(token)?;
        let issuer = self.issuer(&token)?;
        admitted(issuer, names)?;
        issuer.verify(&token).await
    }

    /// Whose token it says it is. That chooses only by whose keys it is checked.
    fn issuer(&self, token: &Token<'_>) -> Result<&Issuer, Error> {
        if let [only] = self.issuers.as_slice()
            && only.iss().is_none()
        {
            return Ok(only);
        }
        let named = token.issuer()?;
        self.issuers
            .iter()
            .find(|issuer| issuer.iss() == Some(named))
            .ok_or_else(|| refuse("the token is of another issuer (iss)"))
    }

    /// Says in the log which of `names` the host does not have: manifests are read without knowing its issuers.
    fn say_unknown(&self, names: &[String]) {
        let unknown = names
            .iter()
            .filter(|name| self.issuers.iter().all(|issuer| issuer.name() != *name));
        for name in unknown {
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            if said.len() < MAX_SAID && said.insert(name.clone()) {
                tracing::warn!(
                    issuer = name,
                    "a route takes tokens of an issuer that this host does not have: by that name it admits nobody"
                );
            }
        }
    }
}

fn admitted(issuer: &Issuer, names: &[String]) -> Result<(), Error> {
    if names.is_empty() || names.iter().any(|name| name == issuer.name()) {
        return Ok(());
    }
    Err(refuse("this route takes no tokens of that issuer (iss)"))
}
