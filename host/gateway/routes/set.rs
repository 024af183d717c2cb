//! Which routes are live. A file whose new text is bad, or claims what another file has, keeps its last good route, over
//! a restart too.

use super::files::Files;
use super::folder::{self, Listing};
use super::kept::Kept;
use super::status::RouteStatus;
use super::table::Table;
use crate::gateway::metrics::GatewayMetrics;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What operators are shown.
#[derive(Default)]
struct Shown {
    files: Vec<RouteStatus>,
    folder_fault: Option<String>,
    was_read: bool,
}

/// The routes of one folder.
pub struct RouteSet {
    dir: PathBuf,
    /// Manifests that are followed.
    most: usize,
    metrics: GatewayMetrics,
    files: Mutex<Files>,
    table: ArcSwap<Table>,
    /// What the last look at the folder found, for those who do not wait for the next one: it may take as long as a disk does.
    shown: ArcSwap<Shown>,
    /// Where the last good texts are kept, if anywhere. Locked only by whoever holds `files`.
    kept: Mutex<Option<Kept>>,
}

impl RouteSet {
    /// Reads the folder, and of it at most so many manifests. Bad files are said in the log and in
    /// [`RouteSet::status`], as are those beyond the bound; the rest serves. With `kept`, a file
    /// that is bad at the start serves as it was when it was good, and so do all files where the
    /// folder cannot be read.
    pub fn load(
        dir: impl Into<PathBuf>,
        kept: Option<PathBuf>,
        most: usize,
        metrics: GatewayMetrics,
    ) -> RouteSet {
        let dir = dir.into();
        let kept = kept.map(|file| Kept::open(file, &dir));
        let texts = kept.as_ref().map(Kept::texts).unwrap_or_default();
        let set = RouteSet {
            dir,
            most,
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

    /// Manifests that are followed at most.
    pub(super) fn most(&self) -> usize {
        self.most
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
        match folder::read(&self.dir, self.most, |name| files.known(name)) {
            Ok(found) => self.take_in(files, found),
            Err(error) => self.keep_all(files, error.to_string()),
        }
    }

    fn take_in(&self, files: &mut Files, found: Listing) {
        let was_gone = files.folder_fault.take().is_some();
        if was_gone {
            tracing::info!(folder = %self.dir.display(), "the routes folder can be read again");
        }
        let before = std::mem::replace(&mut files.left_out, found.left_out);
        if found.left_out > before {
            let (left_out, most) = (found.left_out, self.most);
            tracing::warn!(
                left_out,
                most,
                "more manifests in the routes folder are not read, and not named one by one"
            );
        }
        if files.take_in(found.files) {
            self.swap(files);
        } else {
            self.count(files);
            if was_gone {
                self.show(files);
            }
        }
        // Gone with the next look.
        for file in files.withdrawn() {
            if crate::files::remove(&self.dir.join(&file)).is_ok() {
                tracing::info!(file, "the file of a removed route is removed");
            }
        }
    }

    /// A folder that cannot be read takes no route with it. At the start those serve that served
    /// last.
    fn keep_all(&self, files: &mut Files, fault: String) {
        if files.folder_fault.as_ref() == Some(&fault) {
            return;
        }
        let (folder, ready) = (self.dir.display(), files.was_read);
        match ready {
            true => tracing::warn!(
                %folder, fault,
                "the routes folder cannot be read; the routes stay as they are"
            ),
            false => tracing::error!(
                %folder, fault,
                "the routes folder cannot be read; the routes of the last run serve, and the host is \
                 not ready until it can"
            ),
        }
        files.folder_fault = Some(fault);
        match files.stand_in() {
            true => self.swap(files),
            false => {
                self.count(files);
                self.show(files);
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
        self.count(files);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // What is in a folder that was never read is not known, so nothing that was kept of it is
        // given up.
        if let Some(kept) = kept.as_mut().filter(|_| files.was_read) {
            kept.keep(files.live_texts());
        }
        drop(kept);
        self.show(files);
    }

    fn count(&self, files: &Files) {
        self.metrics.route_files_refused(files.refused());
        self.metrics.route_files_over_limit(files.over_limit());
        let unreadable = files.folder_fault.is_some();
        self.metrics.route_folder_unreadable(unreadable);
    }

    fn show(&self, files: &Files) {
        self.shown.store(Arc::new(Shown {
            files: files.status(),
            folder_fault: files.folder_fault.clone(),
            was_read: files.was_read,
        }));
    }

    /// One line a file, by name. Does not block.
    pub fn status(&self) -> Vec<RouteStatus> {
        self.shown.load().files.clone()
    }

    /// The present texts of all files, as the last look at the folder found them. May wait for a
    /// look under way.
    pub fn texts(&self) -> BTreeMap<String, String> {
        self.files().texts()
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
            return Err(format!("{}: {fault}", self.dir.display()));
        }
        let refused = |file: &&RouteStatus| !file.faults.is_empty();
        let live = shown.files.iter().filter(|file| file.route.is_some());
        Ok(
            match (live.count(), shown.files.iter().filter(refused).count()) {
                (live, 0) => format!("{live} live"),
                (live, 1) => format!("{live} live, 1 file refused, see `hms routes`"),
                (live, refused) => {
                    format!("{live} live, {refused} files refused, see `hms routes`")
                }
            },
        )
    }

    /// Whether the folder was read at least once, so that what serves is what is in it. Does not
    /// block.
    pub fn was_read(&self) -> bool {
        self.shown.load().was_read
    }
}
