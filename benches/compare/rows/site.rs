//! Row 14: a static site in a window, against nginx with the same files, compressed beforehand.

use super::Settings;
use crate::ours::Ours;
use crate::peers::Nginx;
use crate::table::Row;
use anyhow::{Context, ensure};
use hms_harness::pairs::Pairs;
use hms_harness::wrk::Load;
use hms_harness::{guests, root};
use std::path::Path;
use std::process::{Command, Stdio};

/// Requests for which an instance lives.
const REUSE: &str = "1000";

/// A stylesheet of 9 KB and a script of 51 KB: their sizes are those before compression.
const CSS: &str = "dashboard.css";
const SCRIPT: &str = "uplot/uplot-1.6.32.min.js";

/// By a window for each request, and by the plugin `cache`, for which the mark is.
const WORK: [(&str, &str, Plugins); 4] = [
    ("14a", CSS, Plugins::None),
    ("14b", SCRIPT, Plugins::None),
    ("14c", CSS, Plugins::Cache),
    ("14d", SCRIPT, Plugins::Cache),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Plugins {
    None,
    Cache,
}

pub async fn run(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let component = guests::path("site").await;
    let route = |uri: &str, prefix: &str, plugins: &str| {
        format!("uri: {uri}\nupstream: http://hms-svc-site\nstrip-prefix: {prefix}\n{plugins}")
    };
    let routes = [
        ("site", route("/**", "false", "")),
        (
            "cached",
            route("/cached/**", "/cached", "plugins: [cache]\n"),
        ),
    ];
    let ours = Ours::start(&routes, &[])?;
    ours.deploy("site", &component)?;
    ours.hms(&["limits", "site", "--reuse", REUSE])?;
    let types = "types { text/css css; text/javascript js; }";
    let theirs = Nginx::start(types, "gzip_static on; etag on;")?;
    let assets = root().join("host/dashboard/assets");
    let mut rows = Vec::new();
    for name in [CSS, SCRIPT] {
        let to = theirs.root().join(name);
        std::fs::create_dir_all(to.parent().context("a file is in a folder")?)?;
        std::fs::copy(assets.join(name), &to)?;
        gzip(&to)?;
    }
    for (number, name, plugins) in WORK {
        let file = assets.join(name);
        let path = match plugins {
            Plugins::None => format!("/{name}"),
            Plugins::Cache => format!("/cached/{name}"),
        };
        let load = |url: String| Load::get(url).header("accept-encoding", "gzip");
        let (our_url, their_url) = (ours.url(&path), format!("{}/{name}", theirs.url));
        let (our_size, their_size) = (size(&our_url)?, size(&their_url)?);
        let bytes = std::fs::metadata(&file)?.len();
        ensure!(
            our_size < bytes && their_size < bytes,
            "{name} of {bytes} bytes came as {our_size} and {their_size}: it is not compressed"
        );
        let pairs = Pairs::take(
            settings.pairs,
            || load(our_url.clone()).run(settings.time),
            || load(their_url.clone()).run(settings.time),
        )?;
        let kilobytes = bytes / 1000;
        let (work, mark) = match plugins {
            Plugins::None => (
                format!("a file of a site, {kilobytes} KB, gzip, reuse {REUSE}"),
                None,
            ),
            Plugins::Cache => (
                format!("the same by the plugin cache, {kilobytes} KB"),
                Some(0.6),
            ),
        };
        let baseline = "nginx, gzip_static";
        let mut row = Row::of_pairs(number, &work, baseline, mark, &pairs);
        row.notes = format!("{our_size} and {their_size} bytes are sent; {}", row.notes);
        rows.push(row);
    }
    Ok(rows)
}

fn gzip(file: &Path) -> anyhow::Result<()> {
    let done = Command::new("gzip").args(["-9", "-k"]).arg(file).status()?;
    ensure!(done.success(), "gzip failed at {}", file.display());
    Ok(())
}

/// Bytes of the body, as it is sent.
fn size(url: &str) -> anyhow::Result<u64> {
    let output = Command::new("curl")
        .args(["-sf", "-o", "/dev/null", "-w", "%{size_download}"])
        .args(["-H", "accept-encoding: gzip", url])
        .stderr(Stdio::inherit())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.trim()
        .parse()
        .with_context(|| format!("{url} is not there: {said}"))
}
