//! The live routes. A file whose new text is invalid, or claims what another file has, keeps its
//! last good route, over a restart too.

use super::active::UpstreamStates;
use super::manifest::Route;
use super::table::Table;
use crate::metrics::GatewayMetrics;
use arc_swap::ArcSwap;
use hms_api::RouteStatus;
use hms_manifest::{EditError, FileStatus, ManifestSet};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The routes of one folder.
pub struct RouteSet {
    manifests: Arc<ManifestSet<Route>>,
    active: Arc<Active>,
}

/// What serves.
#[derive(Default)]
struct Active {
    table: ArcSwap<Table>,
    /// Of the routes of the table.
    upstream_states: Mutex<UpstreamStates>,
}

impl RouteSet {
    /// Reads the folder: see [`ManifestSet::load`].
    pub fn load(
        dir: impl Into<PathBuf>,
        kept: Option<PathBuf>,
        most: usize,
        metrics: GatewayMetrics,
    ) -> RouteSet {
        let active = Arc::<Active>::default();
        let serving = active.clone();
        let serve = move |live| serving.serve(live);
        // What is wrong with a route its text shows.
        let no_more = |_: &str, _: &Route| Some(Vec::new());
        let manifests = ManifestSet::load(dir, kept, most, metrics.manifests(), no_more, serve);
        RouteSet {
            manifests: Arc::new(manifests),
            active,
        }
    }

    /// The files.
    pub fn manifests(&self) -> &Arc<ManifestSet<Route>> {
        &self.manifests
    }

    #[cfg(test)]
    pub(crate) fn reload(&self) {
        self.manifests.reload();
    }

    /// The current live routes.
    pub fn table(&self) -> Arc<Table> {
        self.active.table.load_full()
    }

    /// One line a file, by name. Waits for no disk.
    pub fn status(&self) -> Vec<RouteStatus> {
        let states = self.active.upstream_states.lock();
        let files = self.manifests.status();
        files.iter().map(|file| states.shown(file)).collect()
    }

    /// The state of the route `name`, and its file's text, which is empty if the file cannot be
    /// read. Does not block.
    pub fn get(&self, name: &str) -> Option<(RouteStatus, String)> {
        let (status, text) = self.manifests.get(name)?;
        Some((self.shown(&status), text))
    }

    /// Checks `text` and makes it the manifest of the route `name`: see [`ManifestSet::put`].
    pub fn put(&self, name: &str, text: &str) -> Result<(RouteStatus, bool), EditError> {
        let (status, new) = self.manifests.put(name, text)?;
        Ok((self.shown(&status), new))
    }

    fn shown(&self, status: &FileStatus<Route>) -> RouteStatus {
        self.active.upstream_states.lock().shown(status)
    }
}

impl Active {
    fn serve(&self, live: BTreeMap<String, Arc<Route>>) {
        let mut states = self.upstream_states.lock();
        let table = Table::new(states.activate(live.into_iter()));
        self.table.store(Arc::new(table));
    }
}
