//! What holds of the files and of what they name.

use super::OnChange;
use super::look::{Look, Looked, PemFiles};
use crate::values::READ_TIME;
use crate::{AllGrants, GrantsFile, NamedFiles, OutboundGrant, Secrets, WindowGrants};
use hms_disk::files::folder_of;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;

/// What was made of the files.
pub(super) struct Applied {
    named: NamedFiles,
    all: Arc<AllGrants>,
    /// By the name of the window.
    files: Mutex<BTreeMap<String, Followed>>,
    /// Held from the look at `files` until what was made of them is stored, so that what is stored
    /// last is of the newest file. `on_change` runs under it, and no file is read under it by a
    /// reload: a disk that hangs must not keep grants from being revoked. Holds the PEM files of
    /// each window.
    storing: Mutex<BTreeMap<String, PemFiles>>,
    /// Held by one reload of the secrets at a time.
    reloading: Mutex<()>,
    look: Look,
    on_change: OnceLock<OnChange>,
    secrets_unreadable: Gauge,
}

/// A file that serves.
#[derive(Clone)]
struct Followed {
    /// Its name in the folder.
    name: String,
    file: Arc<GrantsFile>,
}

impl Applied {
    /// Of no files yet. What they grant will be in `all`.
    pub(super) fn new(
        look: Look,
        named: NamedFiles,
        all: Arc<AllGrants>,
        secrets_unreadable: Gauge,
    ) -> Self {
        Applied {
            named,
            all,
            files: Mutex::default(),
            storing: Mutex::default(),
            reloading: Mutex::default(),
            look,
            on_change: OnceLock::new(),
            secrets_unreadable,
        }
    }

    /// From now on `on_change` is told of each window whose grants have changed.
    pub(super) fn on_change(&self, on_change: OnChange) {
        let _ = self.on_change.set(on_change);
    }

    /// What of a window's grants is in force.
    pub(super) fn current(&self, window: &str) -> Arc<WindowGrants> {
        self.all.window(window).current()
    }

    /// Has `files` hold, by the names of the files.
    pub(super) fn serve(&self, files: BTreeMap<String, Arc<GrantsFile>>) {
        let followed = files
            .into_iter()
            .map(|(name, file)| (file.window.to_string(), Followed { name, file }));
        let next: BTreeMap<_, _> = followed.collect();
        let mut storing = self.storing.lock();
        let mut now = self.files.lock();
        let before = std::mem::replace(&mut *now, next.clone());
        drop(now);
        // What takes away comes first: it reads nothing.
        for window in before.keys().filter(|window| !next.contains_key(*window)) {
            storing.remove(window);
            self.store(window, WindowGrants::none(window, self.named.folder()));
        }
        for (window, followed) in &next {
            let is_same = |old: &Followed| Arc::ptr_eq(&old.file, &followed.file);
            if !before.get(window).is_some_and(is_same) {
                let looked = self.looked_in_time(followed);
                storing.insert(window.clone(), looked.pem.clone());
                self.apply(window, followed, looked, true);
            }
        }
    }

    /// What the file names, as far as its disk answers in time.
    fn looked_in_time(&self, followed: &Followed) -> Looked {
        let (look, file) = (self.look, followed.file.clone());
        let named = self.named.of_file(&followed.name);
        let (done, looked) = mpsc::channel();
        // One that is too late is nobody's: the next look reads anew.
        thread::spawn(move || done.send(look(&file, &named)));
        let late = || {
            let late = "its disk does not answer".to_owned();
            let names = followed.file.grants.secrets.keys();
            Looked {
                secrets: Secrets::new(),
                faults: names.map(|name| (name.clone(), late.clone())).collect(),
                pem: PemFiles::new(),
            }
        };
        looked.recv_timeout(READ_TIME).unwrap_or_else(|_| late())
    }

    /// Has the file hold with what was read for it. A secret that cannot be read, as while it is
    /// replaced, keeps the last value that it had from the same source. Nothing happens where all
    /// of that holds already and `anew` is not asked for.
    fn apply(&self, window: &str, Followed { name, file }: &Followed, looked: Looked, anew: bool) {
        let now = self.all.window(window).current();
        let Looked {
            mut secrets,
            faults,
            ..
        } = looked;
        for (secret, reason) in &faults {
            if now.secret_faults.get(secret) != Some(reason) {
                tracing::warn!(
                    window,
                    secret,
                    reason,
                    "a secret cannot be read; its last value is used, if there was one"
                );
            }
            // What is named is relative to the folder.
            let is_same = now.folder == self.named.of_file(name).folder()
                && now.grants.secrets.get(secret) == file.grants.secrets.get(secret);
            if let Some(last) = now.secrets.get(secret).filter(|_| is_same) {
                secrets.insert(secret.clone(), last.clone());
            }
        }
        if anew || secrets != now.secrets || faults != now.secret_faults {
            drop(now);
            self.store(window, self.granted(name, file, secrets, faults));
        }
    }

    /// What the file `name` grants.
    pub(super) fn granted(
        &self,
        name: &str,
        file: &GrantsFile,
        secrets: Secrets,
        secret_faults: BTreeMap<String, String>,
    ) -> WindowGrants {
        let mut grants = file.grants.clone();
        let named = self.named.of_file(name);
        if named.folder() != self.named.folder() {
            // Whoever reads these knows only the folder.
            let pem = grants
                .outbound
                .iter_mut()
                .flat_map(OutboundGrant::files_mut);
            pem.for_each(|path| *path = named.folder().join(&*path));
        }
        WindowGrants {
            grants,
            secrets,
            former: Vec::new(),
            secret_faults,
            digest: Some(file.digest.clone()),
            folder: named.folder().to_owned(),
            file: name.to_owned(),
            version: 0,
        }
    }

    /// Has `grants` hold, and tells.
    fn store(&self, window: &str, grants: WindowGrants) {
        let live = self.all.window(window);
        let before = live.current();
        live.store(grants.after(&before));
        self.count_secrets();
        if let Some(on_change) = self.on_change.get() {
            on_change(window, &before, &live.current());
        }
    }

    fn count_secrets(&self) {
        self.secrets_unreadable
            .set(i64::try_from(self.unreadable()).unwrap_or(i64::MAX));
    }

    /// Secrets that cannot be read now.
    fn unreadable(&self) -> usize {
        let windows: Vec<String> = self.files.lock().keys().cloned().collect();
        let faults = |window: &String| self.all.window(window).load().secret_faults.len();
        windows.iter().map(faults).sum()
    }

    pub(super) fn secrets_outcome(&self) -> Result<String, String> {
        let files = self.files.lock();
        let secrets = files.values().map(|each| each.file.grants.secrets.len());
        let all: usize = secrets.sum();
        drop(files);
        match self.unreadable() {
            0 => Ok(format!("{all} read")),
            bad => Err(format!("{bad} of {all} cannot be read, see `hms grants`")),
        }
    }

    pub(super) fn reload_secrets(&self) {
        let _reloading = self.reloading.lock();
        let files = self.files.lock().clone();
        for (window, followed) in files {
            let looked = (self.look)(&followed.file, &self.named.of_file(&followed.name));
            self.looked_at(&window, &followed, looked);
        }
    }

    pub(super) fn reload_secrets_of(&self, window: &str) {
        let followed = self.files.lock().get(window).cloned();
        if let Some(followed) = followed {
            let looked = self.looked_in_time(&followed);
            self.looked_at(window, &followed, looked);
        }
    }

    /// Has what was read for a window hold.
    fn looked_at(&self, window: &str, followed: &Followed, looked: Looked) {
        let mut storing = self.storing.lock();
        let now = self.files.lock().get(window).cloned();
        // Another file is in force meanwhile, or none.
        if !now.is_some_and(|now| Arc::ptr_eq(&now.file, &followed.file)) {
            return;
        }
        let before = self.all.window(window).current();
        let known = storing.entry(window.to_owned()).or_default();
        let mut has_new_pem = false;
        for (path, stamp) in &looked.pem {
            // One that is away for a moment, as while it is replaced, changes nothing.
            if stamp.is_some() && known.get(path) != Some(stamp) {
                known.insert(path.clone(), *stamp);
                has_new_pem = true;
            }
        }
        if has_new_pem {
            tracing::info!(
                window,
                "certificate files have changed: its clients are made anew"
            );
        }
        self.apply(window, followed, looked, has_new_pem);
        if self.all.window(window).load().secrets != before.secrets {
            tracing::info!(window, "secrets have changed");
        }
    }

    /// The folders in which secrets and certificates are.
    pub(super) fn folders(&self) -> BTreeSet<PathBuf> {
        let files = self.files.lock();
        let paths = files.values().flat_map(|each| {
            let (named, grants) = (self.named.of_file(&each.name), &each.file.grants);
            let secrets = grants.secrets.values();
            let secrets: Vec<PathBuf> = secrets.filter_map(|it| named.path(it).ok()).collect();
            let pem = grants.outbound.iter().flat_map(OutboundGrant::files);
            let pem = pem.map(move |path| named.folder().join(path));
            secrets.into_iter().chain(pem)
        });
        paths.map(|path| folder_of(&path).to_owned()).collect()
    }
}
