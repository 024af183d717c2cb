//! One issuer: whether a token is its own, and whom it names.

use super::algorithms;
use super::caller::Naming;
use super::claims::{Claims, caller};
use super::config::{DEV_ISSUER, IssuerConfig};
use super::dev_secret::DevSecret;
use super::jwks::{Found, Jwks};
use super::keys::{Key, Miss};
use super::source::KeyClients;
use super::token::{Token, refuse};
use super::{Caller, JwksSource};
use crate::error::Error;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, get_current_timestamp};
use serde::de::IgnoredAny;
use std::sync::Arc;
use std::time::Duration;

enum Keys {
    Secret(Arc<Key>),
    Jwks(Arc<Jwks>),
}

/// The development secret is read once.
const SECRET_GENERATION: u64 = 0;

/// What a token was found to prove.
pub struct Proof {
    pub caller: Caller,
    /// `exp`, in seconds since 1970.
    pub expiry_s: u64,
    /// Of the keys that it was verified with.
    pub generation: u64,
}

/// Verifies the tokens of one issuer.
pub struct Issuer {
    keys: Keys,
    config: IssuerConfig,
    naming: Naming,
    leeway_s: u64,
}

impl Issuer {
    /// Whoever has the development secret. One clock, so no leeway.
    pub fn development(secret: &DevSecret) -> Self {
        let config = IssuerConfig {
            name: DEV_ISSUER.into(),
            // Never fetched.
            ..IssuerConfig::only(JwksSource::File(Default::default()))
        };
        Issuer {
            keys: Keys::Secret(Arc::new(Key {
                id: None,
                algorithm: Algorithm::HS256,
                decoding: DecodingKey::from_secret(secret.as_bytes()),
            })),
            config,
            naming: Naming::Bare,
            leeway_s: 0,
        }
    }

    /// A provider with public keys, whose users are called by `naming`.
    pub fn provider(
        config: IssuerConfig,
        naming: Naming,
        leeway: Duration,
        clients: KeyClients,
    ) -> Self {
        Issuer {
            keys: Keys::Jwks(Jwks::new(config.jwks.clone(), clients)),
            config,
            naming,
            leeway_s: leeway.as_secs(),
        }
    }

    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The `iss` that its tokens must have, if any.
    pub fn iss(&self) -> Option<&str> {
        self.config.issuer.as_deref()
    }

    /// The generation of the keys that are believed now, if there are any.
    pub fn generation(&self) -> Option<u64> {
        match &self.keys {
            Keys::Secret(_) => Some(SECRET_GENERATION),
            Keys::Jwks(jwks) => jwks.generation(),
        }
    }

    /// What `token` proves, if it is one of ours and holds now. What is cheap to refuse comes first.
    pub async fn verify(&self, token: &Token<'_>) -> Result<Proof, Error> {
        let exp = token.expiry()?;
        // RFC 7519 section 4.1.4: "on or after" exp.
        if exp.saturating_add(self.leeway_s) <= get_current_timestamp() {
            return Err(refuse("the token has expired"));
        }
        let found = self.key(token).await?;
        self.check(token, &found.key)?;
        let claim = self.config.scope_claim.as_deref();
        let mut caller = caller(&token.claims, claim).map_err(refuse)?;
        caller.user = self.naming.user(caller.user).map_err(refuse)?;
        Ok(Proof {
            caller,
            expiry_s: exp,
            generation: found.generation,
        })
    }

    async fn key(&self, token: &Token<'_>) -> Result<Found, Error> {
        const OTHER: &str = "the token's algorithm is not accepted";
        let jwks = match &self.keys {
            Keys::Secret(key) if token.algorithm == "HS256" => {
                return Ok(Found {
                    key: key.clone(),
                    generation: SECRET_GENERATION,
                });
            }
            Keys::Secret(_) => return Err(refuse(OTHER)),
            Keys::Jwks(jwks) => jwks,
        };
        let taken = &self.config.algorithms;
        let algorithm = algorithms::find(&token.algorithm)
            .filter(|algorithm| taken.is_empty() || taken.contains(algorithm))
            .ok_or_else(|| refuse(OTHER))?;
        let found = jwks.find(token.key_id.as_deref(), algorithm).await?;
        found.map_err(|miss| {
            refuse(match miss {
                Miss::UnknownId => "the token's key is unknown",
                Miss::WrongAlgorithm => "the token's algorithm is not that of its key",
                Miss::Ambiguous => "the token does not say which key it is signed with (kid)",
            })
        })
    }

    /// Signature, times, issuer and audience.
    fn check(&self, token: &Token<'_>, key: &Key) -> Result<(), Error> {
        let mut validation = Validation::new(key.algorithm);
        let mut required = vec!["exp", "sub"];
        validation.leeway = self.leeway_s;
        // jsonwebtoken alone would allow the second of exp.
        validation.reject_tokens_expiring_in_less_than = 1;
        validation.validate_nbf = true;
        if let Some(issuer) = &self.config.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        if self.config.audience.is_empty() {
            validation.validate_aud = false;
        } else {
            validation.set_audience(&self.config.audience);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        // The claims are in `token` already: read from the same bytes.
        jsonwebtoken::decode::<IgnoredAny>(token.text, &key.decoding, &validation)
            .map_err(|error| refuse(reason(error.kind(), &token.claims)))?;
        Ok(())
    }
}

fn reason(kind: &ErrorKind, claims: &Claims) -> &'static str {
    match kind {
        ErrorKind::InvalidSignature => "the token's signature is wrong",
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet (nbf)",
        ErrorKind::InvalidIssuer => "the token is of another issuer (iss)",
        ErrorKind::InvalidAudience => "the token is for another audience (aud)",
        ErrorKind::InvalidClaimFormat(claim) if claim == "nbf" => {
            "the token's beginning (nbf) is no number"
        }
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "exp" => "the token never expires (exp)",
            "sub" if claims.contains_key("sub") => "the token's user (sub) is no text",
            "sub" => "the token names no user (sub)",
            "iss" => "the token names no issuer (iss)",
            "aud" => "the token names no audience (aud)",
            _ => "the token lacks a claim",
        },
        _ => "the token is malformed",
    }
}
