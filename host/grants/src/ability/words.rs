//! Sentences: what one grant allows, all that a window is granted, and which imports reach nothing.

use super::{Interface, bare, events, interface, methods, paths, secrets};
use crate::{CallGrant, OutboundGrant, WindowGrants};
use hms_core::path::Pattern;
use http::Method;
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};

/// Sentences about `imports` that reach nothing, one a package.
pub fn ungranted(imports: &[String], granted: &WindowGrants) -> Vec<String> {
    let nothing = imports
        .iter()
        .map(|import| bare(import))
        .filter(|import| matches!(interface(import), Some(Interface::Nothing)))
        .map(|import| {
            let package = import.split('/').next().unwrap_or(import);
            format!("imports {package}, which no window is granted: it reaches nothing")
        });
    let notes: BTreeSet<String> = nothing.chain(not_yet_granted(imports, granted)).collect();
    notes.into_iter().collect()
}

/// Those of them that a grant would change. The others are in each component of some languages,
/// whose runtimes import the file system.
pub fn not_yet_granted(imports: &[String], granted: &WindowGrants) -> Vec<String> {
    let grants = &granted.grants;
    if !grants.outbound.is_empty() || !grants.calls.is_empty() {
        return Vec::new();
    }
    let calls = imports
        .iter()
        .map(|import| bare(import))
        .filter(|import| matches!(interface(import), Some(Interface::Http)));
    let notes: BTreeSet<String> = calls
        .map(|import| format!("imports {import}, which is not granted: its calls are refused"))
        .collect();
    notes.into_iter().collect()
}

/// What a window is granted, whatever its release imports: one sentence a grant, each after "it".
pub fn plain(granted: &WindowGrants) -> Vec<String> {
    let grants = &granted.grants;
    let at = |line| granted.at(line);
    let outbound = grants.outbound.iter();
    let mut said: Vec<String> = outbound
        .map(|grant| format!("may {} ({})", outbound_in_full(grant), at(grant.line)))
        .collect();
    let calls = grants.calls.iter();
    said.extend(calls.map(|grant| format!("may {} ({})", call(grant), at(grant.line))));
    let reveal = grants.reveal.iter();
    said.extend(reveal.map(|name| format!("may read secret {name} ({})", at(grants.lines.reveal))));
    let names = |map: &BTreeMap<String, String>| map.keys().cloned().collect::<Vec<_>>().join(", ");
    if !grants.config.is_empty() {
        said.push(format!("reads config {}", names(&grants.config)));
    }
    if !grants.env.is_empty() {
        said.push(format!("has the environment {}", names(&grants.env)));
    }
    let limits = grants.lines.limits.iter();
    said.extend(limits.map(|(limit, line)| {
        let row = limit.row();
        let value = grants.limits.get(*limit).unwrap_or(row.default);
        format!(
            "has the limit {} {} ({})",
            row.flag,
            row.shown(value),
            at(*line)
        )
    }));
    said.extend(events::plain(granted));
    if grants.internal {
        said.push("is internal: no route may lead to it".to_owned());
    }
    said
}

/// `POST https://api.card.example/v1/charges/** with secret card-key, also in 10.0.0.0/8`.
pub(super) fn outbound(grant: &OutboundGrant) -> String {
    let clauses = clauses(grant);
    said(grant, &clauses)
}

/// The same with its own bounds.
fn outbound_in_full(grant: &OutboundGrant) -> String {
    let mut clauses = clauses(grant);
    if let Some(timeout) = grant.timeout {
        let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        clauses.push(format!("within {}", hms_core::units::Time::of_ms(ms)));
    }
    if let Some(at_once) = grant.at_once {
        clauses.push(format!("{at_once} at once"));
    }
    said(grant, &clauses)
}

/// The requests that it is for, and what is more to say of them. A comma parts two clauses, so that
/// none reads as a part of the one before.
fn said(grant: &OutboundGrant, clauses: &[String]) -> String {
    let methods: Vec<String> = methods(grant).iter().map(Method::to_string).collect();
    let origin = grant.to();
    let named = |path: Option<Pattern>| match path {
        Some(path) => format!("{origin}{path}"),
        None => format!("{origin} on every path"),
    };
    let paths: Vec<String> = paths(grant).into_iter().map(named).collect();
    let requests = format!("{} {}", and(&methods), and(&paths));
    match clauses {
        [] => requests,
        clauses => format!("{requests} {}", clauses.join(", ")),
    }
}

/// What comes with its requests, one clause each.
fn clauses(grant: &OutboundGrant) -> Vec<String> {
    let mut clauses = Vec::new();
    let secrets: BTreeSet<&String> = secrets(grant).collect();
    let secrets: Vec<String> = secrets.into_iter().cloned().collect();
    match secrets.len() {
        0 => {}
        1 => clauses.push(format!("with secret {}", and(&secrets))),
        _ => clauses.push(format!("with secrets {}", and(&secrets))),
    }
    if let Some(certificate) = &grant.client_cert {
        let file = certificate.cert.display();
        clauses.push(format!("with client certificate {file}"));
    }
    if let Some(ca) = &grant.ca {
        clauses.push(format!("trusting {}", ca.display()));
    }
    if !grant.private.is_empty() {
        let networks: Vec<String> = grant.private.iter().map(IpNet::to_string).collect();
        clauses.push(format!("also in {}", and(&networks)));
    }
    clauses
}

pub(super) fn call(grant: &CallGrant) -> String {
    match grant.as_self {
        true => format!("call window {} without the user", grant.window),
        false => format!("call window {} for the user", grant.window),
    }
}

/// `a`, `a and b`, or `a, b and c`.
pub(super) fn and(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
