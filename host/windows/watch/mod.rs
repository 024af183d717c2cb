//! Keeps the windows as a folder of components has them: a `.wasm` that is dropped or replaced there is deployed under
//! its file name. What is removed there stays live: only `hms remove` takes a window away.
//!
//! `folder` reads the file system -> `files` decides which file is due -> `attempt` deploys it. `writers` knows which files
//! are still being written.

mod attempt;
mod files;
mod folder;
mod left;
mod taken;
mod writers;

use super::Registry;
use crate::changes::{Changes, LOOK_EVERY};
use attempt::attempt;
use files::{Due, Files, Outcome};
use prometheus_client::metrics::gauge::Gauge;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;
use tokio::task::{Id, JoinSet};
use writers::Writers;

pub use left::LeftFile;
pub(super) use taken::TakenFiles;

/// A folder whose components are deployed.
pub struct WindowsFolder {
    windows: Arc<Registry>,
    dir: Arc<PathBuf>,
    refused: Gauge,
    /// Why the folder could not be read, the last time.
    fault: Option<String>,
}

impl WindowsFolder {
    /// The folder `dir`, whose components become windows of `windows`. Nothing is done before [`WindowsFolder::run`].
    pub fn new(windows: Arc<Registry>, dir: PathBuf) -> Self {
        WindowsFolder {
            windows,
            dir: Arc::new(dir),
            refused: Gauge::default(),
            fault: None,
        }
    }

    /// How many files of the folder are not live for a reason that was said in the log.
    pub fn refused(&self) -> Gauge {
        self.refused.clone()
    }

    /// Deploys what is there, and then what changes, until it is dropped; deploys under way end with it. `caught_up` is told
    /// once every file that was there at first was tried.
    pub async fn run(mut self, caught_up: oneshot::Sender<()>) {
        let mut caught_up = Some(caught_up);
        let writers = Writers::default();
        let heeding = writers.clone();
        let mut changes = Changes::seen_by(move |event| heeding.heed(event));
        let mut files = Files::default();
        let mut deploys = Deploys::default();
        let mut tidied = false;
        loop {
            changes.follow([self.dir.as_path()]);
            let held = |file: &OsStr| writers.hold(file);
            match self.read().await {
                Some(found) => {
                    // An empty folder may be one that is mounted later: what was removed must not come back with it.
                    if !tidied && !found.is_empty() {
                        tidied = true;
                        self.tidy(&found).await;
                    }
                    for due in files.look(found, &held, Instant::now()) {
                        deploys.start(&self, due);
                    }
                }
                // A folder that cannot be read must not keep the host from being ready.
                None => drop(caught_up.take()),
            }
            self.refused.set(files.refused() as i64);
            if files.caught_up() {
                caught_up.take().map(|told| told.send(()));
            }
            let until = files.next_due(Instant::now()).min(LOOK_EVERY);
            tokio::select! {
                (due, outcome) = deploys.next() => files.done(&due, outcome, Instant::now()),
                () = changes.wait(until) => {}
            }
        }
    }

    /// Forgets what was taken for windows that are gone, and whose files are.
    async fn tidy(&self, found: &folder::Found) {
        let windows = self.windows.windows();
        let is_there = |name: &str| {
            windows.contains_key(name) || found.contains_key(OsStr::new(&format!("{name}.wasm")))
        };
        if let Err(error) = self.windows.taken.retain(is_there).await {
            tracing::warn!(%error, "what was taken from the windows folder is not tidied up");
        }
    }

    /// None where the folder cannot be read: then everything stays as it is.
    async fn read(&mut self) -> Option<folder::Found> {
        let dir = self.dir.clone();
        let found = match tokio::task::spawn_blocking(move || folder::read(&dir)).await {
            Ok(found) => found.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let fault = found.as_ref().err().cloned();
        if let Some(fault) = fault
            .as_ref()
            .filter(|fault| self.fault.as_ref() != Some(fault))
        {
            let folder = self.dir.display();
            tracing::warn!(%folder, fault, "the windows folder cannot be read; the windows stay as they are");
        }
        self.fault = fault;
        found.ok()
    }
}

/// The deploys at work.
#[derive(Default)]
struct Deploys {
    tasks: JoinSet<Outcome>,
    dues: HashMap<Id, Due>,
}

impl Deploys {
    fn start(&mut self, folder: &WindowsFolder, due: Due) {
        let (windows, path) = (folder.windows.clone(), folder.dir.join(&due.file));
        let task = self.tasks.spawn(attempt(windows, path, due.clone()));
        self.dues.insert(task.id(), due);
    }

    /// The next to end. Never resolves while there is none.
    async fn next(&mut self) -> (Due, Outcome) {
        loop {
            let (id, outcome) = match self.tasks.join_next_with_id().await {
                Some(Ok((id, outcome))) => (id, outcome),
                Some(Err(error)) => (error.id(), Outcome::Later(error.to_string())),
                None => std::future::pending().await,
            };
            if let Some(due) = self.dues.remove(&id) {
                return (due, outcome);
            }
        }
    }
}
