//! The folder of grants files: watched, checked, and live in each window.

use crate::values;
use crate::{AllGrants, GrantsFile, GrantsMetrics, OutboundGrant, Secrets, WindowGrants};
use hms_core::reload::{self, ReadAgain};
use hms_disk::changes::Changes;
use hms_disk::files::folder_of;
use hms_disk::stamp::FileStamp;
use hms_manifest::ManifestSet;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak, mpsc};
use std::thread;
use std::time::Duration;

/// Files that are followed: as many as there can be windows on one host.
const MAX_FILES: usize = 1000;

/// How often secrets and certificate files are looked at if the file system reports no change. 5 s,
/// as for the certificates of listeners.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long an edit of a file waits for the disk of its secrets. 2 s: then it is in force without
/// those that were not read, and the next look at the secrets brings them.
const READ_TIME: Duration = Duration::from_secs(2);

/// Is told the name of a window whose grants have changed, what they were and what they are.
pub type OnChange = Box<dyn Fn(&str, &WindowGrants, &WindowGrants) + Send + Sync>;

/// The folder, and what its files grant.
pub struct GrantsFolder {
    set: Arc<ManifestSet<GrantsFile>>,
    applied: Arc<Applied>,
}

/// The PEM files of a window's grants as they were when its clients were last made anew; none for
/// one that is not there.
type PemFiles = BTreeMap<PathBuf, Option<FileStamp>>;

/// Secrets and certificate files as they were read.
struct Looked {
    secrets: Secrets,
    faults: BTreeMap<String, String>,
    pem: PemFiles,
}

/// Reads what a grants file names, relative to its folder. Blocks.
type Look = fn(&GrantsFile, &Path) -> Looked;

/// What was made of the files.
struct Applied {
    folder: PathBuf,
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

impl GrantsFolder {
    /// Reads the folder; a missing one is empty. What its files grant is in `all` before this
    /// returns, and whenever a file or a secret has changed. In `kept` the last good texts survive
    /// a restart. Blocks.
    pub fn load(
        folder: PathBuf,
        kept: Option<PathBuf>,
        all: Arc<AllGrants>,
        metrics: GrantsMetrics,
    ) -> GrantsFolder {
        Self::load_by(look, folder, kept, all, metrics)
    }

    fn load_by(
        look: Look,
        folder: PathBuf,
        kept: Option<PathBuf>,
        all: Arc<AllGrants>,
        metrics: GrantsMetrics,
    ) -> GrantsFolder {
        let applied = Arc::new(Applied {
            folder: folder.clone(),
            all,
            files: Mutex::default(),
            storing: Mutex::default(),
            reloading: Mutex::default(),
            look,
            on_change: OnceLock::new(),
            secrets_unreadable: metrics.secrets_unreadable,
        });
        let serve = applied.clone();
        let set = ManifestSet::load(folder, kept, MAX_FILES, metrics.manifests, move |files| {
            serve.serve(files);
        });
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
        let _ = self.applied.on_change.set(on_change);
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

    /// What of a window's grants is in force, and the values of its secrets.
    pub fn current(&self, window: &str) -> Arc<WindowGrants> {
        self.applied.all.window(window).current()
    }
}

impl Applied {
    /// Has `files` hold, by the names of the files.
    fn serve(&self, files: BTreeMap<String, Arc<GrantsFile>>) {
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
            self.store(window, WindowGrants::none(window, &self.folder));
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
        let (look, file, folder) = (self.look, followed.file.clone(), self.folder.clone());
        let (done, looked) = mpsc::channel();
        // One that is too late is nobody's: the next look reads anew.
        thread::spawn(move || done.send(look(&file, &folder)));
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
            let is_same = now.grants.secrets.get(secret) == file.grants.secrets.get(secret);
            if let Some(last) = now.secrets.get(secret).filter(|_| is_same) {
                secrets.insert(secret.clone(), last.clone());
            }
        }
        if anew || secrets != now.secrets || faults != now.secret_faults {
            drop(now);
            self.store(window, self.granted(name, file, secrets, faults));
        }
    }

    fn granted(
        &self,
        name: &str,
        file: &GrantsFile,
        secrets: Secrets,
        secret_faults: BTreeMap<String, String>,
    ) -> WindowGrants {
        WindowGrants {
            grants: file.grants.clone(),
            secrets,
            secret_faults,
            digest: Some(file.digest.clone()),
            folder: self.folder.clone(),
            file: name.to_owned(),
        }
    }

    /// Has `grants` hold, and tells.
    fn store(&self, window: &str, grants: WindowGrants) {
        let live = self.all.window(window);
        let before = live.current();
        live.store(grants);
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

    fn secrets_outcome(&self) -> Result<String, String> {
        let files = self.files.lock();
        let secrets = files.values().map(|each| each.file.grants.secrets.len());
        let all: usize = secrets.sum();
        drop(files);
        match self.unreadable() {
            0 => Ok(format!("{all} read")),
            bad => Err(format!("{bad} of {all} cannot be read, see `hms grants`")),
        }
    }

    fn reload_secrets(&self) {
        let _reloading = self.reloading.lock();
        let files = self.files.lock().clone();
        for (window, followed) in files {
            let looked = (self.look)(&followed.file, &self.folder);
            self.looked_at(&window, &followed, looked);
        }
    }

    fn reload_secrets_of(&self, window: &str) {
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
    fn folders(&self) -> BTreeSet<PathBuf> {
        let files = self.files.lock();
        let sources = files
            .values()
            .flat_map(|each| each.file.grants.secrets.values());
        let secrets = sources.filter_map(|source| values::path(source, &self.folder).ok());
        let grants = files.values().flat_map(|each| &each.file.grants.outbound);
        let pem = grants.flat_map(OutboundGrant::files);
        let paths = secrets.chain(pem.map(|path| self.folder.join(path)));
        paths.map(|path| folder_of(&path).to_owned()).collect()
    }
}

fn look(file: &GrantsFile, folder: &Path) -> Looked {
    let (secrets, faults) = values::read_all(&file.grants.secrets, folder);
    // As they are now. Whoever makes clients of them reads them later: a change in between is seen
    // by the next look.
    let paths = file.grants.outbound.iter().flat_map(OutboundGrant::files);
    let stamp = |path: PathBuf| {
        let stamp = fs::metadata(&path).ok();
        let stamp = stamp.map(|metadata| FileStamp::of(&metadata));
        (path, stamp)
    };
    Looked {
        secrets,
        faults,
        pem: paths.map(|path| stamp(folder.join(path))).collect(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use hms_manifest::conformance::{self, Samples};
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

    const CARD: &str = "secrets: {card-key: {file: card-key}}\nreveal: [card-key]\n";

    fn folder(path: &Path) -> (GrantsFolder, Arc<AllGrants>) {
        let all = Arc::<AllGrants>::default();
        let metrics = GrantsMetrics::default();
        let folder = GrantsFolder::load(path.into(), None, all.clone(), metrics);
        (folder, all)
    }

    fn write_secret(path: &Path, value: &str, mode: u32) {
        let _ = fs::remove_file(path);
        fs::write(path, value).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn card_key(all: &AllGrants) -> Option<Vec<u8>> {
        let live = all.window("payments").current();
        live.revealed("card-key")
            .map(|secret| secret.expose().to_vec())
    }

    #[test]
    fn grants_file_conforms() {
        conformance::run::<GrantsFile>(&Samples {
            good: ["internal: true\n", "config: {currency: EUR}\n"],
            bad: "internal: true\ncnofig: {}\n",
            place: (2, 1),
        });
    }

    #[test]
    fn file_grants_what_it_says_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, all) = folder(dir.path());
        let payments = all.window("payments");
        assert!(payments.load().digest.is_none());
        folder.files().put("payments", "calls: [docs]\n").unwrap();
        assert!(payments.load().grants.call("docs").is_some());
        assert_eq!(payments.load().digest.as_ref().map(String::len), Some(64));
        folder.files().put("payments", "calls: [audit]\n").unwrap();
        assert!(payments.load().grants.call("docs").is_none());
        folder.files().remove("payments").unwrap();
        assert_eq!(payments.load().grants, crate::Grants::default());
    }

    #[test]
    fn two_files_of_one_window_are_refused_but_the_first() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("payments.yaml"), "calls: [docs]\n").unwrap();
        fs::write(dir.path().join("payments.yml"), "calls: [audit]\n").unwrap();
        let (folder, all) = folder(dir.path());
        assert!(all.window("payments").load().grants.call("docs").is_some());
        let status = folder.files().status();
        assert!(
            status[1].faults[0]
                .reason
                .contains("claimed by payments.yaml")
        );
    }

    #[tokio::test]
    async fn reload_says_what_became_of_files_and_secrets() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("payments.yaml"), CARD).unwrap();
        let (folder, all) = folder(dir.path());
        let [files, secrets] = folder.read_again().await;
        assert_eq!(files.outcome, Ok("1 live".into()));
        let why = secrets.outcome.unwrap_err();
        assert!(why.starts_with("1 of 1 cannot be read"), "{why}");
        write_secret(&dir.path().join("card-key"), "one", 0o600);
        let [_, secrets] = folder.read_again().await;
        assert_eq!(secrets.outcome, Ok("1 read".into()));
        assert_eq!(card_key(&all).as_deref(), Some(&b"one"[..]));
        let line = all.window("payments").load().at(2);
        assert!(line.ends_with("payments.yaml:2"), "{line}");
    }

    #[test]
    fn missing_folder_is_empty_and_made_by_the_first_edit() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, all) = folder(&dir.path().join("windows"));
        assert_eq!(folder.files().folder_fault(), None);
        assert!(folder.files().was_read());
        folder.files().put("payments", "internal: true\n").unwrap();
        assert!(all.window("payments").load().grants.internal);
    }

    #[test]
    fn changed_secret_is_live_and_one_that_became_unreadable_keeps_its_value() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("card-key");
        write_secret(&key, "one", 0o600);
        fs::write(dir.path().join("payments.yaml"), CARD).unwrap();
        let (folder, all) = folder(dir.path());
        let told = Arc::new(AtomicUsize::new(0));
        let count = told.clone();
        folder.on_change(Box::new(move |window, _, _| {
            assert_eq!(window, "payments");
            count.fetch_add(1, Relaxed);
        }));
        assert_eq!(card_key(&all).as_deref(), Some(&b"one"[..]));
        folder.reload_secrets();
        assert_eq!(told.load(Relaxed), 0);
        write_secret(&key, "two", 0o600);
        folder.reload_secrets();
        assert_eq!(card_key(&all).as_deref(), Some(&b"two"[..]));
        assert_eq!(told.load(Relaxed), 1);
        write_secret(&key, "three", 0o644);
        folder.reload_secrets();
        assert_eq!(card_key(&all).as_deref(), Some(&b"two"[..]));
        let kept = all.window("payments").current();
        assert!(kept.secret_faults["card-key"].contains("chmod 600"));
        folder.reload_secrets();
        let again = all.window("payments").current();
        assert!(Arc::ptr_eq(&kept, &again), "nothing is new");
    }

    #[test]
    fn file_removed_while_secrets_are_read_grants_nothing_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("card-key");
        write_secret(&key, "one", 0o600);
        for window in ["audit", "payments"] {
            fs::write(dir.path().join(format!("{window}.yaml")), CARD).unwrap();
        }
        let (folder, all) = folder(dir.path());
        let files = folder.files().clone();
        let removal = Arc::new(Mutex::new(None));
        let begun = removal.clone();
        // While the change of the first window is told, the file of the second is removed.
        folder.on_change(Box::new(move |window, _, _| {
            if window == "audit" && begun.lock().is_none() {
                let (files, (done, is_done)) = (files.clone(), mpsc::channel());
                *begun.lock() = Some(thread::spawn(move || {
                    files.remove("payments").unwrap();
                    let _ = done.send(());
                }));
                // It may have to wait until all are told.
                let _ = is_done.recv_timeout(Duration::from_millis(300));
            }
        }));
        write_secret(&key, "two", 0o600);
        folder.reload_secrets();
        let removal = removal.lock().take().unwrap();
        removal.join().unwrap();
        assert_eq!(card_key(&all), None);
        assert_eq!(
            all.window("payments").load().grants,
            crate::Grants::default()
        );
    }

    #[test]
    fn grants_are_revoked_though_the_disk_of_the_secrets_hangs() {
        static HANGS: AtomicBool = AtomicBool::new(false);
        static HUNG: AtomicBool = AtomicBool::new(false);
        fn hanging(file: &GrantsFile, folder: &Path) -> Looked {
            while HANGS.load(Relaxed) {
                HUNG.store(true, Relaxed);
                thread::sleep(Duration::from_millis(1));
            }
            look(file, folder)
        }
        let dir = tempfile::tempdir().unwrap();
        write_secret(&dir.path().join("card-key"), "one", 0o600);
        for window in ["audit", "payments"] {
            fs::write(dir.path().join(format!("{window}.yaml")), CARD).unwrap();
        }
        let all = Arc::<AllGrants>::default();
        let metrics = GrantsMetrics::default();
        let folder = GrantsFolder::load_by(hanging, dir.path().into(), None, all.clone(), metrics);
        assert!(card_key(&all).is_some());
        HANGS.store(true, Relaxed);
        thread::scope(|scope| {
            scope.spawn(|| folder.reload_secrets());
            while !HUNG.load(Relaxed) {
                thread::yield_now();
            }
            folder.files().remove("payments").unwrap();
            assert_eq!(card_key(&all), None);
            // An edit is in force without what was not read, and keeps what was read before.
            let more = format!("calls: [docs]\n{CARD}");
            folder.files().put("audit", &more).unwrap();
            let audit = all.window("audit").current();
            assert!(audit.grants.call("docs").is_some() && audit.revealed("card-key").is_some());
            assert!(audit.secret_faults["card-key"].contains("does not answer"));
            HANGS.store(false, Relaxed);
        });
        assert_eq!(card_key(&all), None);
        folder.reload_secrets();
        assert!(all.window("audit").current().secret_faults.is_empty());
    }

    #[test]
    fn replaced_certificate_files_have_the_grants_stored_anew() {
        let dir = tempfile::tempdir().unwrap();
        let pem = ["ca.pem", "cert.pem", "key.pem"].map(|name| dir.path().join(name));
        for path in &pem {
            write_secret(path, "one", 0o600);
        }
        let text = "outbound:\n  - to: https://a.example\n    ca: ca.pem\n    \
                    client-cert: {cert: cert.pem, key: key.pem}\n";
        fs::write(dir.path().join("payments.yaml"), text).unwrap();
        let (folder, all) = folder(dir.path());
        let now = || all.window("payments").current();
        let mut last = now();
        folder.reload_secrets();
        assert!(Arc::ptr_eq(&last, &now()));
        for path in &pem {
            fs::remove_file(path).unwrap();
            folder.reload_secrets();
            assert!(Arc::ptr_eq(&last, &now()), "{path:?} is away for a moment");
            write_secret(path, "three", 0o600);
            folder.reload_secrets();
            assert!(!Arc::ptr_eq(&last, &now()), "{path:?}");
            last = now();
            folder.reload_secrets();
            assert!(Arc::ptr_eq(&last, &now()));
        }
        assert_eq!(folder.applied.folders(), [dir.path().to_owned()].into());
    }

    #[test]
    fn file_that_is_away_hides_no_change_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let pem = ["a.pem", "b.pem"].map(|name| dir.path().join(name));
        for path in &pem {
            write_secret(path, "one", 0o600);
        }
        let text = "outbound:\n  - {to: https://a.example, ca: a.pem}\n  \
                    - {to: https://b.example, ca: b.pem}\n";
        fs::write(dir.path().join("payments.yaml"), text).unwrap();
        let (folder, all) = folder(dir.path());
        let now = || all.window("payments").current();
        let first = now();
        fs::remove_file(&pem[0]).unwrap();
        write_secret(&pem[1], "three", 0o600);
        folder.reload_secrets();
        let second = now();
        assert!(!Arc::ptr_eq(&first, &second));
        // The same file again says nothing new.
        folder.reload_secrets();
        assert!(Arc::ptr_eq(&second, &now()));
    }
}
