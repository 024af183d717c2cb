//! A token, parsed before any of it is trusted.

use super::claims::{Claims, member};
use super::json::{self, Flaw};
use crate::plugins::auth::AuthError;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// A JWS in its compact form, not verified.
pub(super) struct Token<'a> {
    pub text: &'a str,
    pub algorithm: String,
    pub key_id: Option<String>,
    pub claims: Claims,
}

pub(super) fn refuse(reason: &'static str) -> AuthError {
    AuthError::Unauthorized {
        reason,
        token_sent: true,
    }
}

const SHAPE: &str = "the token is not a JWT";

impl<'a> Token<'a> {
    /// Refuses what no key could verify. The size of `text` was checked before.
    pub(super) fn read(text: &'a str) -> Result<Token<'a>, AuthError> {
        let mut parts = text.split('.');
        let (Some(head), Some(payload), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(refuse(SHAPE));
        };
        let header = object(head)?;
        // `jwk`, `jku`, `x5u`, `x5c`, `x5t` and other members are ignored (RFC 7515 section 4):
        // keys come only from the issuer (RFC 8725 section 3.10).
        if header.contains_key("crit") {
            // RFC 7515 section 4.1.11: no extension is supported, so a token that requires one is
            // refused.
            return Err(refuse(
                "the token has an unsupported critical extension (crit)",
            ));
        }
        check_type(&header)?;
        Ok(Token {
            text,
            algorithm: text_of(&header, "alg")?.ok_or_else(|| refuse(SHAPE))?,
            key_id: text_of(&header, "kid")?,
            claims: object(payload)?,
        })
    }

    /// The issuer that it claims.
    pub(super) fn issuer(&self) -> Result<&str, AuthError> {
        match member(&self.claims, "iss") {
            Some(Value::String(issuer)) => Ok(issuer),
            Some(_) => Err(refuse("the token's issuer (iss) is not a string")),
            None => Err(refuse("the token has no issuer (iss)")),
        }
    }

    /// Its claimed expiry, in seconds since 1970. Fractions are dropped.
    pub(super) fn expiry(&self) -> Result<u64, AuthError> {
        let Some(exp) = member(&self.claims, "exp") else {
            return Err(refuse("the token has no expiry (exp)"));
        };
        // A cast from f64 saturates, so a negative time has long expired.
        let fraction = || exp.as_f64().filter(|exp| *exp < u64::MAX as f64);
        exp.as_u64()
            .or_else(|| fraction().map(|exp| exp as u64))
            .ok_or_else(|| refuse("the token's expiry (exp) is not a number"))
    }
}

fn object(part: &str) -> Result<Claims, AuthError> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| refuse(SHAPE))?;
    json::object(&json).map_err(|flaw| {
        refuse(match flaw {
            Flaw::Shape => SHAPE,
            Flaw::Twice => "the token has a duplicate member",
        })
    })
}

fn text_of(header: &Claims, name: &str) -> Result<Option<String>, AuthError> {
    match member(header, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(refuse(SHAPE)),
    }
}

/// RFC 8725 section 3.11; RFC 9068 section 2.1 for access tokens.
fn check_type(header: &Claims) -> Result<(), AuthError> {
    let kind = text_of(header, "typ")?.map(|kind| kind.to_ascii_lowercase());
    match kind.as_deref() {
        None | Some("jwt" | "at+jwt" | "application/jwt" | "application/at+jwt") => Ok(()),
        Some(_) => Err(refuse("the token's type (typ) is not accepted")),
    }
}
