//! Which file is deployed, and when. Uses neither disk nor clock, so that tests need neither.

use super::folder::FolderScan;
use crate::WindowName;
use hms_disk::files::shown_name;
use hms_disk::stamp::FileStamp;
use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a file must be unchanged to count as complete, if nobody is known to be writing it. 300
/// ms: longer than the pauses of a copy on one machine. A copy that pauses longer unseen is refused
/// as truncated, and deployed later.
const SETTLE: Duration = Duration::from_millis(300);

/// The same for an empty file: every copy begins as one.
const SETTLE_EMPTY: Duration = Duration::from_secs(5);

/// When a deploy is retried that failed for a reason outside of the file, such as a full disk.
const AGAIN: Duration = Duration::from_secs(30);

/// After this time a file that waits for its writer is reported: 30 s, which few copies take.
const SAY_HELD: Duration = Duration::from_secs(30);

/// Concurrent deploys. 4: one that compiles for minutes does not hold up the others, and a folder
/// of hundreds does not fill the memory.
const MAX_AT_WORK: usize = 4;

/// The result for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DeployOutcome {
    /// It is live, or there was nothing to do.
    Done,
    /// The file is unusable: retrying is pointless before it changes.
    Refused(String),
    /// It failed for a reason that may pass.
    Later(String),
}

/// A file to deploy now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Due {
    pub file: OsString,
    pub window: WindowName,
    pub stamp: FileStamp,
    /// It existed when the watch began, and has not changed since.
    pub at_start: bool,
}

/// Every file of the folder.
#[derive(Default)]
pub(super) struct Files {
    by_name: BTreeMap<OsString, Entry>,
    /// Reports about files that are not accepted as components.
    refused: BTreeMap<OsString, String>,
    looked: bool,
}

struct Entry {
    /// None if the file is gone, which a deploy in progress has not noticed.
    stamp: Option<FileStamp>,
    state: State,
    at_work: bool,
    at_start: bool,
    /// Why it is not live, as reported.
    fault: Option<String>,
    held_said: bool,
}

enum State {
    /// Unchanged since then.
    Settling(Instant),
    /// Tried; nothing to do until it changes.
    Tried,
    /// To be retried at that time.
    Again(Instant),
}

impl Files {
    /// Processes a look at the folder, and returns what to deploy now. `held` says whether somebody
    /// is writing a file.
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

    /// Records the result of a deploy. If the file has changed since, the result says nothing about
    /// it.
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

    /// Time until a file may be due.
    pub(super) fn next_due(&self, now: Instant) -> Duration {
        let waiting = self.by_name.values().filter(|entry| !entry.at_work);
        let next = waiting.filter_map(Entry::due_at).min();
        // An overdue file is held up by something that will cause an event.
        next.map_or(Duration::MAX, |at| {
            match at.saturating_duration_since(now) {
                Duration::ZERO => Duration::MAX,
                wait => wait,
            }
        })
    }

    /// Whether every file of the first look was tried, or has changed since.
    pub(super) fn caught_up(&self) -> bool {
        self.looked && self.by_name.values().all(|entry| !entry.at_start)
    }

    /// The number of files that are not live for a reported reason.
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

    /// Reports the reason, unless it was reported already.
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
