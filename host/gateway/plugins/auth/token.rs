//! From the Authorization header to the caller.

use super::Caller;
use super::claims::Claims;
use super::config::{AuthConfig, KeySource};
use super::jwks::Jwks;
use super::keys::{Key, Miss};
use crate::error::Error;
use crate::gateway::client::HttpClient;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, header};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a token. Larger ones would not fit many servers' headers either.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Time to connect to the provider of a JWKS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

enum Keys {
    Secret(Arc<Key>),
    Jwks(Arc<Jwks>),
}

/// Verifies bearer tokens.
pub struct Verifier {
    keys: Keys,
    config: AuthConfig,
}

/// The part of the JOSE header that decides something.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

fn refuse(reason: &'static str) -> Error {
    Error::Unauthorized {
        reason,
        token_sent: true,
    }
}

impl Verifier {
    pub fn new(config: AuthConfig) -> Self {
        let keys = match &config.keys {
            KeySource::DevSecret(secret) => Keys::Secret(Arc::new(Key {
                id: None,
                algorithm: Algorithm::HS256,
                decoding: DecodingKey::from_secret(secret.as_bytes()),
            })),
            KeySource::Jwks(source) => {
                Keys::Jwks(Jwks::new(source.clone(), HttpClient::new(CONNECT_TIMEOUT)))
            }
        };
        Verifier { keys, config }
    }

    /// The caller that the request's one bearer token proves.
    pub async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Error> {
        self.verify(bearer(headers)?).await
    }

    /// The caller that `token` proves.
    pub async fn verify(&self, token: &str) -> Result<Caller, Error> {
        let header = header(token)?;
        let key = self.key(&header).await?;
        let validation = self.validation(&key);
        let verified = jsonwebtoken::decode::<Claims>(token, &key.decoding, &validation)
            .map_err(|error| refuse(reason(error.kind())))?;
        verified.claims.caller().map_err(refuse)
    }

    async fn key(&self, header: &Header) -> Result<Arc<Key>, Error> {
        let algorithm = match header.alg.as_str() {
            "HS256" => Algorithm::HS256,
            "RS256" => Algorithm::RS256,
            "ES256" => Algorithm::ES256,
            "EdDSA" => Algorithm::EdDSA,
            _ => return Err(refuse("the token's algorithm is not accepted")),
        };
        match &self.keys {
            Keys::Secret(key) if key.algorithm == algorithm => Ok(key.clone()),
            Keys::Jwks(jwks) if algorithm != Algorithm::HS256 => jwks
                .find(header.kid.as_deref(), algorithm)
                .await?
                .map_err(|miss| {
                    refuse(match miss {
                        Miss::UnknownId => "the token's key is unknown",
                        Miss::WrongAlgorithm => "the token's algorithm is not that of its key",
                        Miss::Ambiguous => {
                            "the token does not say which key it is signed with (kid)"
                        }
                    })
                }),
            _ => Err(refuse("the token's algorithm is not accepted")),
        }
    }

    fn validation(&self, key: &Key) -> Validation {
        let mut validation = Validation::new(key.algorithm);
        let mut required = vec!["exp", "sub"];
        validation.leeway = match self.keys {
            Keys::Secret(_) => 0,
            Keys::Jwks(_) => self.config.leeway.as_secs(),
        };
        // RFC 7519 section 4.1.4: "on or after" exp. jsonwebtoken alone would allow that second.
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
        validation
    }
}

/// The one token of the request. The scheme is compared without case (RFC 9110 section 11.1).
fn bearer(headers: &HeaderMap) -> Result<&str, Error> {
    let missing = |reason: &'static str| Error::Unauthorized {
        reason,
        token_sent: false,
    };
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values
        .next()
        .ok_or_else(|| missing("send a token: Authorization: Bearer TOKEN"))?;
    if values.next().is_some() {
        return Err(refuse("more than one Authorization header"));
    }
    let value = value
        .to_str()
        .map_err(|_| refuse("the Authorization header is not ASCII"))?;
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(missing("send a token: Authorization: Bearer TOKEN")),
    }
}

fn header(token: &str) -> Result<Header, Error> {
    const SHAPE: &str = "the token is no JWT";
    if token.len() > MAX_TOKEN_BYTES {
        return Err(refuse("the token is too large"));
    }
    let mut parts = token.split('.');
    let (Some(head), Some(_), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(refuse(SHAPE));
    };
    let json = URL_SAFE_NO_PAD.decode(head).map_err(|_| refuse(SHAPE))?;
    let header: Header = serde_json::from_slice(&json).map_err(|_| refuse(SHAPE))?;
    if header.crit.is_some() {
        // RFC 7515 section 4.1.11: we understand no extension, so whatever it names must be refused.
        return Err(refuse("the token has a critical extension (crit)"));
    }
    // RFC 8725 section 3.11; RFC 9068 section 2.1 for access tokens.
    let typ = header.typ.as_deref().unwrap_or("JWT").to_ascii_lowercase();
    if !matches!(
        typ.as_str(),
        "jwt" | "at+jwt" | "application/jwt" | "application/at+jwt"
    ) {
        return Err(refuse("the token is of another type (typ)"));
    }
    Ok(header)
}

fn reason(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidSignature => "the token's signature is wrong",
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet (nbf)",
        ErrorKind::InvalidIssuer => "the token is of another issuer (iss)",
        ErrorKind::InvalidAudience => "the token is for another audience (aud)",
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "exp" => "the token never expires (exp)",
            "sub" => "the token names no user (sub)",
            "iss" => "the token names no issuer (iss)",
            "aud" => "the token names no audience (aud)",
            _ => "the token lacks a claim",
        },
        _ => "the token is malformed",
    }
}
