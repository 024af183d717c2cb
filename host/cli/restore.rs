//! `hms restore`: makes a data folder of a backup.

use super::backup::{blocking, show};
use crate::backup::restore::Restore as Filling;
use crate::backup::source::Source;
use crate::backup::{Member, Missing};
use crate::permissions::make_private_files;
use crate::printable::printable;
use crate::telemetry::tell_json;
use anyhow::Context;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Make a new data folder of a backup, for a host to serve from.
///
/// Nothing is restored over what is there. What is left half done, as by a crash, is no data
/// folder: no host takes it, and the same command begins anew.
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The backup: a folder, a tar file, or - for a tar stream from stdin
    #[arg(value_name = "DIR|FILE|-")]
    source: PathBuf,
    /// The data folder, new or empty
    #[arg(long, value_name = "DIR", env = "HMS_DATA")]
    data: PathBuf,
    /// Where the route manifests go, new or empty; by default DATA/routes
    #[arg(long, value_name = "DIR")]
    routes: Option<PathBuf>,
    /// Take a backup that lacks something all the same; a window whose store it lacks begins with
    /// an empty one
    #[arg(long)]
    allow_incomplete: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Restore {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        make_private_files();
        let Restore {
            source,
            data,
            routes,
            allow_incomplete,
            json,
        } = self;
        let into = data.clone();
        let restored = blocking(move || {
            let from = Source::open(&source)?;
            let filling = Filling {
                data: &into,
                routes: routes.as_deref(),
                incomplete: allow_incomplete,
                tell: &mut |what, bytes| show(json, what, bytes),
            };
            filling
                .run(from)
                .with_context(|| format!("{} is not restored", source.display()))
        })
        .await?;
        let manifest = &restored.whole.manifest;
        let windows: Vec<String> = manifest
            .files
            .iter()
            .filter_map(|file| match Member::parse(&file.path) {
                Some(Member::Store(name)) => Some(name),
                _ => None,
            })
            .collect();
        match json {
            true => tell_json(&json!({
                "data": data,
                "routes": restored.routes,
                "stores": windows,
                "files": manifest.files.len(),
                "bytes": restored.whole.bytes(),
                "begun": json!(manifest.head)["begun"],
                "secrets": manifest.secrets,
                "complete": manifest.complete,
                "missing": manifest.missing,
            })),
            false => {
                say!(
                    "{} is restored: files: {}, stores: {}",
                    data.display(),
                    manifest.files.len(),
                    windows.len(),
                );
                if !manifest.missing.is_empty() {
                    say!("the backup lacks, and so does the data folder:");
                }
                for missing in &manifest.missing {
                    say!("  {}", printable(&lacking(missing)));
                }
                say!(
                    "serve it: hms serve --data {} --routes {}",
                    data.display(),
                    restored.routes.display()
                );
            }
        }
        Ok(())
    }
}

/// What is missing, why, and what comes of it.
fn lacking(missing: &Missing) -> String {
    let so = match Member::parse(&missing.path) {
        Some(Member::Store(_)) => ": its window begins with an empty store",
        Some(Member::Artifact(_)) => ": its window is closed until it is deployed again",
        Some(Member::Records) => ": no window is deployed",
        Some(Member::Ledger) => ": no idempotency key is known",
        Some(Member::Keys) => ": no API key is known",
        _ => "",
    };
    format!("{} ({}){so}", missing.path, missing.why)
}
