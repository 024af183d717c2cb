//! The files of the folder: what each asks for, and what of it is live.

use super::folder::{Content, Found, Stamp};
use super::status::{LiveRoute, RouteState, RouteStatus};
use super::table::Table;
use crate::gateway::manifest::{Claim, Fault, Route, line_of};
use std::collections::{BTreeMap, HashMap};
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
}

/// One file.
struct Entry {
    stamp: Option<Stamp>,
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

    /// What the file looked like when it was read last.
    pub fn stamp(&self, file: &str) -> Option<Stamp> {
        self.by_name.get(file)?.stamp.clone()
    }

    /// The file's present text.
    pub fn text(&self, file: &str) -> Option<&str> {
        self.by_name.get(file).map(|entry| entry.text.as_str())
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
            let (text, wanted) = match found.content {
                Content::Unchanged => continue,
                Content::Text(text) => {
                    let wanted = Route::parse(route_name(&file), &text).map(Arc::new);
                    (text, wanted)
                }
                Content::Bad(reason) => (String::new(), Err(vec![Fault::whole(reason)])),
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
        // Every round takes one new route back, or a last good one away, so this ends.
        while let Some((loser, winner, claim)) = self.conflict(&serve) {
            let Some(entry) = self.by_name.get(&loser) else {
                break;
            };
            let fault = Fault {
                line: line_of(&entry.text, "uri"),
                column: 1,
                reason: format!(
                    "{claim} is claimed by {winner} and {loser}: {winner} keeps it; choose another for one of them"
                ),
            };
            faults.entry(loser.clone()).or_default().push(fault);
            match (&entry.live, serve.get(&loser)) {
                (Some(live), Some(now)) if !Arc::ptr_eq(live, now) => {
                    serve.insert(loser, live.clone());
                }
                _ => {
                    serve.remove(&loser);
                }
            }
        }
        for (file, entry) in &mut self.by_name {
            let faults = faults.remove(file).unwrap_or_default();
            entry.become_(file, serve.get(file).cloned(), faults);
        }
        Table::new(serve.into_values())
    }

    /// Two files with the same claim: who loses it, and to whom.
    fn conflict(&self, serve: &BTreeMap<String, Arc<Route>>) -> Option<(String, String, Claim)> {
        let mut claims: HashMap<Claim, &String> = HashMap::new();
        for (file, route) in serve {
            for claim in route.claims() {
                let Some(other) = claims.insert(claim.clone(), file) else {
                    continue;
                };
                let serves_it = |file: &String| {
                    let live = self.by_name.get(file).and_then(|entry| entry.live.as_ref());
                    live.is_some_and(|live| live.claims().contains(&claim))
                };
                // `other` is the first by name.
                return Some(if serves_it(file) && !serves_it(other) {
                    (other.clone(), file.clone(), claim)
                } else {
                    (file.clone(), other.clone(), claim)
                });
            }
        }
        None
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

impl Entry {
    fn new(
        text: String,
        wanted: Result<Arc<Route>, Vec<Fault>>,
        live: Option<Arc<Route>>,
    ) -> Entry {
        let since = OffsetDateTime::now_utc();
        Entry {
            stamp: None,
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

/// The file name without its extension.
pub fn route_name(file: &str) -> &str {
    file.rsplit_once('.').map_or(file, |(name, _)| name)
}
