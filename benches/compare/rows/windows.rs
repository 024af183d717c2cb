//! Rows 10 and 11: many windows in one host, and its restart.

use super::Settings;
use super::hello::Guests;
use crate::ours::Ours;
use crate::scripts;
use crate::table::{Row, shown};
use hms_harness::pairs::{Pairs, median};
use hms_harness::process::held;
use hms_harness::wrk::{Figure, Load};
use std::path::{Path, PathBuf};

/// What the windows of a host are.
#[derive(Clone, Copy)]
enum Components {
    /// All the same.
    One,
    /// Each its own, with native code and memory that no other has.
    Each,
}

fn host(guests: &Guests, windows: u32, components: Components) -> anyhow::Result<Ours> {
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
    let folder = tempfile::tempdir()?;
    for n in 0..windows {
        let component = match components {
            Components::One => guests.p3.clone(),
            Components::Each => variant(&guests.p3, n, folder.path())?,
        };
        ours.deploy(&format!("w{n}"), &component)?;
    }
    Ok(ours)
}

/// The same component but for a custom section, which makes it another one.
fn variant(component: &Path, number: u32, folder: &Path) -> anyhow::Result<PathBuf> {
    let mut bytes = std::fs::read(component)?;
    // Id 0, 6 bytes: a name of one letter and the number.
    bytes.extend([0, 6, 1, b'n']);
    bytes.extend(number.to_le_bytes());
    let path = folder.join(format!("{number}.wasm"));
    std::fs::write(&path, bytes)?;
    Ok(path)
}

/// So many are enough that one finds nothing of its own in the processor's nearest caches.
const FEW: u32 = 64;

/// Against the only window of a host: equal windows, which have one component, and different ones,
/// of which each has its own. And against 64 of the same windows, where all that grows with their
/// number would show.
pub fn many(settings: &Settings, guests: &Guests) -> anyhow::Result<Vec<Row>> {
    let count = settings.windows;
    let one = host(guests, 1, Components::One)?;
    // Before any request, which is when windows are idle.
    let least = held(one.id()).rss_kib;
    let idle = |host: &Ours| {
        let all = held(host.id()).rss_kib;
        let each = all.saturating_sub(least) as f64 / 1024.0 / f64::from(count - 1);
        Some((format!("{each:.3} MiB for each idle window"), each < 1.0))
    };
    let only = Asked(&one, 1, "the only one".into());

    let same = host(guests, count, Components::One)?;
    let also = idle(&same);
    let work = format!("any of {count} equal windows");
    let mut rows = vec![among(
        settings,
        "10a",
        Asked(&same, count, work),
        &only,
        also,
    )?];
    drop(same);

    let own = host(guests, count, Components::Each)?;
    let also = idle(&own);
    let work = format!("any of {count} different windows");
    let all = Asked(&own, count, work);
    let few = count.min(FEW);
    let few = Asked(&own, few, format!("any of {few}"));
    rows.push(among(settings, "10b", all.clone(), &only, also)?);
    rows.push(among(settings, "10c", all, &few, None)?);
    Ok(rows)
}

/// A request to any of the first so many windows of a host.
#[derive(Clone)]
struct Asked<'a>(&'a Ours, u32, String);

impl Asked<'_> {
    fn load(&self, settings: &Settings) -> anyhow::Result<Figure> {
        let Asked(host, windows, _) = self;
        // Few at once: the look-up is to be seen, not a queue. By a script where there is one
        // window too, since it costs the generator something for each request.
        Load::get(host.url("/w0"))
            .connections(4)
            .script(scripts::any_window(*windows)?)
            .run(settings.time)
    }
}

fn among(
    settings: &Settings,
    number: &'static str,
    ours: Asked,
    theirs: &Asked,
    also: Option<(String, bool)>,
) -> anyhow::Result<Row> {
    let pairs = Pairs::take(
        settings.pairs,
        || ours.load(settings),
        || theirs.load(settings),
    )?;
    Ok(Row {
        number,
        work: ours.2,
        baseline: theirs.2.clone(),
        ours: shown(&pairs.ours),
        theirs: shown(&pairs.theirs),
        mark: Some(1.0 / 1.2),
        found: 1.0 / pairs.ratio(|figure| figure.p50_ms),
        also,
        notes: "the inverse of the ratio of the medians; 4 connections".into(),
    })
}

pub fn restart(settings: &Settings, guests: &Guests) -> anyhow::Result<Row> {
    const WINDOWS: u32 = 100;
    let mut ours = host(guests, WINDOWS, Components::Each)?;
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
        work: format!("restart to an answer, {WINDOWS} different windows"),
        baseline: "one second".into(),
        ours: format!("{:.0} ms", time * 1000.0),
        theirs: "-".into(),
        mark: Some(1.0),
        found: 1.0 / time,
        also: None,
        notes: String::new(),
    })
}
