//! What the gateway is told at its start: where its routes are, whom it believes.

use crate::limits::Limits;
use crate::plugins::auth::AuthConfig;
use hms_net::certificate::Certificate;
use hms_net::lanes::Lanes;
use ipnet::IpNet;
use std::path::PathBuf;
use std::sync::Arc;

/// Everything the gateway needs to know. [`GatewayConfig::new`] takes the defaults of [`Limits`].
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// The folder of route manifests: one file, one route.
    pub routes: PathBuf,
    /// Where the last good routes are kept for the next start, if anywhere.
    pub kept_routes: Option<PathBuf>,
    /// The file of idempotency keys, made when a route first needs it. Without it such routes
    /// answer 503.
    pub idempotency: Option<PathBuf>,
    /// Whose tokens are believed.
    pub auth: AuthConfig,
    /// Bounds of requests and connections.
    pub limits: Limits,
    /// The networks of proxies whose word about the client is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether connections of trusted proxies begin with a PROXY header.
    pub proxy_protocol: bool,
    /// Networks beyond the public internet that routes may lead to.
    pub upstream_allow: Vec<IpNet>,
    /// What the listeners speak TLS with; without it they speak in the clear.
    pub certificate: Option<Arc<Certificate>>,
    /// The threads that connections are given to; without them they are served where
    /// [`crate::Gateway::serve`] is called.
    pub lanes: Option<Lanes>,
}

impl GatewayConfig {
    /// The defaults, for the manifests in the folder `routes`.
    pub fn new(routes: impl Into<PathBuf>, auth: AuthConfig) -> Self {
        GatewayConfig {
            routes: routes.into(),
            kept_routes: None,
            idempotency: None,
            auth,
            limits: Limits::default(),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            upstream_allow: Vec::new(),
            certificate: None,
            lanes: None,
        }
    }
}
