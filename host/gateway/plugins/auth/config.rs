//! Whose tokens are believed.

use super::dev_secret::DevSecret;
use super::source::JwksSource;
use std::net::SocketAddr;
use std::time::Duration;

/// Whose tokens are believed. One source of keys: while real ones are configured the development secret is nothing.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    pub keys: KeySource,
    /// Once set, a token must have this `iss`.
    pub issuer: Option<String>,
    /// Once not empty, a token's `aud` must name one of these.
    pub audience: Vec<String>,
    /// How far the clocks of issuer and host may differ, for `exp` and `nbf`. Default 5 s: hosts have NTP, and
    /// an expired token should be dead. Not applied to the development secret, which has one clock.
    pub leeway: Duration,
}

/// What tokens are verified with.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// HS256 with the secret of the data folder.
    DevSecret(DevSecret),
    /// RS256, ES256 and EdDSA with the keys of a JWKS.
    Jwks(JwksSource),
}

impl AuthConfig {
    pub fn new(keys: KeySource) -> Self {
        AuthConfig {
            keys,
            issuer: None,
            audience: Vec::new(),
            leeway: Duration::from_secs(5),
        }
    }
}

/// Refuses to let anybody beyond this machine in by the development secret.
///
/// # Errors
///
/// The sentence for the operator.
pub fn check_exposure(addrs: &[SocketAddr], auth: &AuthConfig) -> Result<(), String> {
    let exposed = addrs
        .iter()
        .find(|addr| !addr.ip().to_canonical().is_loopback());
    match (exposed, &auth.keys) {
        (Some(addr), KeySource::DevSecret(_)) => Err(format!(
            "the gateway would listen on {addr}, beyond this machine, with the development secret as its only key: \
             name your provider's keys with --jwks FILE|URL, or listen on 127.0.0.1"
        )),
        _ => Ok(()),
    }
}
