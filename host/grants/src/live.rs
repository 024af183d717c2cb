//! The grants of one window as they hold now.

use crate::{Grants, Secret, Secrets};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The grants of one window, with the values of its secrets. Replaced as a whole when the file or
/// a secret changes.
#[derive(Debug, Default)]
pub struct WindowGrants {
    /// The file.
    pub grants: Grants,
    /// The values of its secrets.
    pub secrets: Secrets,
    /// Values that its guests may have read, and that are not revealed now: for what they write.
    /// The latest come first.
    pub former: Vec<Secret>,
    /// What is wrong with those whose values cannot be read, by name.
    pub secret_faults: BTreeMap<String, String>,
    /// SHA-256 of the file in hexadecimal; none where there is no file.
    pub digest: Option<String>,
    /// The folder of the file, to which its paths are relative.
    pub folder: PathBuf,
    /// The name of the file in the folder, such as `payments.yaml`, also where it is not there yet.
    pub file: String,
    /// Another one each time that grants of any window are put in force; 0 before that.
    pub version: u64,
}

/// The last [`WindowGrants::version`].
static VERSIONS: AtomicU64 = AtomicU64::new(0);

/// Former values that are remembered of one window. 16: a day's, where one is replaced each hour or
/// two, and 1 MiB at most.
const MAX_FORMER: usize = 16;

impl WindowGrants {
    /// These, in place of `before`: what was revealed is remembered.
    #[must_use]
    pub(crate) fn after(mut self, before: &WindowGrants) -> Self {
        let revealed: Vec<Secret> = self.all_revealed().cloned().collect();
        for value in before.all_revealed().chain(&before.former) {
            if self.former.len() < MAX_FORMER
                && !revealed.contains(value)
                && !self.former.contains(value)
            {
                self.former.push(value.clone());
            }
        }
        self
    }

    /// The values that the guest itself may read.
    pub(crate) fn all_revealed(&self) -> impl Iterator<Item = &Secret> + Clone {
        let names = self.grants.reveal.iter();
        names.filter_map(|name| self.secrets.get(name))
    }

    /// Those of a window that has no file in `folder`: nothing.
    pub fn none(window: &str, folder: &Path) -> Self {
        WindowGrants {
            folder: folder.to_owned(),
            file: format!("{window}.yaml"),
            ..WindowGrants::default()
        }
    }

    /// The file; the one to make where there is none.
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.file)
    }

    /// A line of the file as messages name it, such as `windows/payments.yaml:12`.
    pub fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path().display())
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

    fn of(grants: WindowGrants) -> Self {
        LiveGrants(Arc::new(ArcSwap::from_pointee(grants)))
    }

    /// Replaces them.
    pub fn store(&self, mut grants: WindowGrants) {
        grants.version = VERSIONS.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.store(Arc::new(grants));
    }
}

/// The grants of all windows, by name: also of windows that are not deployed yet.
#[derive(Debug)]
pub struct AllGrants {
    folder: PathBuf,
    windows: Mutex<HashMap<String, LiveGrants>>,
}

impl Default for AllGrants {
    /// By the folder `windows`.
    fn default() -> Self {
        AllGrants::of("windows".into())
    }
}

impl AllGrants {
    /// By the files in `folder`, of which none is read yet.
    pub fn of(folder: PathBuf) -> Self {
        AllGrants {
            folder,
            windows: Mutex::default(),
        }
    }

    /// Those of one window, which it may keep: they change in place.
    pub fn window(&self, name: &str) -> LiveGrants {
        let mut windows = self.windows.lock();
        let window = windows.entry(name.to_owned());
        let none = || LiveGrants::of(WindowGrants::none(name, &self.folder));
        window.or_insert_with(none).clone()
    }

    /// Those of every window that was asked for or has a file, by name.
    pub fn all(&self) -> Vec<(String, LiveGrants)> {
        let windows = self.windows.lock();
        let all = windows.iter();
        all.map(|(name, live)| (name.clone(), live.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_without_a_file_names_the_one_to_make() {
        let all = AllGrants::of("/etc/hms/grants".into());
        let file = all.window("payments").load().path();
        assert_eq!(file, Path::new("/etc/hms/grants/payments.yaml"));
    }
}
