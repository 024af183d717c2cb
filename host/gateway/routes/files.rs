//! The files of the folder: what each asks for, and what of it is live.

use super::folder::{self, Content, Found, Known, Stamp};
use super::status::{LiveRoute, RouteState, RouteStatus};
use super::table::Table;
use crate::gateway::manifest::{Claim, Fault, Route, line_of};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use time::OffsetDateTime;

/// All files.
#[derive(Default)]
pub struct Files {
    by_name: BTreeMap<String, Entry>,
    /// Last good texts of an earlier run, by file, for those that are bad when they are seen first.
    kept: BTreeMap<String, String>,
    /// Files that were removed and that the disk still has, with why. They serve nothing until they change.
    withdrawn: BTreeMap<String, String>,
    /// What is live is to be decided anew, whatever is found.
    stale: bool,
    /// Why the folder could not be read, the last time.
    pub folder_fault: Option<String>,
    /// The folder was read at least once.
    pub was_read: bool,
    /// Files beyond the bound that have no entry.
    pub left_out: usize,
}

/// One file.
struct Entry {
    stamp: Option<Stamp>,
    /// It has no place among the files that are followed.
    beyond: bool,
    text: String,
    /// What the file's present text asks for.
    wanted: Result<Arc<Route>, Vec<Fault>>,
    /// What serves.
    live: Option<Arc<Route>>,
    /// What was said last about the file.
    faults: Vec<Fault>,
    since: OffsetDateTime,
}

impl Files {
    pub fn new(kept: BTreeMap<String, String>) -> Files {
        Files {
            kept,
            ..Files::default()
        }
    }

    /// Whether the file has a place, and what it looked like when it was read last. One that has a
    /// last good route from an earlier run has had its place.
    pub fn known(&self, file: &str) -> Known {
        match self.by_name.get(file) {
            Some(entry) if entry.beyond => Known::New,
            Some(entry) => Known::Followed(entry.stamp.clone()),
            None if self.kept.contains_key(file) => Known::Followed(None),
            None => Known::New,
        }
    }

    /// Whether `file` is followed, or one more is where `most` are at most.
    pub fn has_place(&self, file: &str, most: usize) -> bool {
        match self.by_name.get(file) {
            Some(entry) => !entry.beyond,
            None => self.by_name.len() - self.beyond() < most,
        }
    }

    fn beyond(&self) -> usize {
        self.by_name.values().filter(|entry| entry.beyond).count()
    }

    /// How many files have no place.
    pub fn over_limit(&self) -> usize {
        self.beyond() + self.left_out
    }

    /// Takes what was kept of an earlier run for what is in the folder, which could not be read so
    /// far. Whether that changed anything.
    pub fn stand_in(&mut self) -> bool {
        if self.was_read || !self.by_name.is_empty() || self.kept.is_empty() {
            return false;
        }
        for (file, text) in &self.kept {
            let wanted = Route::parse(route_name(file), text).map(Arc::new);
            let entry = Entry::new(text.clone(), wanted, None);
            self.by_name.insert(file.clone(), entry);
        }
        true
    }

    /// The file's present text.
    pub fn text(&self, file: &str) -> Option<&str> {
        self.by_name.get(file).map(|entry| entry.text.as_str())
    }

    /// The present texts of all files that could be read and were not removed.
    pub fn texts(&self) -> BTreeMap<String, String> {
        let counts = |(file, entry): &(&String, &Entry)| {
            !entry.text.is_empty() && !self.withdrawn.contains_key(*file)
        };
        let text = |(file, entry): (&String, &Entry)| (file.clone(), entry.text.clone());
        self.by_name.iter().filter(counts).map(text).collect()
    }

    /// The texts of all live routes, by file.
    pub fn live_texts(&self) -> BTreeMap<String, String> {
        let live = |(file, entry): (&String, &Entry)| {
            let route = entry.live.as_ref()?;
            Some((file.clone(), route.text.clone()))
        };
        self.by_name.iter().filter_map(live).collect()
    }

    /// The other file that claims something of `route` and would keep it, and what.
    pub fn claimed(&self, file: &str, route: &Route) -> Option<(String, Claim)> {
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
    pub fn withdraw(&mut self, file: &str, why: &str) {
        self.withdrawn.insert(file.into(), why.into());
    }

    /// Has `file` count again.
    pub fn come_back(&mut self, file: &str) {
        self.stale |= self.withdrawn.remove(file).is_some();
    }

    /// The files that were removed and are still there.
    pub fn withdrawn(&self) -> Vec<String> {
        self.withdrawn.keys().cloned().collect()
    }

    /// Notes what was found. Whether anything changed.
    pub fn take_in(&mut self, found: BTreeMap<String, Found>) -> bool {
        // What was remembered of files that are gone is to be forgotten.
        let mut changed = !self.kept.is_empty() || std::mem::take(&mut self.stale);
        self.was_read = true;
        self.withdrawn.retain(|file, _| found.contains_key(file));
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
                    (text, wanted)
                }
                Content::Bad(reason) | Content::Beyond(reason) => {
                    (String::new(), Err(vec![Fault::whole(reason)]))
                }
            };
            let kept = self.kept.remove(&file);
            let entry_name = file.clone();
            let entry = self.by_name.entry(file).or_insert_with_key(|file| {
                changed = true;
                let live = kept.and_then(|text| Route::parse(route_name(file), &text).ok());
                Entry::new(text.clone(), wanted.clone(), live.map(Arc::new))
            });
            if entry.text != text {
                self.withdrawn.remove(&entry_name);
            }
            changed |= entry.text != text || entry.wanted.as_ref().err() != wanted.as_ref().err();
            (entry.stamp, entry.text, entry.wanted) = (found.stamp, text, wanted);
            entry.beyond = beyond;
        }
        // Of a file that was not there at the start nothing is remembered.
        self.kept.clear();
        changed
    }

    /// Decides what each file serves. Of two files that claim the same the one that already serves it stays; else the
    /// first by name has it. The other keeps its last good route.
    pub fn resolve(&mut self) -> Table {
        let mut faults: HashMap<String, Vec<Fault>> = HashMap::new();
        let mut serve: BTreeMap<String, Arc<Route>> = BTreeMap::new();
        for (file, entry) in &self.by_name {
            if let Some(why) = self.withdrawn.get(file) {
                let reason = format!("it was removed, and the file cannot be: {why}");
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
        Table::new(serve.into_values())
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
        let text = self.by_name.get(loser).map_or("", |entry| &entry.text);
        let fault = Fault {
            line: line_of(text, "uri"),
            column: 1,
            reason: format!(
                "{claim} is claimed by {winner} and {loser}: {winner} keeps it; choose another for one of them"
            ),
        };
        faults.entry(loser.to_owned()).or_default().push(fault);
    }

    pub fn refused(&self) -> usize {
        self.by_name
            .values()
            .filter(|entry| !entry.faults.is_empty())
            .count()
    }

    pub fn status(&self) -> Vec<RouteStatus> {
        self.by_name
            .iter()
            .map(|(name, entry)| entry.status(name))
            .collect()
    }
}

/// What one manifest is, without its neighbours in the folder. None for what is no manifest by its
/// name, or is gone.
pub fn check_file(path: &Path) -> Option<Vec<RouteStatus>> {
    let (name, found) = folder::read_one(path)?;
    let mut files = Files::default();
    files.take_in(BTreeMap::from([(name, found)]));
    files.resolve();
    Some(files.status())
}

impl Entry {
    fn new(
        text: String,
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
pub fn route_name(file: &str) -> &str {
    file.rsplit_once('.').map_or(file, |(name, _)| name)
}
