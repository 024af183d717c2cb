//! Row 12: what each plugin costs, and the access log.

use super::Settings;
use super::hello::Guests;
use crate::ours::{Disk, Ours};
use crate::scripts;
use hms_harness::pairs::{median, middle};
use hms_harness::wrk::{Figure, Load};
use std::fmt::Write;

/// The routes that are compared, the first with the others.
const ROUTES: [(&str, &str); 8] = [
    ("none", ""),
    ("auth", "plugins: [auth]\n"),
    (
        "rate-limit",
        "plugins:\n  - rate-limit: {limit: 1000000, window: 1}\n",
    ),
    (
        "both",
        "plugins:\n  - auth\n  - rate-limit: {limit: 1000000, window: 1}\n",
    ),
    (
        "headers",
        "plugins:\n  - headers: {response: {set: {x-frame-options: DENY}}}\n",
    ),
    (
        "cors",
        "plugins:\n  - cors: {origins: [\"https://app.example.org\"]}\n",
    ),
    ("compression", "plugins: [compression]\n"),
    (KEYED, "plugins: [auth, idempotency]\n"),
];

/// The one of which each request is a POST with a key of its own, written to disk before and after.
/// It has `auth` too: keys are per user.
const KEYED: &str = "idempotency";

/// A table in Markdown.
pub fn table(settings: &Settings, guests: &Guests) -> anyhow::Result<String> {
    let routes: Vec<(&str, String)> = ROUTES
        .iter()
        .map(|(name, plugins)| {
            (
                *name,
                format!("uri: /{name}\nupstream: http://hms-svc-hello\n{plugins}"),
            )
        })
        .collect();
    let quiet = Ours::start(&routes, &[])?;
    let logging = Ours::start_on(Disk::Disk, "info", &routes[..1], &[])?;
    for host in [&quiet, &logging] {
        host.deploy("hello", &guests.p3)?;
    }
    let bearer = quiet.bearer(&[])?;
    let keyed = scripts::keyed()?;
    let ask = |host: &Ours, name: &str| {
        let mut load = Load::get(host.url(&format!("/{name}"))).header("authorization", &bearer);
        if name == KEYED {
            load = load.script(keyed.clone());
        }
        load.run(settings.time)
    };
    // All in turn, so that each sees the same machine.
    let mut figures: Vec<Vec<Figure>> = vec![Vec::new(); ROUTES.len() + 1];
    for _ in 0..settings.pairs {
        for ((name, _), figures) in ROUTES.iter().zip(&mut figures) {
            figures.push(ask(&quiet, name)?);
        }
        if let Some(figures) = figures.last_mut() {
            figures.push(ask(&logging, "none")?);
        }
    }
    let mut text = String::from("| plugins | requests/s | p99 ms | of none |\n|---|---|---|---|\n");
    let names = ROUTES
        .iter()
        .map(|(name, _)| *name)
        .chain(["none, with the access log"]);
    for (name, found) in names.zip(&figures) {
        let ratios = found
            .iter()
            .zip(&figures[0])
            .map(|(this, none)| this.per_second / none.per_second);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {name} | {:.0} | {:.2} | {:.2} |",
            middle(found, |figure| figure.per_second),
            middle(found, |figure| figure.p99_ms),
            median(ratios)
        );
    }
    Ok(text)
}
