//! Deploys the components of a folder: a `.wasm` that is added or replaced there is deployed under
//! its file name. Deleting a file does not remove its window: only `hms remove` does.
//!
//! `folder` reads the file system -> `files` decides which file is due -> `attempt` deploys it.
//! `writers` tracks which files are still being written.

mod attempt;
mod files;
mod folder;
mod left;
mod taken;
mod writers;

use super::{Registry, WindowName};
use attempt::attempt;
use files::{DeployOutcome, Due, Files};
use hms_disk::changes::{Changes, LOOK_EVERY};
use prometheus_client::metrics::gauge::Gauge;
use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use writers::Writers;

pub(super) use left::leave_in_folder;
pub(super) use taken::TakenFiles;

/// A folder whose components are deployed.
pub struct WindowsFolder {
    windows: Arc<Registry>,
    dir: Arc<PathBuf>,
    counts: FolderCounts,
    progress: watch::Sender<FolderProgress>,
    /// Why the last read of the folder failed, if it did.
    fault: Option<String>,
}

/// The progress with the components that were in a folder at startup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FolderProgress {
    /// The folder could not be read so far.
    Unread,
    /// The folder was read.
    Read,
    /// Each of them was tried.
    CaughtUp,
}

/// The metrics of a watched folder. Clones count together.
#[derive(Clone, Default)]
pub struct FolderCounts {
    /// Files that are not live for a reason in the log.
    pub refused: Gauge,
    /// Of these, files beyond the bound on how many are followed.
    pub over_limit: Gauge,
    /// 1 if the folder cannot be read.
    pub unreadable: Gauge,
}

impl WindowsFolder {
    /// The folder `dir`, whose components become windows of `windows`. Does nothing before
    /// [`WindowsFolder::run`].
    pub fn new(windows: Arc<Registry>, dir: PathBuf) -> Self {
        WindowsFolder {
            windows,
            dir: Arc::new(dir),
            counts: FolderCounts::default(),
            progress: watch::Sender::new(FolderProgress::Unread),
            fault: None,
        }
    }

    /// The metrics of the folder.
    pub fn counts(&self) -> FolderCounts {
        self.counts.clone()
    }

    /// The progress.
    pub fn progress(&self) -> watch::Receiver<FolderProgress> {
        self.progress.subscribe()
    }

    fn come_to(&self, progress: FolderProgress) {
        self.progress.send_if_modified(|before| {
            let further = *before < progress;
            *before = progress.max(*before);
            further
        });
    }

    /// Deploys what is there, and then what changes, until it is dropped; deploys in progress end
    /// with it.
    pub async fn run(mut self) {
        let writers = Writers::default();
        let heeding = writers.clone();
        let mut changes = Changes::seen_by(move |event| heeding.heed(event));
        let mut files = Files::default();
        let mut deploys = Deploys::default();
        let mut tidied = false;
        loop {
            changes.follow([self.dir.as_path()]).await;
            let held = |file: &OsStr| writers.hold(file);
            if let Some(found) = self.read(files.names()).await {
                // An empty folder may be one that is mounted later: removed windows must not come
                // back with it.
                if !tidied && !found.is_empty() {
                    tidied = true;
                    self.tidy(&found).await;
                }
                self.counts.over_limit.set(found.over_limit as i64);
                for due in files.look(found, &held, Instant::now()) {
                    deploys.start(&self, due);
                }
            }
            self.counts.refused.set(files.refused() as i64);
            if files.caught_up() {
                self.come_to(FolderProgress::CaughtUp);
            }
            let until = files.next_due(Instant::now()).min(LOOK_EVERY);
            tokio::select! {
                (due, outcome) = deploys.next() => files.done(&due, outcome, Instant::now()),
                _ = changes.wait(until) => {}
            }
        }
    }

    /// Forgets the records of windows that are gone, and whose files are.
    async fn tidy(&self, found: &folder::FolderScan) {
        let Some(of_files) = found.windows() else {
            return;
        };
        let windows = self.windows.windows();
        let is_there = |name: &str| {
            let has_file = |name: WindowName| of_files.contains(&name);
            windows.contains_key(name) || name.parse().is_ok_and(has_file)
        };
        if let Err(error) = self.windows.taken.retain(is_there).await {
            tracing::warn!(%error, "cannot clean up the record of deployed files");
        }
    }

    /// None if the folder cannot be read: everything then stays as it is. If there are too many,
    /// those in `followed`, and those of existing windows, come first.
    async fn read(&mut self, followed: BTreeSet<OsString>) -> Option<folder::FolderScan> {
        let (dir, windows) = (self.dir.clone(), self.windows.windows());
        let has_place = move |file: &OsStr| {
            let of_window = |name: WindowName| windows.contains_key(name.as_str());
            followed.contains(file) || WindowName::from_file(Path::new(file)).is_ok_and(of_window)
        };
        let read = move || folder::read(&dir, folder::MAX_FILES, &has_place);
        let found = match tokio::task::spawn_blocking(read).await {
            Ok(found) => found.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let fault = found.as_ref().err().cloned();
        if fault != self.fault {
            let folder = self.dir.display();
            match &fault {
                None => tracing::info!(%folder, "the windows folder is readable again"),
                Some(fault) if *self.progress.borrow() > FolderProgress::Unread => tracing::warn!(
                    %folder, fault,
                    "the windows folder is unreadable; the windows stay as they are"
                ),
                Some(fault) => tracing::error!(
                    %folder, fault,
                    "the windows folder is unreadable; the windows of the last run serve, and the \
                     host is not ready until it is readable"
                ),
            }
        }
        self.counts.unreadable.set(i64::from(fault.is_some()));
        self.fault = fault;
        let found = found.ok()?;
        self.come_to(FolderProgress::Read);
        Some(found)
    }
}

/// The deploys in progress.
#[derive(Default)]
struct Deploys {
    tasks: JoinSet<DeployOutcome>,
    dues: HashMap<Id, Due>,
}

impl Deploys {
    fn start(&mut self, folder: &WindowsFolder, due: Due) {
        let (windows, path) = (folder.windows.clone(), folder.dir.join(&due.file));
        let task = self.tasks.spawn(attempt(windows, path, due.clone()));
        self.dues.insert(task.id(), due);
    }

    /// The next one to end. Never resolves while there is none.
    async fn next(&mut self) -> (Due, DeployOutcome) {
        loop {
            let (id, outcome) = match self.tasks.join_next_with_id().await {
                Some(Ok((id, outcome))) => (id, outcome),
                Some(Err(error)) => (error.id(), DeployOutcome::Later(error.to_string())),
                None => std::future::pending().await,
            };
            if let Some(due) = self.dues.remove(&id) {
                return (due, outcome);
            }
        }
    }
}
