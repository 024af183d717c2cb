//! The folder of grants files: watched, checked, and live in each window.
//!
//! `look` reads what a file names, and `applied` makes of both what holds.

mod applied;
mod look;
#[cfg(test)]
mod tests;

use crate::{AllGrants, GrantsFile, GrantsMetrics, NamedFiles, Secrets, WindowGrants};
use applied::Applied;
use hms_core::reload::{self, ReadAgain};
use hms_disk::changes::Changes;
use hms_manifest::ManifestSet;
use look::{Look, look};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Files that are followed: as many as there can be windows on one host.
const MAX_FILES: usize = 1000;

/// How often secrets and certificate files are looked at if the file system reports no change. 5 s,
/// as for the certificates of listeners.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Is told the name of a window whose grants have changed, what they were and what they are.
pub type OnChange = Box<dyn Fn(&str, &WindowGrants, &WindowGrants) + Send + Sync>;

/// The folder, and what its files grant.
pub struct GrantsFolder {
    set: Arc<ManifestSet<GrantsFile>>,
    applied: Arc<Applied>,
}

impl GrantsFolder {
    /// Reads the folder of `named`, with the files that are named there; a missing one is empty.
    /// What its files grant is in `all` before this returns, and whenever a file or a secret has
    /// changed. In `kept` the last good texts survive a restart. Blocks.
    pub fn load(
        named: NamedFiles,
        kept: Option<PathBuf>,
        all: Arc<AllGrants>,
        metrics: GrantsMetrics,
    ) -> GrantsFolder {
        Self::load_by(look, named, kept, all, metrics)
    }

    fn load_by(
        look: Look,
        named: NamedFiles,
        kept: Option<PathBuf>,
        all: Arc<AllGrants>,
        metrics: GrantsMetrics,
    ) -> GrantsFolder {
        let folder = named.folder().to_owned();
        let secrets_unreadable = metrics.secrets_unreadable;
        let applied = Arc::new(Applied::new(look, named.clone(), all, secrets_unreadable));
        let serve = applied.clone();
        let set = ManifestSet::load(
            folder,
            kept,
            MAX_FILES,
            metrics.manifests,
            move |name: &str, file: &GrantsFile| named.of_file(name).faults(&file.named),
            move |files| serve.serve(files),
        );
        GrantsFolder {
            set: Arc::new(set),
            applied,
        }
    }

    /// The files.
    pub fn files(&self) -> &Arc<ManifestSet<GrantsFile>> {
        &self.set
    }

    /// From now on `on_change` is told of each window whose grants have changed. The first caller's
    /// counts. It must not read the files or the secrets again: they wait for it.
    pub fn on_change(&self, on_change: OnChange) {
        self.applied.on_change(on_change);
    }

    /// Starts to watch the folder and the secrets, in tasks of the present tokio runtime, which end
    /// when this is dropped.
    pub fn watch(&self) {
        self.set.watch();
        tokio::spawn(watch_secrets(Arc::downgrade(&self.applied)));
    }

    /// Reads the secrets again, and looks at the certificate files. Blocks.
    pub fn reload_secrets(&self) {
        self.applied.reload_secrets();
    }

    /// The same for one window, as far as its disk answers in 2 s. Blocks.
    pub fn reload_secrets_of(&self, window: &str) {
        self.applied.reload_secrets_of(window);
    }

    /// Reads the files and the secrets again now, and gives what became of both.
    pub async fn read_again(&self) -> [ReadAgain; 2] {
        let (files, secrets) = (self.set.clone(), self.applied.clone());
        let files = reload::blocking("grants", move || {
            files.reload_as_it_is();
            files.outcome()
        });
        let files = files.await;
        let secrets = reload::blocking("secrets", move || {
            secrets.reload_secrets();
            secrets.secrets_outcome()
        });
        [files, secrets.await]
    }

    /// What `file`, with the text that `read` is of, grants; without the values of secrets.
    pub(crate) fn granted(&self, file: &str, read: &GrantsFile) -> WindowGrants {
        self.applied
            .granted(file, read, Secrets::new(), BTreeMap::new())
    }

    /// What of a window's grants is in force, and the values of its secrets.
    pub fn current(&self, window: &str) -> Arc<WindowGrants> {
        self.applied.current(window)
    }
}

async fn watch_secrets(applied: Weak<Applied>) {
    let mut changes = Changes::new();
    while let Some(applied) = applied.upgrade() {
        changes.follow(applied.folders()).await;
        // A look that failed by a fault of its own is followed by the next.
        let _ = tokio::task::spawn_blocking(move || applied.reload_secrets()).await;
        changes.wait(LOOK_EVERY).await;
    }
}
