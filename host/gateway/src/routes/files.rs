//! The files of the folder: what each asks for, and what of it is live.

use super::active::{UpstreamState, UpstreamStates};
use super::folder::{self, Content, FolderId, Known, Listing};
use super::status::{LiveRoute, RouteState, RouteStatus};
use super::table::Table;
use crate::routes::manifest::{Claim, Route};
use hms_disk::files::is_manifest;
use hms_disk::stamp::FileStamp;
use hms_manifest::{Fault, line_of};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use time::OffsetDateTime;

/// All files.
#[derive(Default)]
pub(super) struct Files {
    by_name: BTreeMap<String, Entry>,
    /// Last good texts of an earlier run, by file, for those that are bad when they are seen first.
    kept: BTreeMap<String, String>,
    /// Files that were removed and that the disk still has, with why. They serve nothing until they
    /// change.
    withdrawn: BTreeMap<String, Withdrawn>,
    /// What is live is to be decided anew, whatever is found.
    stale: bool,
    /// Why the folder could not be read, the last time.
    pub folder_fault: Option<String>,
    /// The folder was read at least once.
    pub was_read: bool,
    /// The folder that had manifests when it was read last.
    folder: Option<FolderId>,
    /// Of the routes that serve.
    upstream_states: UpstreamStates,
    /// Files beyond the bound that have no entry.
    pub left_out: usize,
}

/// A file that was removed: what was known of it then.
struct Withdrawn {
    why: String,
    stamp: Option<FileStamp>,
    text: Option<Arc<str>>,
}

/// What a backup takes of a file: its text, or why it has none.
pub type Saved = Result<Arc<str>, String>;

/// One file.
struct Entry {
    stamp: Option<FileStamp>,
    /// It has no place among the files that are followed.
    beyond: bool,
    /// None where the file could not be read.
    text: Option<Arc<str>>,
    /// What the file's present text asks for.
    wanted: Result<Arc<Route>, Vec<Fault>>,
    /// What serves.
    live: Option<Arc<Route>>,
    /// What was said last about the file.
    faults: Vec<Fault>,
    since: OffsetDateTime,
}

impl Files {
    pub(super) fn new(kept: BTreeMap<String, String>) -> Files {
        Files {
            kept,
            ..Files::default()
        }
    }

    /// Whether the file has a place, and what it looked like when it was read last. One that has a
    /// last good route from an earlier run has had its place.
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
            let wanted = Route::parse(route_name(file), text).map(Arc::new);
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
        let counts =
            |file: &String| is_manifest(file.as_ref()) && !self.withdrawn.contains_key(file);
        match self.was_read {
            false => !self.kept.is_empty(),
            true => self.folder != Some(found.folder) && self.by_name.keys().any(counts),
        }
    }

    /// The present texts of all files that could be read.
    pub(super) fn texts(&self) -> BTreeMap<String, Arc<str>> {
        let text = |(file, entry): (&String, &Entry)| Some((file.clone(), entry.text.clone()?));
        self.by_name.iter().filter_map(text).collect()
    }

    /// What a backup takes of each file that was not removed: its present text, or the last good
    /// one where the file cannot be read now.
    pub(super) fn saved(&self) -> BTreeMap<String, Saved> {
        let mut saved = BTreeMap::new();
        for (file, entry) in &self.by_name {
            let text = entry.text.clone();
            let text = text.or_else(|| Some(entry.live.as_ref()?.text.as_str().into()));
            // A sub-folder with manifests is none itself.
            if self.withdrawn.contains_key(file) || text.is_none() && !is_manifest(file.as_ref()) {
                continue;
            }
            saved.insert(file.clone(), text.ok_or_else(|| entry.said()));
        }
        saved
    }

    /// The texts of all live routes, by file.
    pub(super) fn live_texts(&self) -> BTreeMap<String, String> {
        let live = |(file, entry): (&String, &Entry)| {
            let route = entry.live.as_ref()?;
            Some((file.clone(), route.text.clone()))
        };
        self.by_name.iter().filter_map(live).collect()
    }

    /// The other file that claims something of `route` and would keep it, and what.
    pub(super) fn claimed(&self, file: &str, route: &Route) -> Option<(String, Claim)> {
        let claims = route.claims();
        let others = self.by_name.iter().filter(|(other, _)| *other != file);
        for (other, entry) in others {
            let theirs = entry.live.iter().flat_map(|route| route.claims());
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
        let has_manifest = listing.has_manifest();
        let (folder, found) = (listing.folder, listing.files);
        // What was remembered of files that are gone is to be forgotten.
        let mut changed = !self.kept.is_empty() || std::mem::take(&mut self.stale);
        // That it was read is news.
        changed |= !std::mem::replace(&mut self.was_read, true);
        if has_manifest {
            self.folder = Some(folder);
            // While there is none, the folder may be one that is mounted later, with the files that
            // were to go.
            self.withdrawn.retain(|file, _| found.contains_key(file));
        }
        self.by_name.retain(|file, _| {
            let kept = found.contains_key(file);
            if !kept {
                tracing::info!(file, "route removed");
                changed = true;
            }
            kept
        });
        for (file, found) in found {
            let beyond = matches!(found.content, Content::Beyond(_));
            let (text, wanted) = match found.content {
                Content::Unchanged => continue,
                Content::Text(text) => {
                    let wanted = Route::parse(route_name(&file), &text).map(Arc::new);
                    (Some(text.into()), wanted)
                }
                Content::Bad(reason) | Content::Beyond(reason) => {
                    (None, Err(vec![Fault::whole(reason)]))
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
                let live = kept.and_then(|text| Route::parse(route_name(file), &text).ok());
                Entry::new(text.clone(), wanted.clone(), live.map(Arc::new))
            });
            changed |= entry.text != text || entry.wanted.as_ref().err() != wanted.as_ref().err();
            (entry.stamp, entry.text, entry.wanted) = (found.stamp, text, wanted);
            entry.beyond = beyond;
        }
        // Of a file that was not there at the start nothing is remembered.
        self.kept.clear();
        changed
    }

    /// Decides what each file serves. Of two files that claim the same the one that already serves
    /// it stays; else the first by name has it. The other keeps its last good route.
    pub(super) fn resolve(&mut self) -> Table {
        let mut faults: HashMap<String, Vec<Fault>> = HashMap::new();
        let mut serve: BTreeMap<String, Arc<Route>> = BTreeMap::new();
        for (file, entry) in &self.by_name {
            if let Some(withdrawn) = self.withdrawn.get(file) {
                let reason = format!("it was removed, and the file cannot be: {}", withdrawn.why);
                faults.insert(file.clone(), vec![Fault::whole(reason)]);
                continue;
            }
            let route = match &entry.wanted {
                Ok(route) => Some(route),
                Err(found) => {
                    faults.insert(file.clone(), found.clone());
                    entry.live.as_ref()
                }
            };
            serve.extend(route.map(|route| (file.clone(), route.clone())));
        }
        self.settle(&mut serve, &mut faults);
        for (file, entry) in &mut self.by_name {
            let faults = faults.remove(file).unwrap_or_default();
            entry.become_(file, serve.get(file).cloned(), faults);
        }
        Table::new(self.upstream_states.activate(serve.into_iter()))
    }

    /// Has each claim with one file. A file that loses one serves its last good route, or nothing.
    /// Every loss takes one new route back, or a last good one away, so this ends, and in a time
    /// that grows with the number of claims.
    fn settle(
        &self,
        serve: &mut BTreeMap<String, Arc<Route>>,
        faults: &mut HashMap<String, Vec<Fault>>,
    ) {
        let mut taken: HashMap<Claim, String> = HashMap::new();
        let mut waiting: BTreeSet<String> = serve.keys().cloned().collect();
        while let Some(file) = waiting.pop_first() {
            let Some(route) = serve.get(&file).cloned() else {
                continue;
            };
            let claims = route.claims();
            let conflict = claims
                .iter()
                .find_map(|claim| taken.get(claim).map(|other| (claim, other.clone())));
            let Some((claim, other)) = conflict else {
                taken.extend(claims.into_iter().map(|claim| (claim, file.clone())));
                continue;
            };
            let (first, second) = match other < file {
                true => (&other, &file),
                false => (&file, &other),
            };
            let (loser, winner) = match self.serves(second, claim) && !self.serves(first, claim) {
                true => (first, second),
                false => (second, first),
            };
            self.note_loss(loser, winner, claim, faults);
            if *loser == other {
                taken.retain(|_, holder| *holder != other);
                waiting.insert(file.clone());
            }
            let last_good = self.by_name.get(loser).and_then(|e| e.live.as_ref());
            match (last_good, serve.get(loser)) {
                (Some(live), Some(now)) if !Arc::ptr_eq(live, now) => {
                    serve.insert(loser.clone(), live.clone());
                    waiting.insert(loser.clone());
                }
                _ => {
                    serve.remove(loser);
                }
            }
        }
    }

    /// Whether the file's live route has the claim.
    fn serves(&self, file: &str, claim: &Claim) -> bool {
        let live = self.by_name.get(file).and_then(|entry| entry.live.as_ref());
        live.is_some_and(|live| live.claims().contains(claim))
    }

    fn note_loss(
        &self,
        loser: &str,
        winner: &str,
        claim: &Claim,
        faults: &mut HashMap<String, Vec<Fault>>,
    ) {
        let text = self
            .by_name
            .get(loser)
            .and_then(|entry| entry.text.as_deref());
        let fault = Fault {
            line: line_of(text.unwrap_or_default(), "uri"),
            column: 1,
            reason: format!(
                "{claim} is claimed by {winner} and {loser}: {winner} keeps it; choose another for one of them"
            ),
        };
        faults.entry(loser.to_owned()).or_default().push(fault);
    }

    pub(super) fn refused(&self) -> usize {
        self.by_name
            .values()
            .filter(|entry| !entry.faults.is_empty())
            .count()
    }

    pub(super) fn status(&self) -> Vec<RouteStatus> {
        self.by_name
            .iter()
            .map(|(name, entry)| entry.status(name))
            .collect()
    }
}

impl Files {
    /// The live state of the upstream of the route that `file` serves.
    pub(super) fn upstream_state(&self, file: &str) -> Option<Arc<UpstreamState>> {
        self.upstream_states.get(file).cloned()
    }
}

/// What one manifest is, without its neighbours in the folder. None for what is no manifest by its
/// name, or is gone.
pub fn check_file(path: &Path) -> Option<Vec<RouteStatus>> {
    let (name, found) = folder::read_one(path)?;
    let mut files = Files::default();
    files.take_in(Listing {
        folder: FolderId::default(),
        files: BTreeMap::from([(name, found)]),
        left_out: 0,
    });
    files.resolve();
    Some(files.status())
}

impl Withdrawn {
    /// Whether the file that is there now is not the one that was to go, so that it stays. One that
    /// cannot be looked at may be the one.
    fn is_another(&self, text: &Option<Arc<str>>, stamp: &Option<FileStamp>, is_new: bool) -> bool {
        let same_write = |stamp: &FileStamp| self.stamp.is_some_and(|old| old.same_write(stamp));
        let is_other_file = stamp.is_some_and(|stamp| !same_write(&stamp));
        match text {
            Some(_) if self.text != *text => true,
            // One of the last run has no stamp.
            Some(_) => is_new && self.stamp.is_some() && is_other_file,
            None => is_other_file,
        }
    }
}

impl Entry {
    fn new(
        text: Option<Arc<str>>,
        wanted: Result<Arc<Route>, Vec<Fault>>,
        live: Option<Arc<Route>>,
    ) -> Entry {
        let since = OffsetDateTime::now_utc();
        Entry {
            stamp: None,
            beyond: false,
            text,
            wanted,
            live,
            faults: Vec::new(),
            since,
        }
    }

    fn become_(&mut self, file: &str, live: Option<Arc<Route>>, faults: Vec<Fault>) {
        if self.live == live && self.faults == faults {
            return;
        }
        for fault in &faults {
            let last_good = if live.is_some() {
                "serves on"
            } else {
                "there is none"
            };
            let (line, reason) = (fault.line, &fault.reason);
            tracing::warn!(
                file,
                line,
                reason,
                last_good,
                "route refused: {file}:{line}: {reason}"
            );
        }
        if let (true, Some(route)) = (faults.is_empty(), &live) {
            tracing::info!(file, uri = %route.uri, upstream = %route.upstream, "route live");
        }
        self.live = live;
        self.faults = faults;
        self.since = OffsetDateTime::now_utc();
    }

    /// What is wrong with it, as a sentence.
    fn said(&self) -> String {
        let faults: Vec<&str> = self.faults.iter().map(|f| f.reason.as_str()).collect();
        faults.join("; ")
    }

    fn status(&self, file: &str) -> RouteStatus {
        RouteStatus {
            file: file.to_string(),
            state: if self.faults.is_empty() {
                RouteState::Live
            } else {
                RouteState::Refused
            },
            faults: self.faults.clone(),
            route: self.live.as_deref().map(LiveRoute::of),
            since: self.since,
        }
    }
}

/// The file name without its extension, which is the route's name.
pub(super) fn route_name(file: &str) -> &str {
    file.rsplit_once('.').map_or(file, |(name, _)| name)
}
