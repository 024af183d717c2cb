//! Rows 10 and 11: many windows in one host, and its restart.

use super::Settings;
use super::hello::Guests;
use crate::harness::process::held;
use crate::load::Load;
use crate::ours::Ours;
use crate::pairs::{Pairs, median};
use crate::scripts;
use crate::table::{Row, shown};

fn host(guests: &Guests, windows: u32) -> anyhow::Result<Ours> {
    let routes: Vec<(String, String)> = (0..windows)
        .map(|n| {
            (
                format!("w{n}"),
                format!("uri: /w{n}\nupstream: http://hms-svc-w{n}\n"),
            )
        })
        .collect();
    let named: Vec<(&str, String)> = routes
        .iter()
        .map(|(name, text)| (&**name, text.clone()))
        .collect();
    let ours = Ours::start(&named, &[])?;
    for n in 0..windows {
        ours.deploy(&format!("w{n}"), &guests.p3)?;
    }
    Ok(ours)
}

pub fn many(settings: &Settings, guests: &Guests) -> anyhow::Result<Row> {
    let (one, many) = (host(guests, 1)?, host(guests, settings.windows)?);
    // Before any request, which is when they are idle.
    let (small, large) = (held(one.id()).rss_kib, held(many.id()).rss_kib);
    let each = (large - small) as f64 / 1024.0 / f64::from(settings.windows - 1);
    // Both by the same script, which costs the generator something for each request.
    let (any, only) = (
        scripts::any_window(settings.windows)?,
        scripts::any_window(1)?,
    );
    // Few at once: the look-up is to be seen, not a queue.
    let pairs = Pairs::take(
        settings.pairs,
        || {
            Load::get(many.url("/w0"))
                .connections(4)
                .script(any.clone())
                .run(settings.time)
        },
        || {
            Load::get(one.url("/w0"))
                .connections(4)
                .script(only.clone())
                .run(settings.time)
        },
    )?;
    Ok(Row {
        number: "10",
        work: format!("a request to any of {} windows", settings.windows),
        baseline: "to the only window".into(),
        ours: shown(&pairs.ours),
        theirs: shown(&pairs.theirs),
        mark: Some(1.0 / 1.2),
        found: 1.0 / pairs.ratio(|figure| figure.p50_ms),
        also: Some((format!("{each:.3} MiB for each idle window"), each < 1.0)),
        notes: format!(
            "the ratio is that of the medians' inverse; 4 connections; resident {small} KiB with one window, {large} KiB with all"
        ),
    })
}

pub fn restart(settings: &Settings, guests: &Guests) -> anyhow::Result<Row> {
    const WINDOWS: u32 = 100;
    let mut ours = host(guests, WINDOWS)?;
    let mut times = Vec::new();
    for _ in 0..settings.pairs {
        times.push(
            ours.restart_until(&format!("/w{}", WINDOWS - 1))?
                .as_secs_f64(),
        );
    }
    let time = median(times.iter().copied());
    Ok(Row {
        number: "11",
        work: format!("restart to the first answer, {WINDOWS} windows"),
        baseline: "one second".into(),
        ours: format!("{:.0} ms", time * 1000.0),
        theirs: "-".into(),
        mark: Some(1.0),
        found: 1.0 / time,
        also: None,
        notes: String::new(),
    })
}
