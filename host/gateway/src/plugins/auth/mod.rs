//! `auth`: a bearer token (RFC 6750) or an API key names the caller, and the route's scopes decide
//! what the caller may do.
//!
//! A token is checked in this order, cheap steps first: size and shape, header, the issuer that its
//! `iss` selects, expiry, the key that the header points to, signature, times, issuer and audience,
//! then the caller's name and scopes. Keys pin their algorithm. The header only selects among the
//! known keys (RFC 8725 section 3.1), `iss` only among the issuers; `jku`, `jwk`, `x5u` and `x5c`
//! are ignored.
//!
//! In reading order: [`credential`] finds what a request presents. [`api_keys`] has the keys of
//! machine callers. [`token`] parses a token, [`verifier`] selects the issuer and caches the result
//! ([`cache`]), [`issuer`] verifies it, by its [`signature`] with a key that [`jwks`] keeps fresh
//! from its [`source`], and by its [`validity`]. [`claims`] makes the [`caller`], and [`rule`]
//! checks the scopes. A refusal is an [`error`].

mod algorithms;
mod api_key;
mod api_keys;
mod cache;
mod caller;
mod claims;
mod config;
mod credential;
pub mod dev_secret;
mod discovery;
mod error;
mod fetches;
mod issuer;
mod issuers_file;
mod json;
mod jwks;
mod keys;
mod plugin;
mod proxy;
mod rule;
mod seldom;
mod signature;
mod source;
mod token;
mod validity;
mod verifier;

pub use api_keys::{ApiKey, ApiKeys, KeyError};
pub use config::{AuthConfig, IssuerConfig, KeySource, MAX_TOKEN_BYTES, check_exposure};
pub use credential::strip_keys;
pub use dev_secret::{DevSecret, issue_token};
pub use error::AuthError;
pub use issuers_file::load as load_issuers;
pub use plugin::withhold_credentials;
pub use rule::{Accept, Rule};
pub use source::JwksSource;
pub use verifier::Verifier;

#[cfg(test)]
mod tests;
