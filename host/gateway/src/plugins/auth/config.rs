//! Whose tokens are believed.

use super::algorithms::Algorithm;
use super::api_keys::ApiKeys;
use super::dev_secret::DevSecret;
use super::source::JwksSource;
use ipnet::IpNet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The name of the one issuer of `--jwks` or `--oidc`, for the `issuers` of a route.
pub(super) const ONLY_ISSUER: &str = "default";

/// The name under which a route takes tokens of the development secret, where it names issuers.
pub(super) const DEV_ISSUER: &str = "dev";

/// Bytes of a token. 32 KiB: half of a request's head, and three times a token with the 200 groups
/// that Entra puts into one at most.
pub const MAX_TOKEN_BYTES: usize = 32 * 1024;

/// Whose tokens are believed.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// How tokens are verified.
    pub keys: KeySource,
    /// Keys of machine callers, beside tokens.
    pub api_keys: Arc<ApiKeys>,
    /// How far the clocks of issuer and host may differ, for `exp` and `nbf`. Default 5 s: hosts
    /// have NTP, and an expired token should be dead. Not applied to the development secret, which
    /// has one clock.
    pub leeway: Duration,
    /// Bytes of a token; a larger one is refused.
    pub max_token_bytes: usize,
    /// Networks beyond the public internet in which the keys may be that a provider's discovery
    /// document names.
    pub upstream_allow: Vec<IpNet>,
}

/// What tokens are verified with. While real issuers are configured the development secret is
/// nothing.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// HS256 with the secret of the data folder.
    DevSecret(DevSecret),
    /// The public keys of these issuers, each for its own tokens alone.
    Issuers(Vec<IssuerConfig>),
}

/// One issuer of tokens. Where there are several, each has an `issuer`, and no two the same name or
/// `issuer`.
#[derive(Debug, Clone, PartialEq)]
pub struct IssuerConfig {
    /// What manifests call it.
    pub name: String,
    /// Once set, its tokens must have this `iss`.
    pub issuer: Option<String>,
    /// Once not empty, a token's `aud` must name one of these.
    pub audience: Vec<String>,
    /// Where the issuer publishes its keys.
    pub jwks: JwksSource,
    /// The claim that has the scopes: its name, or where it is (see docs/identity.md). None:
    /// `scope`, then `scp`, then `scopes`.
    pub scope_claim: Option<String>,
    /// The algorithms that are taken of it; empty for all that we know. A key that does not say
    /// its own has the first of these that it can do.
    pub algorithms: Vec<Algorithm>,
    /// Whether its users are called by their `sub` alone also where there are several issuers. At
    /// most one's are.
    pub bare_users: bool,
}

impl IssuerConfig {
    /// The only issuer of a host, with the keys of `jwks`.
    pub fn only(jwks: JwksSource) -> Self {
        IssuerConfig {
            name: ONLY_ISSUER.into(),
            issuer: None,
            audience: Vec::new(),
            jwks,
            scope_claim: None,
            algorithms: Vec::new(),
            bare_users: false,
        }
    }
}

impl AuthConfig {
    /// With API keys that nobody keeps.
    pub fn new(keys: KeySource) -> Self {
        AuthConfig {
            keys,
            api_keys: ApiKeys::in_memory(),
            leeway: Duration::from_secs(5),
            max_token_bytes: MAX_TOKEN_BYTES,
            upstream_allow: Vec::new(),
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
             name your provider's keys with --jwks FILE|URL, --oidc URL or --issuers FILE, or listen on 127.0.0.1"
        )),
        _ => Ok(()),
    }
}
