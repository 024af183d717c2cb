//! Which tokens and API keys are accepted.

use super::algorithms::Algorithm;
use super::api_keys::ApiKeys;
use super::dev_secret::DevSecret;
use super::source::JwksSource;
use ipnet::IpNet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The name of the only issuer of `--jwks` or `--oidc`, for the `issuers` of a route.
pub(super) const ONLY_ISSUER: &str = "default";

/// The name of the development secret, for the `issuers` of a route.
pub(super) const DEV_ISSUER: &str = "dev";

/// Bytes of a token. 32 KiB: half of a request's head, and three times a token with the 200 groups
/// that Entra allows.
pub const MAX_TOKEN_BYTES: usize = 32 * 1024;

/// Which tokens and API keys are accepted.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// How tokens are verified.
    pub keys: KeySource,
    /// API keys of machine callers.
    pub api_keys: Arc<ApiKeys>,
    /// The tolerated clock skew between issuer and host, for `exp` and `nbf`. Default 5 s: hosts
    /// have NTP, and an expired token should be refused. Not applied to the development secret,
    /// which is signed and verified by the same clock.
    pub leeway: Duration,
    /// Bytes of a token; a larger one is refused.
    pub max_token_bytes: usize,
    /// Networks beyond the public internet in which a provider's discovery document may place its
    /// keys.
    pub upstream_allow: Vec<IpNet>,
}

/// How tokens are verified. If issuers are configured, the development secret is not accepted.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// HS256 with the secret of the data folder.
    DevSecret(DevSecret),
    /// The public keys of these issuers, each only for its own tokens.
    Issuers(Vec<IssuerConfig>),
}

/// One issuer of tokens. If there are several, each has an `issuer`, and all names and `issuer`s
/// differ.
#[derive(Debug, Clone, PartialEq)]
pub struct IssuerConfig {
    /// Its name in manifests.
    pub name: String,
    /// If set, its tokens must have this `iss`.
    pub issuer: Option<String>,
    /// If not empty, a token's `aud` must name one of these.
    pub audience: Vec<String>,
    /// Where the issuer publishes its keys.
    pub jwks: JwksSource,
    /// The claim that has the scopes: its name, or its place (see docs/identity.md). None: `scope`,
    /// then `scp`, then `scopes`.
    pub scope_claim: Option<String>,
    /// The accepted algorithms; empty for all that are supported. A key without `alg` gets the
    /// first of these that it can be used with.
    pub algorithms: Vec<Algorithm>,
    /// Whether its users are named by `sub` alone even if there are several issuers. At most one
    /// issuer has this set.
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
    /// With API keys that are not stored.
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

/// Refuses the development secret if the gateway can be reached from other machines.
///
/// # Errors
///
/// A sentence for the operator.
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
