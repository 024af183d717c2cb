//! The grants of one window as they hold now.

use crate::{Grants, Secret, Secrets};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

/// The grants of one window, with the values of its secrets. Replaced as a whole when the file or
/// a secret changes.
#[derive(Debug, Default)]
pub struct WindowGrants {
    /// The file.
    pub grants: Grants,
    /// The values of its secrets.
    pub secrets: Secrets,
    /// What is wrong with those whose values cannot be read, by name.
    pub secret_faults: BTreeMap<String, String>,
    /// SHA-256 of the file in hexadecimal; none where there is no file.
    pub digest: Option<String>,
    /// The folder of the file, to which its paths are relative.
    pub folder: PathBuf,
    /// The name of the file in the folder, such as `payments.yaml`.
    pub file: String,
}

impl WindowGrants {
    /// A line of the file as messages name it, such as `windows/payments.yaml:12`.
    pub fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.folder.join(&self.file).display())
    }

    /// The secret of this name, if the guest itself may read it.
    pub fn revealed(&self, name: &str) -> Option<&Secret> {
        match self.grants.reveal.contains(name) {
            true => self.secrets.get(name),
            false => None,
        }
    }
}

/// What holds now: shared by all that enforce it, so that a change is live at once.
#[derive(Debug, Clone, Default)]
pub struct LiveGrants(Arc<ArcSwap<WindowGrants>>);

impl LiveGrants {
    /// As they are now.
    pub fn load(&self) -> arc_swap::Guard<Arc<WindowGrants>> {
        self.0.load()
    }

    /// As they are now, to be kept beyond an await.
    pub fn current(&self) -> Arc<WindowGrants> {
        self.0.load_full()
    }

    /// Replaces them.
    pub fn store(&self, grants: WindowGrants) {
        self.0.store(Arc::new(grants));
    }
}

/// The grants of all windows, by name: also of windows that are not deployed yet.
#[derive(Debug, Default)]
pub struct AllGrants(Mutex<HashMap<String, LiveGrants>>);

impl AllGrants {
    /// Those of one window, which it may keep: they change in place.
    pub fn window(&self, name: &str) -> LiveGrants {
        self.0.lock().entry(name.to_owned()).or_default().clone()
    }
}
