//! Which manifests are live. A file whose new text is bad, or claims what another file has, keeps
//! its last good one, over a restart too.

use super::also;
use super::files::{Check, Files, Saved, name_of};
use super::folder::{self, Listing};
use super::last_good::LastGood;
use super::{EditError, Fault, FileStatus, Manifest, ManifestMetrics};
use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long a change waits for a look at the folder that is under way. 5 s: as long as a change of
/// a window waits for its disk.
pub const LOOK_TIME: Duration = Duration::from_secs(5);

/// What operators are shown.
struct Shown<M> {
    files: Vec<FileStatus<M>>,
    texts: BTreeMap<String, Arc<str>>,
    saved: BTreeMap<String, Saved>,
    left_out: usize,
    folder_fault: Option<String>,
    was_read: bool,
}

/// Is given what serves, by file, whenever that may have changed.
type Serve<M> = Box<dyn Fn(BTreeMap<String, Arc<M>>) + Send + Sync>;

/// The manifests of one folder, and of those that are followed beside it.
pub struct ManifestSet<M: Manifest> {
    dir: PathBuf,
    /// Absolute, and none of them is `dir`.
    also: ArcSwap<Vec<PathBuf>>,
    /// Manifests that are followed.
    most: usize,
    metrics: ManifestMetrics,
    check: Check<M>,
    files: Mutex<Files<M>>,
    serve: Serve<M>,
    /// What the last look at the folder found, for those who do not wait for the next one: it may
    /// take as long as a disk does.
    shown: ArcSwap<Shown<M>>,
    /// Where the last good texts are kept, if anywhere. Locked only by whoever holds `files`.
    kept: Mutex<Option<LastGood>>,
    pub(super) look_time: Duration,
}

impl<M: Manifest> ManifestSet<M> {
    /// Reads the folder, and of it at most so many manifests. Bad files are said in the log and in
    /// [`ManifestSet::status`], as are those beyond the bound; the rest serves. With `kept`, a file
    /// that is bad at the start serves as it was when it was good, and so do all files where the
    /// folder cannot be read or has no manifest. `check` is given a file's name and its manifest,
    /// says what is wrong with it beside its text, and is to be quick: the folder waits for it.
    /// `serve` is given what serves, by file, before this returns and whenever that may have
    /// changed; it must not call the set.
    pub fn load(
        dir: impl Into<PathBuf>,
        kept: Option<PathBuf>,
        most: usize,
        metrics: ManifestMetrics,
        check: impl Fn(&str, &M) -> Option<Vec<Fault>> + Send + Sync + 'static,
        serve: impl Fn(BTreeMap<String, Arc<M>>) + Send + Sync + 'static,
    ) -> ManifestSet<M> {
        let dir = dir.into();
        let kept = kept.map(|file| LastGood::open(file, &dir, M::WORDS.many));
        let texts = kept.as_ref().map(LastGood::texts).unwrap_or_default();
        let check: Check<M> = Arc::new(check);
        let files = Files::new(check.clone(), texts);
        let set = ManifestSet {
            dir,
            also: ArcSwap::default(),
            most,
            metrics,
            shown: ArcSwap::from_pointee(Shown::of(&files)),
            check,
            files: Mutex::new(files),
            serve: Box::new(serve),
            kept: Mutex::new(kept),
            look_time: LOOK_TIME,
        };
        set.reload();
        set
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Follows the manifests of these folders as well from now on, those of authors' projects. One
    /// that is not there has none. A file in them goes by its whole path; of two with the same name
    /// the one of the first folder counts, and the other is refused. New files are written into
    /// [`ManifestSet::dir`], and backups have only what is there. Blocks on the file system.
    pub fn follow_also(&self, dirs: Vec<PathBuf>) {
        self.also.store(Arc::new(also::others(&self.dir, dirs)));
        self.reload();
    }

    /// The folder, and those that are followed beside it.
    pub(super) fn dirs(&self) -> Vec<PathBuf> {
        let mut dirs = vec![self.dir.clone()];
        dirs.extend(self.also.load().iter().cloned());
        dirs
    }

    /// Manifests that are followed at most.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    pub(super) fn check(&self) -> &Check<M> {
        &self.check
    }

    pub(super) fn files(&self) -> MutexGuard<'_, Files<M>> {
        self.files.lock()
    }

    /// The same for a change: an error where a look at the folder is under way for too long.
    pub(super) fn files_in_time(&self) -> Result<MutexGuard<'_, Files<M>>, EditError> {
        self.files
            .try_lock_for(self.look_time)
            .ok_or(EditError::Busy(self.look_time))
    }

    /// Reads what has changed and has it served, wholly or not at all. Blocks on the file system.
    pub fn reload(&self) {
        self.reload_locked(&mut self.files());
    }

    /// The same for an operator who asks for it: then a folder without manifests is meant to be so.
    pub fn reload_as_it_is(&self) {
        self.look(&mut self.files(), true);
    }

    pub(super) fn reload_locked(&self, files: &mut Files<M>) {
        self.look(files, false);
    }

    fn look(&self, files: &mut Files<M>, as_it_is: bool) {
        match folder::read(&self.dir, M::WORDS.folder, self.most, |name| {
            files.known(name)
        }) {
            Ok(found) if !as_it_is && files.lost_all(&found) => {
                self.keep_all(files, "is empty", lost_all::<M>());
            }
            Ok(found) => self.take_in(files, self.with_also(files, found)),
            Err(error) if is_missing(&error) && files.may_be_missing() => {
                self.take_in(files, self.with_also(files, Listing::default()));
            }
            Err(error) => self.keep_all(files, "cannot be read", error.to_string()),
        }
    }

    /// What was found, and what is in the folders beside.
    fn with_also(&self, files: &Files<M>, mut found: Listing) -> Listing {
        for dir in self.also.load().iter() {
            also::add(&mut found, files, dir, M::WORDS.folder, self.most);
        }
        found
    }

    fn take_in(&self, files: &mut Files<M>, found: Listing) {
        let was_gone = files.folder_fault.take().is_some();
        if was_gone {
            let word = M::WORDS.folder;
            tracing::info!(folder = %self.dir.display(), "the {word} is readable again");
        }
        let before = std::mem::replace(&mut files.left_out, found.left_out);
        if found.left_out > before {
            let (left_out, most) = (found.left_out, self.most);
            tracing::warn!(
                left_out,
                most,
                "too many manifests in the {}: the rest is ignored and not listed",
                M::WORDS.folder
            );
        }
        let left_out = found.left_out;
        if files.take_in(found) {
            self.swap(files);
        } else {
            self.count(files);
            if was_gone || left_out != before {
                self.show(files);
            }
        }
        // Gone with the next look.
        for file in files.withdrawn() {
            if hms_disk::files::remove(&self.dir.join(&file)).is_ok() {
                tracing::info!(file, "removed the file of a removed {}", M::WORDS.one);
            }
        }
    }

    /// A folder that cannot be read, or has lost all manifests, takes nothing with it. At the
    /// start those serve that served last.
    fn keep_all(&self, files: &mut Files<M>, what: &str, fault: String) {
        if files.folder_fault.as_ref() == Some(&fault) {
            return;
        }
        let (folder, ready) = (self.dir.display(), files.was_read);
        let (word, many) = (M::WORDS.folder, M::WORDS.many);
        match ready {
            true => tracing::warn!(
                %folder, fault,
                "the {word} {what}; the {many} stay as they are"
            ),
            false => tracing::error!(
                %folder, fault,
                "the {word} {what}; the {many} of the last run serve, and the host is not \
                 ready until this is fixed"
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
    pub(super) fn withdraw(&self, files: &mut Files<M>, file: &str, why: &str) {
        let one = M::WORDS.one;
        tracing::warn!(file, "a {one} is removed, but its file is not yet: {why}");
        files.withdraw(file, why);
        if let Some(kept) = self.kept().as_mut() {
            kept.forget(file);
        }
        self.swap(files);
    }

    fn kept(&self) -> MutexGuard<'_, Option<LastGood>> {
        self.kept.lock()
    }

    fn swap(&self, files: &mut Files<M>) {
        (self.serve)(files.resolve());
        self.count(files);
        let mut kept = self.kept();
        // What is in a folder that was never read is not known, so nothing that was kept of it is
        // given up.
        if let Some(kept) = kept.as_mut().filter(|_| files.was_read) {
            kept.keep(files.live_texts());
        }
        drop(kept);
        self.show(files);
    }

    fn count(&self, files: &Files<M>) {
        self.metrics.count(files);
    }

    fn show(&self, files: &Files<M>) {
        self.shown.store(Arc::new(Shown::of(files)));
    }

    /// One a file, by name. Does not block.
    pub fn status(&self) -> Vec<FileStatus<M>> {
        self.shown.load().files.clone()
    }

    /// What became of the manifest `name`, and its file's text, which is empty where the file
    /// cannot be read. Does not block.
    pub fn get(&self, name: &str) -> Option<(FileStatus<M>, String)> {
        let shown = self.shown.load();
        let files = shown.files.iter();
        let files = files.filter(|status| name_of(&status.file) == name);
        // As `Files::file_of`.
        let status =
            files.min_by_key(|status| (status.live.is_none(), also::is_beside(&status.file)))?;
        let text = shown.texts.get(&status.file);
        let text = text.map(|text| text.to_string()).unwrap_or_default();
        Some((status.clone(), text))
    }

    /// What a backup takes of each file, as the last look at the folder found it, and how many
    /// files have no place in that. Does not block.
    pub fn saved(&self) -> (BTreeMap<String, Saved>, usize) {
        let shown = self.shown.load();
        (shown.saved.clone(), shown.left_out)
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
        let refused = |status: &&FileStatus<M>| !status.faults.is_empty();
        let live = shown.files.iter().filter(|status| status.live.is_some());
        let command = M::WORDS.command;
        Ok(
            match (live.count(), shown.files.iter().filter(refused).count()) {
                (live, 0) => format!("{live} live"),
                (live, 1) => format!("{live} live, 1 file refused, see `{command}`"),
                (live, refused) => {
                    format!("{live} live, {refused} files refused, see `{command}`")
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

impl<M: Manifest> Shown<M> {
    fn of(files: &Files<M>) -> Shown<M> {
        Shown {
            files: files.status(),
            texts: files.texts(),
            saved: files.saved(),
            left_out: files.left_out,
            folder_fault: files.folder_fault.clone(),
            was_read: files.was_read,
        }
    }
}

fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// What is said of a folder that has lost all its manifests.
fn lost_all<M: Manifest>() -> String {
    format!(
        "it has no manifest, but it had some: mount or restore them; if this is intended, send \
         the host SIGHUP, or DELETE each {}",
        M::WORDS.one
    )
}
