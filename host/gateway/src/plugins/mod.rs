//! The plugins: the steps that a request passes between its route and its upstream, and its answer
//! on the way back.
//!
//! [The list](plugins!) defines them. A plugin is a type that holds the settings of one route and
//! implements [`Plugin`]. Its line in the list puts it into manifests, the JSON Schema and the
//! chain. The request sides run in the order of the list, whatever the order in a manifest. `around
//! N` is the plugin's position around the upstream, 1 being the outermost ([`Chain`]). `answers N`
//! is the position of its response side, which errors pass as well. `then` names a step that each
//! request passes after that line, whatever plugins its route has.
//!
//! `plugin` makes the chain from the list; `rules` reads it from a manifest. `exchange` is the
//! request that passes it.

mod admission;
pub mod auth;
mod body_limit;
pub mod cache;
mod compression;
mod cors;
mod exchange;
mod forward;
mod headers;
mod holder;
pub mod idempotency;
mod ip_allow;
mod outcome;
mod plugin;
pub mod rate_limit;
mod rules;
mod timeout;
mod wasm;

pub use admission::{Admission, LastingAdmission};
pub use cors::preflight_for;
pub use exchange::{Bounds, Exchange};
pub use holder::identity;
pub use outcome::ForwardOutcome;
pub use plugin::{Description, Rest, Setup};

use crate::metrics::GatewayMetrics;
use crate::routes::manifest::Route;
use forward::{Addressed, Upstream};
use hms_core::body::Body;
use hms_core::error::RequestError;
use hms_manifest::Map;
use http::Response;
use http::request::Parts;
use plugin::{Plugin, Position, Positioned, Wrapped, plugins};
use tokio_util::sync::CancellationToken;

plugins! {
    ip_allow: ip_allow::Rule;
    cors: cors::Rule, answers 3;
    auth: auth::Rule;
    rate_limit: rate_limit::Rule, answers 1, then auth::withhold_credentials;
    body_limit: body_limit::Rule;
    headers: headers::Rule, answers 2;
    timeout: timeout::Rule, around 2;
    idempotency: idempotency::Rule, around 1;
    wasm: wasm::Rule, around 3;
    cache: cache::Rule, around 4;
    compression: compression::Rule, answers 4;
}

/// The steps between an admitted request and its upstream. Inside [`Addressed`], a request has the
/// path and the fields of the upstream. `idempotency` looks up its key before that, and a
/// middleware of `wasm` runs after it. `cache` is the innermost, so that each request passes all
/// others.
pub type Chain = At<1, At<2, Addressed<At<3, At<4, Upstream>>>>>;

type At<const N: usize, R> = Wrapped<<Position<N> as Positioned>::Plugin, R>;

impl Plugins {
    /// Keeps the token verification keys fresh until `end`.
    pub fn keep_keys(&self, end: &CancellationToken) {
        self.auth.keep_keys(end);
    }

    /// Updates the metrics for the state of these keys.
    pub fn measure_keys(&self, metrics: &GatewayMetrics) {
        for (issuer, state) in self.auth.key_states() {
            metrics.keys(issuer, state);
        }
    }

    /// Updates the metrics for the memory of stored answers.
    pub fn measure_cache(&self, metrics: &GatewayMetrics) {
        let (bytes, entries) = self.cache.size();
        metrics.cache_size(bytes, entries);
    }

    /// Fetches the keys of every issuer now. Returns the result of each, by the issuer's name.
    pub async fn read_keys_again(&self) -> Vec<(&str, Result<(), String>)> {
        self.auth.read_again().await
    }
}
