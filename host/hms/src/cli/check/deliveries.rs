//! What `hms check` says of events: who else can send to where they are delivered, and whose events
//! are wanted that nobody knows.

use super::{CheckedFiles, windows_of};
use hms_gateway::routes::manifest::Route;
use hms_grants::WindowGrants;
use hms_grants::subscription::DeliverTo;
use hms_windows::WindowName;
use http::Method;
use std::collections::BTreeSet;
use std::path::Path;

/// The windows whose components lie in `folder`; none where it cannot be read.
pub(super) fn components(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let components = paths.filter(|path| path.extension().is_some_and(|end| end == "wasm"));
    let names = components.filter_map(|path| WindowName::from_file(&path).ok());
    names.map(|name| name.to_string()).collect()
}

/// Routes by which a caller can send requests to where events are delivered.
pub(super) fn reached(found: &CheckedFiles) -> Vec<String> {
    let mut notes = Vec::new();
    for (file, shown) in &found.routes {
        let Some(route) = &file.live else { continue };
        let windows: BTreeSet<&str> = windows_of(route).collect();
        let granted = found.granted.iter();
        let granted = granted.filter(|(window, _)| windows.contains(window.as_str()));
        for (path, at) in granted.flat_map(|(_, granted)| delivered(granted)) {
            if reaches(route, path) {
                notes.push(format!(
                    "{}: the route reaches {path}, to which {at} has events delivered: callers can \
                     send what looks like one; see docs/events.md#forged-events",
                    shown.file
                ));
            }
        }
    }
    notes
}

/// The paths of a window to which events are delivered, each with where its file says so.
fn delivered(granted: &WindowGrants) -> impl Iterator<Item = (&str, String)> {
    let subscriptions = granted.grants.subscriptions.iter();
    let subscriptions = subscriptions.filter_map(|subscription| match &subscription.to {
        DeliverTo::Path(path) => Some((path.as_str(), subscription.line)),
        DeliverTo::Service(_) => None,
    });
    let schedules = granted.grants.schedules.iter();
    let schedules = schedules.map(|schedule| (schedule.to.as_str(), schedule.line));
    let all = subscriptions.chain(schedules);
    all.map(|(path, line)| (path, granted.at(line)))
}

/// Whether a request by POST for some path makes the window see `path`.
fn reaches(route: &Route, path: &str) -> bool {
    let posts = route.methods.is_empty() || route.methods.contains(&Method::POST);
    // The prefix alone becomes '/'.
    let outside = [format!("{}{path}", route.strip), route.strip.clone()];
    let mut outside = outside.iter().filter(|outside| route.uri.matches(outside));
    posts && outside.any(|outside| route.stripped(outside) == path)
}

/// Subscriptions to the events of windows that nothing here knows.
pub(super) fn unknown_sources(found: &CheckedFiles) -> Vec<String> {
    let granted = found.grants.iter();
    let by_name = |file: &str| WindowName::from_file(Path::new(file)).ok();
    let granted = granted.filter_map(|(file, _)| by_name(&file.file));
    let mut known: BTreeSet<String> = granted.map(|name| name.to_string()).collect();
    known.extend(found.components.iter().cloned());
    for route in found
        .routes
        .iter()
        .filter_map(|(file, _)| file.live.as_ref())
    {
        known.extend(windows_of(route).map(str::to_owned));
        known.extend(
            route
                .rules
                .middlewares()
                .iter()
                .map(|name| name.to_string()),
        );
    }
    let mut notes = Vec::new();
    for (_, granted) in &found.granted {
        for subscription in &granted.grants.subscriptions {
            let from = subscription.from.iter();
            let unknown = from.filter(|window| !known.contains(window.as_str()));
            notes.extend(unknown.map(|window| {
                format!(
                    "{}: unknown window '{window}' in a subscription: no grants file, route or \
                     component has this name",
                    granted.at(subscription.line)
                )
            }));
        }
    }
    notes
}
