//! Which routes are live. A file whose new text is bad, or claims what another file has, keeps its last good route.
//!
//! Last good routes are held in memory: after a restart a bad file has none.

use super::folder::{self, Content, Found, Stamp};
use super::status::{LiveRoute, RouteState, RouteStatus};
use super::table::Table;
use crate::gateway::manifest::{Fault, Pattern, Route, line_of};
use crate::gateway::metrics::GatewayMetrics;
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use time::OffsetDateTime;

/// The routes of one folder.
pub struct RouteSet {
    dir: PathBuf,
    metrics: GatewayMetrics,
    files: Mutex<Files>,
    table: ArcSwap<Table>,
}

#[derive(Default)]
struct Files {
    by_name: BTreeMap<String, Entry>,
    /// Why the folder could not be read, the last time.
    folder_fault: Option<String>,
}

/// One file.
struct Entry {
    stamp: Option<Stamp>,
    text: String,
    /// What the file's present text asks for.
    wanted: Result<Arc<Route>, Fault>,
    /// What serves.
    live: Option<Arc<Route>>,
    /// What was said last about the file.
    fault: Option<Fault>,
    since: OffsetDateTime,
}

impl RouteSet {
    /// Reads the folder. Bad files, or a folder that is not there, are said in the log and in [`RouteSet::status`];
    /// the rest serves.
    pub fn load(dir: impl Into<PathBuf>, metrics: GatewayMetrics) -> RouteSet {
        let set = RouteSet {
            dir: dir.into(),
            metrics,
            files: Mutex::default(),
            table: ArcSwap::default(),
        };
        set.reload();
        set
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The live routes, as they are now.
    pub fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Reads what has changed and swaps the table, wholly or not at all. Blocks on the file system.
    pub fn reload(&self) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |name: &str| {
            files
                .by_name
                .get(name)
                .and_then(|entry| entry.stamp.clone())
        };
        match folder::read(&self.dir, known) {
            Ok(found) => {
                files.folder_fault = None;
                if files.take_in(found) {
                    self.table.store(Arc::new(files.resolve()));
                    self.metrics.route_files_refused(files.refused());
                }
            }
            Err(error) => {
                // A folder that is gone for a moment takes no route with it.
                let fault = error.to_string();
                if files.folder_fault.as_ref() != Some(&fault) {
                    let folder = self.dir.display();
                    tracing::warn!(%folder, fault, "the routes folder cannot be read; the routes stay as they are");
                    files.folder_fault = Some(fault);
                }
            }
        }
    }

    /// One line a file, by name.
    pub fn status(&self) -> Vec<RouteStatus> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files
            .by_name
            .iter()
            .map(|(name, entry)| entry.status(name))
            .collect()
    }

    /// Why the folder itself could not be read the last time, if it could not.
    pub fn folder_fault(&self) -> Option<String> {
        self.files
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .folder_fault
            .clone()
    }
}

impl Files {
    /// Notes what was found. Whether anything changed.
    fn take_in(&mut self, found: BTreeMap<String, Found>) -> bool {
        let mut changed = false;
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
                Content::Bad(reason) => (
                    String::new(),
                    Err(Fault {
                        line: 1,
                        column: 1,
                        reason,
                    }),
                ),
            };
            let entry = self.by_name.entry(file).or_insert_with(|| {
                changed = true;
                Entry::new(text.clone(), wanted.clone())
            });
            changed |= entry.text != text || entry.wanted.as_ref().err() != wanted.as_ref().err();
            (entry.stamp, entry.text, entry.wanted) = (found.stamp, text, wanted);
        }
        changed
    }

    /// Decides what each file serves. Of two files with the same pattern the one that already serves it stays;
    /// else the first by name has it. The other keeps its last good route.
    fn resolve(&mut self) -> Table {
        let mut faults: HashMap<String, Fault> = HashMap::new();
        let mut serve: BTreeMap<String, Arc<Route>> = BTreeMap::new();
        for (file, entry) in &self.by_name {
            let route = match &entry.wanted {
                Ok(route) => Some(route),
                Err(fault) => {
                    faults.insert(file.clone(), fault.clone());
                    entry.live.as_ref()
                }
            };
            serve.extend(route.map(|route| (file.clone(), route.clone())));
        }
        // Every round takes one new route back, and live ones never conflict among themselves, so this ends.
        while let Some((loser, winner)) = self.conflict(&serve) {
            let Some(entry) = self.by_name.get(&loser) else {
                break;
            };
            let reason = match serve.get(&loser) {
                Some(route) => format!(
                    "uri '{}' is claimed by {winner} and {loser}: {winner} keeps it; choose another for one of them",
                    route.uri
                ),
                None => format!("the uri is claimed by {winner} and {loser}"),
            };
            faults.insert(
                loser.clone(),
                Fault {
                    line: line_of(&entry.text, "uri"),
                    column: 1,
                    reason,
                },
            );
            match &entry.live {
                Some(live) => serve.insert(loser, live.clone()),
                None => serve.remove(&loser),
            };
        }
        for (file, entry) in &mut self.by_name {
            entry.become_(file, serve.get(file).cloned(), faults.remove(file));
        }
        Table::new(serve.into_values())
    }

    /// Two files with the same pattern: who loses it, and to whom.
    fn conflict(&self, serve: &BTreeMap<String, Arc<Route>>) -> Option<(String, String)> {
        let mut claims: HashMap<&Pattern, &String> = HashMap::new();
        for (file, route) in serve {
            let Some(other) = claims.insert(&route.uri, file) else {
                continue;
            };
            let serves_it = |file: &String| {
                let live = self.by_name.get(file).and_then(|entry| entry.live.as_ref());
                live.is_some_and(|live| live.uri == route.uri)
            };
            // `other` is the first by name.
            return Some(if serves_it(file) && !serves_it(other) {
                (other.clone(), file.clone())
            } else {
                (file.clone(), other.clone())
            });
        }
        None
    }

    fn refused(&self) -> usize {
        self.by_name
            .values()
            .filter(|entry| entry.fault.is_some())
            .count()
    }
}

impl Entry {
    fn new(text: String, wanted: Result<Arc<Route>, Fault>) -> Entry {
        let since = OffsetDateTime::now_utc();
        Entry {
            stamp: None,
            text,
            wanted,
            live: None,
            fault: None,
            since,
        }
    }

    fn become_(&mut self, file: &str, live: Option<Arc<Route>>, fault: Option<Fault>) {
        if self.live == live && self.fault == fault {
            return;
        }
        match (&fault, &live) {
            (Some(fault), live) => {
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
            (None, Some(route)) => {
                tracing::info!(file, uri = %route.uri, upstream = %route.upstream, "route live");
            }
            (None, None) => {}
        }
        self.live = live;
        self.fault = fault;
        self.since = OffsetDateTime::now_utc();
    }

    fn status(&self, file: &str) -> RouteStatus {
        RouteStatus {
            file: file.to_string(),
            state: if self.fault.is_some() {
                RouteState::Refused
            } else {
                RouteState::Live
            },
            fault: self.fault.clone(),
            route: self.live.as_ref().map(|route| LiveRoute {
                uri: route.uri.to_string(),
                upstream: route.upstream.to_string(),
                plugins: route.rules.names(),
                strip_prefix: route.strip.clone(),
            }),
            since: self.since,
        }
    }
}

/// The file name without its extension.
fn route_name(file: &str) -> &str {
    file.rsplit_once('.').map_or(file, |(name, _)| name)
}
