//! The gateway's configuration, fixed at startup.

use crate::limits::Limits;
use crate::plugins::auth::AuthConfig;
use hms_net::certificate::Certificate;
use hms_net::lanes::Lanes;
use hms_telemetry::trace::Tracer;
use ipnet::IpNet;
use std::path::PathBuf;
use std::sync::Arc;

/// The whole configuration. [`GatewayConfig::new`] takes the defaults of [`Limits`].
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// The folder of route manifests: one file, one route.
    pub routes: PathBuf,
    /// Where the last good routes are saved for the next start. None: nowhere.
    pub kept_routes: Option<PathBuf>,
    /// The file of idempotency keys, created when a route first needs it. Without it, routes with
    /// `idempotency` answer 503.
    pub idempotency: Option<PathBuf>,
    /// Which tokens and API keys are accepted.
    pub auth: AuthConfig,
    /// Bounds of requests and connections.
    pub limits: Limits,
    /// The networks of trusted proxies: their statements about the client are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether connections of trusted proxies begin with a PROXY header.
    pub proxy_protocol: bool,
    /// Networks beyond the public internet that routes may lead to.
    pub upstream_allow: Vec<IpNet>,
    /// The certificate of the listeners. None: they speak plain HTTP.
    pub certificate: Option<Arc<Certificate>>,
    /// The threads that serve connections. None: they are served by the runtime that calls
    /// [`crate::Gateway::serve`].
    pub lanes: Option<Lanes>,
    /// What keeps the traces of requests.
    pub tracer: Arc<Tracer>,
}

impl GatewayConfig {
    /// The defaults, with the manifests in the folder `routes`.
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
            tracer: Arc::default(),
        }
    }
}
