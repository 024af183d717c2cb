//! The files of the folder: what each asks for, and what of it is live.

use super::also::is_beside;
use super::entry::{Entry, FileStatus, Wanted, Withdrawn};
use super::folder::{self, Content, FolderId, Known, Listing};
use super::{Fault, Manifest};
use hms_disk::files::is_manifest;
use hms_disk::stamp::FileStamp;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What is wrong with the manifest of a file that its text alone does not show. It holds up what is
/// live for as long as it takes. None where that cannot be said now.
pub(super) type Check<M> = Arc<dyn Fn(&str, &M) -> Option<Vec<Fault>> + Send + Sync>;

/// Reads the text of `file`, and has it checked.
pub(super) fn parse<M: Manifest>(
    check: &Check<M>,
    file: &str,
    text: &str,
) -> Result<M, Vec<Fault>> {
    let manifest = M::parse(name_of(file), text)?;
    match check(file, &manifest).unwrap_or_default() {
        faults if faults.is_empty() => Ok(manifest),
        faults => Err(faults),
    }
}

/// The same, with the manifest that the check alone refuses.
fn read<M: Manifest>(check: &Check<M>, file: &str, text: &str) -> (Wanted<M>, Option<Arc<M>>) {
    let manifest = match M::parse(name_of(file), text) {
        Ok(manifest) => Arc::new(manifest),
        Err(faults) => return (Err(faults), None),
    };
    match check(file, &manifest).unwrap_or_default() {
        faults if faults.is_empty() => (Ok(manifest), None),
        faults => (Err(faults), Some(manifest)),
    }
}

/// All files.
pub(super) struct Files<M> {
    check: Check<M>,
    pub by_name: BTreeMap<String, Entry<M>>,
    /// Last good texts of an earlier run, by file, for those that are bad when they are seen first.
    kept: BTreeMap<String, String>,
    /// Files that were removed and that the disk still has, with why. They serve nothing until they
    /// change.
    pub withdrawn: BTreeMap<String, Withdrawn>,
    /// What is live is to be decided anew, whatever is found.
    stale: bool,
    /// Why the folder could not be read, the last time.
    pub folder_fault: Option<String>,
    /// The folder was read at least once.
    pub was_read: bool,
    /// The folder that had manifests when it was read last.
    folder: Option<FolderId>,
    /// Files beyond the bound that have no entry.
    pub left_out: usize,
}

/// What a backup takes of a file: its text, or why it has none.
pub type Saved = Result<Arc<str>, String>;

impl<M: Manifest> Files<M> {
    pub(super) fn new(check: Check<M>, kept: BTreeMap<String, String>) -> Files<M> {
        Files {
            check,
            by_name: BTreeMap::new(),
            kept,
            withdrawn: BTreeMap::new(),
            stale: false,
            folder_fault: None,
            was_read: false,
            folder: None,
            left_out: 0,
        }
    }

    /// Whether the file has a place, and what it looked like when it was read last. One that has a
    /// last good manifest from an earlier run has had its place.
    pub(super) fn known(&self, file: &str) -> Known {
        match self.by_name.get(file) {
            Some(entry) if entry.beyond => Known::New,
            Some(entry) => Known::Followed(entry.stamp),
            None if self.kept.contains_key(file) => Known::Followed(None),
            None => Known::New,
        }
    }

    /// Whether `file` is followed, or one more is where `most` are at most.
    pub(super) fn has_place(&self, file: &str, most: usize) -> bool {
        match self.by_name.get(file) {
            Some(entry) => !entry.beyond,
            None => self.by_name.len() - self.beyond() < most,
        }
    }

    fn beyond(&self) -> usize {
        self.by_name.values().filter(|entry| entry.beyond).count()
    }

    /// How many files have no place.
    pub(super) fn over_limit(&self) -> usize {
        self.beyond() + self.left_out
    }

    /// Takes what was kept of an earlier run for what is in the folder, which could not be read so
    /// far. Whether that changed anything.
    pub(super) fn stand_in(&mut self) -> bool {
        if self.was_read || !self.by_name.is_empty() || self.kept.is_empty() {
            return false;
        }
        for (file, text) in &self.kept {
            let wanted = parse(&self.check, file, text).map(Arc::new);
            let entry = Entry::new(Some(text.as_str().into()), wanted, None);
            self.by_name.insert(file.clone(), entry);
        }
        true
    }

    /// Whether all manifests are gone without anybody having removed them, as it seems: those of
    /// the last run at the start, or those of another folder that was under this name before. A
    /// volume that is not mounted looks so.
    pub(super) fn lost_all(&self, found: &Listing) -> bool {
        if found.has_manifest() {
            return false;
        }
        let counts = |file: &String| {
            is_manifest(file.as_ref()) && !is_beside(file) && !self.withdrawn.contains_key(file)
        };
        match self.was_read {
            false => self.kept.keys().any(|file| !is_beside(file)),
            true => self.folder != Some(found.folder) && self.by_name.keys().any(counts),
        }
    }

    /// Whether a missing folder is an empty one: where there never was a file that it could have
    /// lost.
    pub(super) fn may_be_missing(&self) -> bool {
        let mut files = self.kept.keys().chain(self.by_name.keys());
        M::FOLDER_IS_OPTIONAL && files.all(|file| is_beside(file))
    }

    /// The present texts of all files that could be read.
    pub(super) fn texts(&self) -> BTreeMap<String, Arc<str>> {
        let text = |(file, entry): (&String, &Entry<M>)| Some((file.clone(), entry.text.clone()?));
        self.by_name.iter().filter_map(text).collect()
    }

    /// What a backup takes of each file that was not removed: its present text, or the last good
    /// one where the file cannot be read now.
    pub(super) fn saved(&self) -> BTreeMap<String, Saved> {
        let mut saved = BTreeMap::new();
        for (file, entry) in &self.by_name {
            let text = entry.text.clone();
            let text = text.or_else(|| Some(entry.live.as_ref()?.text().into()));
            // A sub-folder with manifests is none itself.
            if is_beside(file)
                || self.withdrawn.contains_key(file)
                || text.is_none() && !is_manifest(file.as_ref())
            {
                continue;
            }
            saved.insert(file.clone(), text.ok_or_else(|| entry.said()));
        }
        saved
    }

    /// The texts of all live manifests, by file.
    pub(super) fn live_texts(&self) -> BTreeMap<String, String> {
        let live = |(file, entry): (&String, &Entry<M>)| {
            let manifest = entry.live.as_ref()?;
            Some((file.clone(), manifest.text().to_owned()))
        };
        self.by_name.iter().filter_map(live).collect()
    }

    /// The other file that claims something of `manifest` and would keep it, and what.
    pub(super) fn claimed(&self, file: &str, manifest: &M) -> Option<(String, M::Claim)> {
        let claims = manifest.claims();
        let others = self.by_name.iter().filter(|(other, _)| *other != file);
        for (other, entry) in others {
            let theirs = entry.live.iter().flat_map(|live| live.claims());
            for claim in theirs {
                if claims.contains(&claim) {
                    return Some((other.clone(), claim));
                }
            }
        }
        None
    }

    /// Has `file` serve nothing, because it was removed and is still there for the reason `why`.
    pub(super) fn withdraw(&mut self, file: &str, why: &str) {
        self.kept.remove(file);
        let entry = self.by_name.get(file);
        let withdrawn = Withdrawn {
            why: why.into(),
            stamp: entry.and_then(|entry| entry.stamp),
            text: entry.and_then(|entry| entry.text.clone()),
        };
        self.withdrawn.insert(file.into(), withdrawn);
    }

    /// Has `file` count again.
    pub(super) fn come_back(&mut self, file: &str) {
        self.stale |= self.withdrawn.remove(file).is_some();
    }

    /// The files that were removed and are still there.
    pub(super) fn withdrawn(&self) -> Vec<String> {
        self.withdrawn.keys().cloned().collect()
    }

    /// Notes what was found. Whether anything changed.
    pub(super) fn take_in(&mut self, listing: Listing) -> bool {
        let mut names = listing.files.keys();
        let has_manifest = names.any(|file| is_manifest(file.as_ref()) && !is_beside(file));
        let (folder, found) = (listing.folder, listing.files);
        // What was remembered of files that are gone is to be forgotten.
        let mut changed = !self.kept.is_empty() || std::mem::take(&mut self.stale);
        // That it was read is news.
        changed |= !std::mem::replace(&mut self.was_read, true);
        if has_manifest {
            self.folder = Some(folder);
        }
        // While there is none, the folder may be one that is mounted later, with the files that
        // were to go.
        let may_come = |file: &str| !has_manifest && !is_beside(file);
        self.withdrawn
            .retain(|file, _| found.contains_key(file) || may_come(file));
        self.by_name.retain(|file, _| {
            let kept = found.contains_key(file);
            if !kept {
                tracing::info!(file, "{} removed", M::WORDS.one);
                changed = true;
            }
            kept
        });
        for (file, found) in found {
            let beyond = matches!(found.content, Content::Beyond(_));
            let (text, (wanted, unplaced)) = match found.content {
                Content::Unchanged => {
                    changed |= self.check_again(&file);
                    continue;
                }
                Content::Text(text) if self.is_unplaced(&file, &text) => {
                    if let Some(entry) = self.by_name.get_mut(&file) {
                        entry.stamp = found.stamp;
                    }
                    changed |= self.check_again(&file);
                    continue;
                }
                Content::Text(text) => {
                    let read = read(&self.check, &file, &text);
                    (Some(text.into()), read)
                }
                Content::Bad(reason) | Content::Beyond(reason) => {
                    (None, (Err(vec![Fault::whole(reason)]), None))
                }
            };
            let kept = self.kept.remove(&file);
            let is_new = !self.by_name.contains_key(&file);
            let withdrawn = self.withdrawn.get(&file);
            if withdrawn.is_some_and(|withdrawn| withdrawn.is_another(&text, &found.stamp, is_new))
            {
                self.withdrawn.remove(&file);
            }
            let entry = self.by_name.entry(file).or_insert_with_key(|file| {
                changed = true;
                let live = kept.and_then(|text| parse(&self.check, file, &text).ok());
                Entry::new(text.clone(), wanted.clone(), live.map(Arc::new))
            });
            changed |= entry.text != text || entry.wanted.as_ref().err() != wanted.as_ref().err();
            (entry.stamp, entry.text, entry.wanted) = (found.stamp, text, wanted);
            (entry.beyond, entry.unplaced) = (beyond, unplaced);
        }
        // Of a file that was not there at the start nothing is remembered.
        self.kept.clear();
        changed
    }

    /// Whether the check alone refuses this text of `file`, which nobody has removed.
    fn is_unplaced(&self, file: &str, text: &str) -> bool {
        let entry = self.by_name.get(file).filter(|it| it.unplaced.is_some());
        let is_same = entry.is_some_and(|it| it.text.as_deref() == Some(text));
        is_same && !self.withdrawn.contains_key(file)
    }

    /// Has a file that the check alone refuses be checked again, because that is about more than
    /// its text. Whether it says something else now.
    fn check_again(&mut self, file: &str) -> bool {
        let Some(entry) = self.by_name.get_mut(file) else {
            return false;
        };
        let Some(manifest) = entry.unplaced.take() else {
            return false;
        };
        // What cannot be said now changes nothing.
        let Some(faults) = (self.check)(file, &manifest) else {
            entry.unplaced = Some(manifest);
            return false;
        };
        if faults.is_empty() {
            entry.wanted = Ok(manifest);
            return true;
        }
        let changed = entry.wanted.as_ref().err() != Some(&faults);
        (entry.wanted, entry.unplaced) = (Err(faults), Some(manifest));
        changed
    }

    /// What each file that is followed looked like when it was read last.
    pub(super) fn stamps(&self) -> impl Iterator<Item = (&String, Option<FileStamp>)> {
        self.by_name.iter().map(|(file, entry)| (file, entry.stamp))
    }

    pub(super) fn refused(&self) -> usize {
        self.by_name
            .values()
            .filter(|entry| !entry.faults.is_empty())
            .count()
    }

    /// The file of the manifest `name`.
    pub(super) fn file_of(&self, name: &str) -> Option<String> {
        let files = self.by_name.iter();
        let files = files.filter(|(file, _)| name_of(file) == name);
        // Of several the one that serves: it is what an operator means.
        let found = files.min_by_key(|(file, entry)| (entry.live.is_none(), is_beside(file)));
        found.map(|(file, _)| file.clone())
    }

    pub(super) fn status_of(&self, file: &str) -> Option<FileStatus<M>> {
        Some(self.by_name.get(file)?.status(file))
    }

    pub(super) fn status(&self) -> Vec<FileStatus<M>> {
        self.by_name
            .iter()
            .map(|(name, entry)| entry.status(name))
            .collect()
    }
}

/// What one manifest is, without its neighbours in the folder. None for what is no manifest by its
/// name, or is gone.
pub fn check_file<M: Manifest>(path: &Path) -> Option<Vec<FileStatus<M>>> {
    let (name, found) = folder::read_one(path)?;
    let mut files = Files::new(Arc::new(|_: &str, _: &M| Some(Vec::new())), BTreeMap::new());
    files.take_in(Listing {
        folder: FolderId::default(),
        files: BTreeMap::from([(name, found)]),
        left_out: 0,
    });
    files.resolve();
    Some(files.status())
}

/// The file name without its folder and its extension, which is the manifest's name.
pub(super) fn name_of(file: &str) -> &str {
    let file = file.rsplit_once('/').map_or(file, |(_, file)| file);
    file.rsplit_once('.').map_or(file, |(name, _)| name)
}
