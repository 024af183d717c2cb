//! Which routes are live. A file whose new text is bad, or claims what another file has, keeps its last good route, over
//! a restart too.

use super::files::Files;
use super::folder;
use super::kept::Kept;
use super::status::RouteStatus;
use super::table::Table;
use crate::gateway::metrics::GatewayMetrics;
use arc_swap::ArcSwap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What operators are shown.
#[derive(Default)]
struct Shown {
    files: Vec<RouteStatus>,
    folder_fault: Option<String>,
}

/// The routes of one folder.
pub struct RouteSet {
    dir: PathBuf,
    metrics: GatewayMetrics,
    files: Mutex<Files>,
    table: ArcSwap<Table>,
    /// What the last look at the folder found, for those who do not wait for the next one: it may take as long as a disk does.
    shown: ArcSwap<Shown>,
    /// Where the last good texts are kept, if anywhere. Locked only by whoever holds `files`.
    kept: Mutex<Option<Kept>>,
}

impl RouteSet {
    /// Reads the folder. Bad files, or a folder that is not there, are said in the log and in [`RouteSet::status`];
    /// the rest serves. With `kept`, a file that is bad at the start serves as it was when it was good.
    pub fn load(
        dir: impl Into<PathBuf>,
        kept: Option<PathBuf>,
        metrics: GatewayMetrics,
    ) -> RouteSet {
        let dir = dir.into();
        let kept = kept.map(|file| Kept::open(file, &dir));
        let texts = kept.as_ref().map(Kept::texts).unwrap_or_default();
        let set = RouteSet {
            dir,
            metrics,
            files: Mutex::new(Files::new(texts)),
            table: ArcSwap::default(),
            shown: ArcSwap::default(),
            kept: Mutex::new(kept),
        };
        set.reload();
        set
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The live routes, as they are now.
    pub fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    pub(super) fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what has changed and swaps the table, wholly or not at all. Blocks on the file system.
    pub fn reload(&self) {
        self.reload_locked(&mut self.files());
    }

    pub(super) fn reload_locked(&self, files: &mut Files) {
        match folder::read(&self.dir, |name| files.stamp(name)) {
            Ok(found) => {
                let was_gone = files.folder_fault.take().is_some();
                if files.take_in(found) {
                    self.swap(files);
                } else if was_gone {
                    self.show(files);
                }
                // Gone with the next look.
                for file in files.withdrawn() {
                    if crate::files::remove(&self.dir.join(&file)).is_ok() {
                        tracing::info!(file, "the file of a removed route is removed");
                    }
                }
            }
            Err(error) => {
                // A folder that is gone for a moment takes no route with it.
                let fault = error.to_string();
                if files.folder_fault.as_ref() != Some(&fault) {
                    let folder = self.dir.display();
                    tracing::warn!(%folder, fault, "the routes folder cannot be read; the routes stay as they are");
                    files.folder_fault = Some(fault);
                    self.show(files);
                }
            }
        }
    }

    /// Has a file serve nothing that cannot be removed.
    pub(super) fn withdraw(&self, files: &mut Files, file: &str, why: &str) {
        tracing::warn!(file, "a route is removed, and its file is not yet: {why}");
        files.withdraw(file, why);
        self.swap(files);
    }

    fn swap(&self, files: &mut Files) {
        self.table.store(Arc::new(files.resolve()));
        self.metrics.route_files_refused(files.refused());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.as_mut() {
            kept.keep(files.live_texts());
        }
        drop(kept);
        self.show(files);
    }

    fn show(&self, files: &Files) {
        self.shown.store(Arc::new(Shown {
            files: files.status(),
            folder_fault: files.folder_fault.clone(),
        }));
    }

    /// One line a file, by name. Does not block.
    pub fn status(&self) -> Vec<RouteStatus> {
        self.shown.load().files.clone()
    }

    /// Why the folder itself could not be read the last time, if it could not. Does not block.
    pub fn folder_fault(&self) -> Option<String> {
        self.shown.load().folder_fault.clone()
    }

    /// What the last look at the folder found, in words. Does not block.
    ///
    /// # Errors
    /// Why the folder could not be read.
    pub fn outcome(&self) -> Result<String, String> {
        let shown = self.shown.load();
        if let Some(fault) = &shown.folder_fault {
            return Err(fault.clone());
        }
        let refused = |file: &&RouteStatus| !file.faults.is_empty();
        let live = shown.files.iter().filter(|file| file.route.is_some());
        Ok(
            match (live.count(), shown.files.iter().filter(refused).count()) {
                (live, 0) => format!("{live} live"),
                (live, refused) => {
                    format!("{live} live, {refused} files refused, see `hms routes`")
                }
            },
        )
    }
}
