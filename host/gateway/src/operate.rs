//! What operators ask of the gateway: read and edit routes, reload files, take a backup. The admin
//! API calls it.

use super::Gateway;
use super::metrics::GatewayMetrics;
use super::plugins::auth::ApiKeys;
use hms_api::RouteStatus;
use hms_core::reload::ReadAgain;
use hms_manifest::{EditError, Saved, in_time};
use hms_store::{Scratch, Snapshot};
use hms_telemetry::trace::Recent;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::runtime::Handle;

impl Gateway {
    /// The last requests, and the last failed and slow ones.
    pub fn recent(&self) -> &Recent {
        self.config.tracer.recent()
    }

    /// Every manifest and its state.
    pub fn routes(&self) -> Vec<RouteStatus> {
        self.routes.status()
    }

    /// Follows the manifests in these folders as well: see
    /// [`hms_manifest::ManifestSet::follow_also`]. Blocks on the file system.
    pub fn follow_also(&self, dirs: Vec<PathBuf>) {
        self.routes.manifests().follow_also(dirs);
    }

    /// The scopes that the live routes ask for, each once.
    pub fn scopes(&self) -> BTreeSet<String> {
        let files = self.routes.manifests().status();
        let routes = files.iter().filter_map(|file| file.live.as_ref());
        let rules = routes.filter_map(|route| route.rules.auth.as_ref());
        rules.flat_map(|rule| rule.scopes.iter().cloned()).collect()
    }

    /// Why the last read of the routes folder failed, if it did.
    pub fn routes_fault(&self) -> Option<String> {
        self.routes.manifests().folder_fault()
    }

    /// Whether the routes folder has been read since the start.
    pub fn routes_were_read(&self) -> bool {
        self.routes.manifests().was_read()
    }

    /// The route `name` and the text of its manifest.
    pub fn route(&self, name: &str) -> Option<(RouteStatus, String)> {
        self.routes.get(name)
    }

    /// Validates `text` and makes it the manifest of the route `name`; live when this returns.
    /// Returns whether the route is new.
    pub async fn put_route(
        &self,
        name: String,
        text: String,
    ) -> Result<(RouteStatus, bool), EditError> {
        let routes = self.routes.clone();
        let dir = self.routes.manifests().dir();
        in_time(dir, move || routes.put(&name, &text)).await
    }

    /// What [`Gateway::put_route`] would refuse `text` for. Changes nothing.
    ///
    /// # Errors
    /// Those of the edit.
    pub async fn try_route(&self, name: String, text: String) -> Result<(), EditError> {
        let manifests = self.routes.manifests();
        let checked = manifests.clone();
        in_time(manifests.dir(), move || checked.try_put(&name, &text)).await
    }

    /// Removes the route `name` and its file. Returns why the file still exists, if it does.
    pub async fn remove_route(&self, name: String) -> Result<Option<String>, EditError> {
        let manifests = self.routes.manifests();
        let edited = manifests.clone();
        in_time(manifests.dir(), move || edited.remove(&name)).await
    }

    /// The manifests for a backup, by file, and how many more there are. As last read from the
    /// folder, so that a disk that hangs does not hold up a backup.
    pub fn saved_routes(&self) -> (BTreeMap<String, Saved>, usize) {
        self.routes.manifests().saved()
    }

    /// A copy of the idempotency ledger; None if there is none yet. Blocks, on a thread of
    /// `runtime` that may block.
    ///
    /// # Errors
    /// Why there is no copy, as a sentence.
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

    /// Updates the metrics for the age of the token verification keys, the end of the certificate
    /// and the memory of stored answers.
    pub fn measure(&self) {
        self.plugins.measure_keys(&self.metrics);
        self.plugins.measure_cache(&self.metrics);
        let certificate = self.config.certificate.as_ref();
        if let Some(expires) = certificate.and_then(|certificate| certificate.expires()) {
            self.metrics.certificate_ends(expires.unix_timestamp());
        }
    }
}
