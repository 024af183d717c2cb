//! Which file is deployed, and when. Knows neither disk nor clock, so that it is tested without
//! them.

use super::folder::FolderScan;
use crate::WindowName;
use hms_disk::files::shown_name;
use hms_disk::stamp::FileStamp;
use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::{Duration, Instant};

/// A file that was the same for so long is taken to be whole, where nobody is known to be writing
/// it. 300 ms: beyond the pauses of a copy on one machine; a copy that pauses longer unseen is
/// refused as truncated, and taken later.
const SETTLE: Duration = Duration::from_millis(300);

/// The same for an empty file: every copy begins as one.
const SETTLE_EMPTY: Duration = Duration::from_secs(5);

/// When a deploy is tried again that failed for a reason outside of the file, such as a full disk.
const AGAIN: Duration = Duration::from_secs(30);

/// After so long it is said that a file waits for its writer: 30 s, which few copies take.
const SAY_HELD: Duration = Duration::from_secs(30);

/// Deploys at once. 4: one that compiles for minutes holds up no other, and a folder of hundreds
/// does not fill the memory.
const MAX_AT_WORK: usize = 4;

/// What came of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DeployOutcome {
    /// It is live, or there was nothing to do.
    Done,
    /// The file is no good: there is no use in trying before it changes.
    Refused(String),
    /// It failed for a reason that may pass.
    Later(String),
}

/// A file that is to be deployed now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Due {
    pub file: OsString,
    pub window: WindowName,
    pub stamp: FileStamp,
    /// It was there when the watch began, and has not changed since.
    pub at_start: bool,
}

/// Every file of the folder.
#[derive(Default)]
pub(super) struct Files {
    by_name: BTreeMap<OsString, Entry>,
    /// What was said of files that are not taken for components.
    refused: BTreeMap<OsString, String>,
    looked: bool,
}

struct Entry {
    /// None where the file is gone, which a deploy at work has not noticed.
    stamp: Option<FileStamp>,
    state: State,
    at_work: bool,
    at_start: bool,
    /// Why it is not live, as it was said.
    fault: Option<String>,
    held_said: bool,
}

enum State {
    /// The same since then.
    Settling(Instant),
    /// Tried; nothing is to be done until it changes.
    Tried,
    /// To be tried again from then on.
    Again(Instant),
}

impl Files {
    /// Takes in what was found, and gives what is to be deployed now. `held` says which file
    /// somebody is writing.
    pub(super) fn look(
        &mut self,
        found: FolderScan,
        held: &dyn Fn(&OsStr) -> bool,
        now: Instant,
    ) -> Vec<Due> {
        self.take_in(found, now);
        let mut at_work = self.by_name.values().filter(|entry| entry.at_work).count();
        let mut claims: HashMap<WindowName, String> = HashMap::new();
        let mut due = Vec::new();
        for (file, entry) in &mut self.by_name {
            let Some(stamp) = entry.stamp else { continue };
            let shown = shown_name(file);
            let window = WindowName::from_file(Path::new(file)).and_then(|window| {
                match claims.insert(window.clone(), shown.clone()) {
                    Some(other) => Err(format!(
                        "{other} is window '{window}' already: rename one of them"
                    )),
                    None => Ok(window),
                }
            });
            let window = match window {
                Ok(window) => window,
                Err(why) => {
                    entry.is_refused(&shown, why);
                    continue;
                }
            };
            let held = held(file);
            if held {
                entry.is_held(&shown, now);
            }
            if held || entry.at_work || at_work == MAX_AT_WORK || !entry.is_due(now) {
                continue;
            }
            at_work += 1;
            (entry.at_work, entry.state) = (true, State::Tried);
            due.push(Due {
                file: file.clone(),
                window,
                stamp,
                at_start: entry.at_start,
            });
        }
        due
    }

    fn take_in(&mut self, found: FolderScan, now: Instant) {
        self.by_name.retain(|file, entry| {
            if !found.files.contains_key(file) {
                entry.stamp = None;
                entry.at_start = false;
            }
            entry.stamp.is_some() || entry.at_work
        });
        for (file, why) in &found.refused {
            if self.refused.get(file) != Some(why) {
                say_refused(&shown_name(file), why);
            }
        }
        self.refused = found.refused;
        for (file, stamp) in found.files {
            match self.by_name.entry(file) {
                Slot::Vacant(slot) => {
                    slot.insert(Entry {
                        stamp: Some(stamp),
                        state: State::Settling(now),
                        at_work: false,
                        at_start: !self.looked,
                        fault: None,
                        held_said: false,
                    });
                }
                Slot::Occupied(mut slot) if slot.get().stamp != Some(stamp) => {
                    let entry = slot.get_mut();
                    (entry.stamp, entry.state) = (Some(stamp), State::Settling(now));
                    (entry.at_start, entry.held_said) = (false, false);
                }
                Slot::Occupied(_) => {}
            }
        }
        self.looked = true;
    }

    /// Takes in what came of a deploy. What came of a file that has changed since says nothing of
    /// what it is now.
    pub(super) fn done(&mut self, due: &Due, outcome: DeployOutcome, now: Instant) {
        let Some(entry) = self.by_name.get_mut(&due.file) else {
            return;
        };
        entry.at_work = false;
        if entry.stamp != Some(due.stamp) {
            return;
        }
        entry.at_start = false;
        match outcome {
            DeployOutcome::Done => entry.fault = None,
            DeployOutcome::Refused(why) => entry.is_refused(&shown_name(&due.file), why),
            DeployOutcome::Later(why) => {
                entry.is_refused(&shown_name(&due.file), why);
                entry.state = State::Again(now + AGAIN);
            }
        }
    }

    /// How long until a file may be due.
    pub(super) fn next_due(&self, now: Instant) -> Duration {
        let waiting = self.by_name.values().filter(|entry| !entry.at_work);
        let next = waiting.filter_map(Entry::due_at).min();
        // One that is overdue is held up by something that will be heard of.
        next.map_or(Duration::MAX, |at| {
            match at.saturating_duration_since(now) {
                Duration::ZERO => Duration::MAX,
                wait => wait,
            }
        })
    }

    /// Whether every file that was there at the first look was tried, or has changed since.
    pub(super) fn caught_up(&self) -> bool {
        self.looked && self.by_name.values().all(|entry| !entry.at_start)
    }

    /// How many files are not live for a reason that was said.
    pub(super) fn refused(&self) -> usize {
        let faulty = self.by_name.values().filter(|entry| entry.fault.is_some());
        faulty.count() + self.refused.len()
    }

    /// The files that are followed.
    pub(super) fn names(&self) -> BTreeSet<OsString> {
        self.by_name.keys().cloned().collect()
    }
}

impl Entry {
    fn due_at(&self) -> Option<Instant> {
        let settle = match self.stamp?.bytes {
            0 => SETTLE_EMPTY,
            _ => SETTLE,
        };
        match self.state {
            State::Settling(since) => Some(since + settle),
            State::Again(at) => Some(at),
            State::Tried => None,
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.due_at().is_some_and(|at| at <= now)
    }

    /// Says why, unless that was said.
    fn is_refused(&mut self, file: &str, reason: String) {
        self.at_start = false;
        if self.fault.as_ref() != Some(&reason) {
            say_refused(file, &reason);
            self.fault = Some(reason);
        }
    }

    fn is_held(&mut self, file: &str, now: Instant) {
        self.at_start = false;
        if let State::Settling(since) = self.state
            && now.saturating_duration_since(since) >= SAY_HELD
            && !self.held_said
        {
            tracing::info!(
                file,
                "windows folder: {file} will be deployed once its writer closes it"
            );
            self.held_said = true;
        }
    }
}

fn say_refused(file: &str, reason: &str) {
    tracing::warn!(file, "windows folder: {file} was not deployed: {reason}");
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
