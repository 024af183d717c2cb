//! What operators ask of the gateway: to see and edit its routes, to read files again, to take a
//! backup. The admin API calls it.

use super::Gateway;
use super::metrics::GatewayMetrics;
use super::plugins::auth::ApiKeys;
use hms_api::RouteStatus;
use hms_core::reload::ReadAgain;
use hms_manifest::{EditError, Saved, in_time};
use hms_store::{Scratch, Snapshot};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::runtime::Handle;

impl Gateway {
    /// Every manifest, and what became of it.
    pub fn routes(&self) -> Vec<RouteStatus> {
        self.routes.status()
    }

    /// Why the routes folder itself could not be read the last time, if it could not.
    pub fn routes_fault(&self) -> Option<String> {
        self.routes.manifests().folder_fault()
    }

    /// Whether the routes folder was read at least once since the start.
    pub fn routes_were_read(&self) -> bool {
        self.routes.manifests().was_read()
    }

    /// The route `name`, and its manifest's text.
    pub fn route(&self, name: &str) -> Option<(RouteStatus, String)> {
        self.routes.get(name)
    }

    /// Checks `text` and makes it the manifest of the route `name`; live when this returns. Whether
    /// it is new.
    pub async fn put_route(
        &self,
        name: String,
        text: String,
    ) -> Result<(RouteStatus, bool), EditError> {
        let routes = self.routes.clone();
        let dir = self.routes.manifests().dir();
        in_time(dir, move || routes.put(&name, &text)).await
    }

    /// Removes the route `name` and its file. Gives why the file is still there, where it is.
    pub async fn remove_route(&self, name: String) -> Result<Option<String>, EditError> {
        let manifests = self.routes.manifests();
        let edited = manifests.clone();
        in_time(manifests.dir(), move || edited.remove(&name)).await
    }

    /// What a backup takes of each manifest, by file, and how many more there are. As the last look
    /// at the folder found it, so that a disk that hangs holds no backup.
    pub fn saved_routes(&self) -> (BTreeMap<String, Saved>, usize) {
        self.routes.manifests().saved()
    }

    /// A copy of the ledger of idempotency keys; None where there is none yet. Blocks, on a thread
    /// of `runtime` that may.
    ///
    /// # Errors
    /// Why it was not made, as a sentence.
    pub fn snapshot_ledger(
        &self,
        runtime: &Handle,
        scratch: &mut Scratch<'_>,
    ) -> Result<Option<Snapshot>, String> {
        self.plugins.idempotency.snapshot(runtime, scratch)
    }

    /// Reads again now what is read from files and fetched: routes, certificate, keys of issuers.
    /// Gives what became of each; what cannot be read stays as it was.
    pub async fn read_again(&self) -> Vec<ReadAgain> {
        let routes = self.routes.manifests().clone();
        let routes = hms_core::reload::blocking("routes", move || {
            routes.reload_as_it_is();
            routes.outcome()
        });
        let certificate = async {
            let certificate = self.config.certificate.clone()?;
            let refused = self.metrics.certificate_refused();
            let outcome =
                hms_core::reload::blocking("certificate", move || certificate.read_again(&refused));
            Some(outcome.await)
        };
        let keys = self.plugins.read_keys_again();
        let (routes, certificate, keys) = futures_util::join!(routes, certificate, keys);
        let keys = keys.into_iter().map(|(issuer, outcome)| ReadAgain {
            what: format!("keys of {issuer}"),
            outcome: outcome.map(|()| "fetched".into()),
        });
        [routes]
            .into_iter()
            .chain(certificate)
            .chain(keys)
            .collect()
    }

    /// The keys of machine callers.
    pub fn api_keys(&self) -> &Arc<ApiKeys> {
        &self.config.auth.api_keys
    }

    /// What the gateway counts, for `/metrics`.
    pub fn metrics(&self) -> &GatewayMetrics {
        &self.metrics
    }

    /// Notes in the metrics how old the keys are that tokens are checked with.
    pub fn measure_keys(&self) {
        self.plugins.measure_keys(&self.metrics);
    }
}
