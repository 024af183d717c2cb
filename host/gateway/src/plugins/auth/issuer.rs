//! One issuer: whether a token is its own, and whom it names.

use super::AuthError;
use super::algorithms;
use super::caller::Naming;
use super::claims::{self, Claims, caller};
use super::config::{DEV_ISSUER, IssuerConfig};
use super::dev_secret::DevSecret;
use super::jwks::{Ages, Jwks};
use super::keys::{Key, Miss};
use super::seldom::Seldom;
use super::source::KeyClients;
use super::token::{Token, refuse};
use super::{JwksSource, signature, validity};
use crate::request::caller::Caller;
use jsonwebtoken::{Algorithm, DecodingKey, get_current_timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

enum Keys {
    Secret(Key),
    Jwks(Arc<Jwks>),
}

/// The development secret is read once.
const SECRET_GENERATION: u64 = 0;

/// The result of verifying a token.
pub(super) struct Proof {
    pub caller: Caller,
    /// `exp`, in seconds since 1970.
    pub expiry_s: u64,
    /// The generation of the keys that verified it.
    pub generation: u64,
}

/// Verifies the tokens of one issuer.
pub(super) struct Issuer {
    keys: Keys,
    config: IssuerConfig,
    naming: Naming,
    leeway_s: u64,
    /// Whether any token so far had the claim that is configured for scopes.
    scoped: AtomicBool,
    unscoped: Seldom,
}

impl Issuer {
    /// The issuer of tokens signed with the development secret. One clock, so no leeway.
    pub(super) fn development(secret: &DevSecret) -> Self {
        let config = IssuerConfig {
            name: DEV_ISSUER.into(),
            // Never fetched.
            ..IssuerConfig::only(JwksSource::File(Default::default()))
        };
        Issuer {
            keys: Keys::Secret(Key {
                id: None,
                algorithm: Algorithm::HS256.into(),
                decoding: DecodingKey::from_secret(secret.as_bytes()),
            }),
            config,
            naming: Naming::Bare,
            leeway_s: 0,
            scoped: AtomicBool::default(),
            unscoped: Seldom::default(),
        }
    }

    /// A provider with public keys, whose users are named by `naming`.
    pub(super) fn provider(
        config: IssuerConfig,
        naming: Naming,
        leeway: Duration,
        clients: KeyClients,
    ) -> Self {
        let (source, algorithms) = (config.jwks.clone(), config.algorithms.clone());
        let ages = Ages::of(&source);
        let jwks = Jwks::new(&config.name, source, algorithms, clients, ages);
        Issuer {
            keys: Keys::Jwks(jwks),
            config,
            naming,
            leeway_s: leeway.as_secs(),
            scoped: AtomicBool::default(),
            unscoped: Seldom::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.config.name
    }

    /// The `iss` that its tokens must have, if any.
    pub(super) fn iss(&self) -> Option<&str> {
        self.config.issuer.as_deref()
    }

    /// The generation of the keys in use, if there are any.
    pub(super) fn generation(&self) -> Option<u64> {
        match &self.keys {
            Keys::Secret(_) => Some(SECRET_GENERATION),
            Keys::Jwks(jwks) => jwks.generation(),
        }
    }

    /// Its keys, if they are fetched.
    pub(super) fn jwks(&self) -> Option<&Arc<Jwks>> {
        match &self.keys {
            Keys::Secret(_) => None,
            Keys::Jwks(jwks) => Some(jwks),
        }
    }

    /// Fetches its keys now. None if they are a secret that is read once.
    pub(super) async fn read_again(&self) -> Option<Result<(), String>> {
        match &self.keys {
            Keys::Secret(_) => None,
            Keys::Jwks(jwks) => Some(jwks.read_again().await),
        }
    }

    /// What `token` proves, if this issuer signed it and it is valid now. Cheap checks come first.
    pub(super) async fn verify(&self, token: &Token<'_>) -> Result<Proof, AuthError> {
        let exp = token.expiry()?;
        // RFC 7519 section 4.1.4: "on or after" exp.
        if exp.saturating_add(self.leeway_s) <= get_current_timestamp() {
            return Err(refuse("the token has expired"));
        }
        let generation = self.signed(token).await?;
        let (claims, config) = (&token.claims, &self.config);
        validity::has_begun(claims, get_current_timestamp(), self.leeway_s)
            .and_then(|()| validity::is_from(claims, config.issuer.as_deref()))
            .and_then(|()| validity::is_for(claims, &config.audience))
            .map_err(refuse)?;
        self.look_for_scopes(claims);
        let mut caller = caller(claims, config.scope_claim.as_deref()).map_err(refuse)?;
        caller.user = self.naming.user(caller.user).map_err(refuse)?;
        Ok(Proof {
            caller,
            expiry_s: exp,
            generation,
        })
    }

    /// Logs that no token so far has the claim that is configured for scopes: its callers then have
    /// no scopes, and nothing else says why.
    fn look_for_scopes(&self, claims: &Claims) {
        let Some(place) = &self.config.scope_claim else {
            return;
        };
        if self.scoped.load(Ordering::Relaxed) {
            return;
        }
        if claims::at(claims, place).is_some() {
            self.scoped.store(true, Ordering::Relaxed);
        } else if self.unscoped.is_due() {
            tracing::warn!(
                issuer = self.name(),
                scope_claim = place,
                claims = claims::names(claims),
                "no token of this issuer has had the claim in 'scope-claim', so its callers have no scopes: \
                 use one of its claims, or a JSON pointer such as /realm_access/roles"
            );
        }
    }

    /// The generation of the keys of which one has signed the token.
    async fn signed(&self, token: &Token<'_>) -> Result<u64, AuthError> {
        const OTHER: &str = "the token's algorithm is not accepted";
        const WRONG: &str = "the token's signature is invalid";
        let verifies = |key: &Key| signature::is_of(key, token.text);
        let jwks = match &self.keys {
            Keys::Secret(_) if token.algorithm != "HS256" => return Err(refuse(OTHER)),
            Keys::Secret(key) => {
                let signed = verifies(key).then_some(SECRET_GENERATION);
                return signed.ok_or_else(|| refuse(WRONG));
            }
            Keys::Jwks(jwks) => jwks,
        };
        let taken = &self.config.algorithms;
        let algorithm = algorithms::find(&token.algorithm)
            .filter(|algorithm| taken.is_empty() || taken.contains(algorithm))
            .ok_or_else(|| refuse(OTHER))?;
        let proved = jwks.prove(token.key_id.as_deref(), algorithm, verifies);
        proved.await?.map_err(|miss| {
            refuse(match miss {
                Miss::UnknownId => "the token's signing key is unknown",
                Miss::WrongAlgorithm => "the token's algorithm does not match its key",
                Miss::WrongSignature => WRONG,
            })
        })
    }
}
