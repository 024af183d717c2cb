//! Row 8: a document of 10 MB, up and down, against nginx with the same bytes as a file.

use super::Settings;
use crate::ours::Ours;
use crate::peers::Nginx;
use crate::scripts;
use crate::table::Row;
use anyhow::{bail, ensure};
use hms_harness::guests;
use hms_harness::pairs::{Pairs, median};
use hms_harness::process::held;
use hms_harness::wrk::{Figure, Load};
use std::process::Command;
use std::time::Duration;

const BYTES: usize = 10 << 20;
const CONNECTIONS: u32 = 8;
/// For what each transfer more takes of memory: the median of as many pairs, as the allocator keeps
/// now more, now less.
const MANY_CONNECTIONS: u32 = 40;
/// Between two looks at the resident memory.
const LOOK: Duration = Duration::from_millis(50);
const MIB: f64 = 1_048_576.0;

pub async fn run(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let component = guests::path("docs").await;
    let route = "uri: /api/v1/docs/**\nupstream: http://hms-svc-docs\nplugins: [auth]\n";
    let ours = Ours::start(&[("docs", route.into())], &[])?;
    ours.deploy("docs", &component)?;
    ours.hms(&["limits", "docs", "--store", "64GiB"])?;
    let bearer = ours.bearer(&["docs.read", "docs.write"])?;
    let theirs = Nginx::start(
        "",
        "location /in/ { dav_methods PUT; create_full_put_path on; }",
    )?;
    let file = theirs.root().join("file");
    std::fs::write(&file, "0123456789abcdef".repeat(BYTES / 16))?;
    let document = upload_one(&ours, &bearer, &file)?;

    let load = |url: String| Load::get(url).connections(CONNECTIONS);
    let down = Pairs::take(
        settings.pairs,
        || {
            load(ours.url(&document))
                .header("authorization", &bearer)
                .run(settings.time)
        },
        || load(format!("{}/file", theirs.url)).run(settings.time),
    )?;
    let upload = scripts::upload(BYTES)?;
    let put = scripts::put(BYTES)?;
    let up = Pairs::take(
        settings.pairs,
        || {
            load(ours.url("/api/v1/docs"))
                .header("authorization", &bearer)
                .script(upload.clone())
                .run(settings.time)
        },
        || {
            load(format!("{}/in/0", theirs.url))
                .script(put.clone())
                .run(settings.time)
        },
    )?;
    let both_ways = |connections| -> anyhow::Result<u64> {
        let down = load(ours.url(&document));
        let up = load(ours.url("/api/v1/docs")).script(upload.clone());
        let mut most = 0;
        for load in [down, up] {
            let load = load
                .connections(connections)
                .header("authorization", &bearer);
            most = most.max(peak_kib(&ours, &load, settings.time)?);
        }
        Ok(most)
    };
    let more = f64::from(MANY_CONNECTIONS - CONNECTIONS);
    let mut each = Vec::new();
    for _ in 0..settings.pairs {
        let (few, many) = (both_ways(CONNECTIONS)?, both_ways(MANY_CONNECTIONS)?);
        each.push((many as f64 - few as f64) / 1024.0 / more);
    }
    let each = median(each.into_iter());
    let row = |number, work: &str, baseline: &str, pairs: &Pairs| {
        let mut row = Row::of_pairs(number, work, baseline, Some(0.4), pairs);
        let rate = |figures: &[Figure]| {
            hms_harness::pairs::middle(figures, |figure| figure.per_second) * BYTES as f64 / MIB
        };
        row.ours = format!("{:.0} MiB/s", rate(&pairs.ours));
        row.theirs = format!("{:.0} MiB/s", rate(&pairs.theirs));
        row
    };
    let mut first = row("8a", "10 MB document down", "nginx, a static file", &down);
    let second = row(
        "8b",
        "10 MB document up, on disk",
        "nginx, PUT to a file",
        &up,
    );
    first.also = Some((
        format!("{each:.2} MiB for each transfer more, both ways"),
        each < 1.0,
    ));
    Ok(vec![first, second])
}

/// The most of memory that is resident while the load goes on.
fn peak_kib(ours: &Ours, load: &Load, time: Duration) -> anyhow::Result<u64> {
    std::thread::scope(|scope| {
        let running = scope.spawn(|| load.run(time));
        let mut most = 0;
        while !running.is_finished() {
            most = most.max(held(ours.id()).rss_kib);
            std::thread::sleep(LOOK);
        }
        match running.join() {
            Ok(figure) => figure.map(|_| most),
            Err(_) => bail!("the load generator panicked"),
        }
    })
}

/// Gives the document's path.
fn upload_one(ours: &Ours, bearer: &str, file: &std::path::Path) -> anyhow::Result<String> {
    let output = Command::new("curl")
        .args(["-sf", "-H", &format!("authorization: {bearer}")])
        .args(["-F", &format!("file=@{}", file.display())])
        .arg(ours.url("/api/v1/docs"))
        .output()?;
    let said: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let id = said["id"].as_str().unwrap_or_default();
    ensure!(!id.is_empty(), "the upload failed: {said}");
    let path = format!("/api/v1/docs/{id}");
    let got = Load::get(ours.url(&path))
        .header("authorization", bearer)
        .connections(1)
        .run(Duration::from_secs(1))?;
    ensure!(got.failed == 0, "the document is not there");
    Ok(path)
}
