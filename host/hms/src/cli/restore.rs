//! `hms restore`: makes a data folder of a backup.

use super::backup::{blocking, show};
use super::show::time;
use anyhow::Context;
use clap::Args;
use hms_backup::restore::Restore as Filling;
use hms_backup::source::Source;
use hms_backup::{Member, Missing};
use hms_core::printable::printable;
use hms_disk::permissions::make_private_files;
use hms_telemetry::print_json;
use serde_json::json;
use std::path::PathBuf;

/// Create a new data folder from a backup, for a host to serve from.
///
/// A restore never overwrites anything. No host serves an interrupted restore; run the same command
/// again to start over.
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The backup: a folder, a tar file, or - for a tar stream from stdin
    #[arg(value_name = "DIR|FILE|-")]
    source: PathBuf,
    /// The data folder, new or empty
    #[arg(long, value_name = "DIR", env = "HMS_DATA")]
    data: PathBuf,
    /// Where the route manifests go, new or empty [default: DATA/routes]
    #[arg(long, value_name = "DIR")]
    routes: Option<PathBuf>,
    /// Where the grants go, new or empty [default: DATA/grants]
    #[arg(long, value_name = "DIR")]
    grants: Option<PathBuf>,
    /// Accept an incomplete backup; a window whose store is missing starts with an empty one
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
            grants,
            allow_incomplete,
            json,
        } = self;
        let into = data.clone();
        let restored = blocking(move || {
            let from = Source::open(&source)?;
            let filling = Filling {
                data: &into,
                routes: routes.as_deref(),
                grants: grants.as_deref(),
                incomplete: allow_incomplete,
                tell: &mut |what, bytes| show(json, what, bytes),
            };
            filling
                .run(from)
                .with_context(|| format!("could not restore {}", source.display()))
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
            true => print_json(&json!({
                "data": data.to_string_lossy(),
                "routes": restored.routes.to_string_lossy(),
                "grants": restored.grants.as_ref().map(|folder| folder.to_string_lossy()),
                "stores": windows,
                "files": manifest.files.len(),
                "bytes": restored.whole.bytes(),
                "begun": time(manifest.head.begun),
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
                    say!("missing in the backup, and in the data folder:");
                }
                for missing in &manifest.missing {
                    say!("  {}", printable(&lacking(missing)));
                }
                let grants = restored.grants.as_ref();
                let grants = grants.map(|folder| format!(" --grants {}", folder.display()));
                say!(
                    "to serve it: hms serve --data {} --routes {}{}",
                    data.display(),
                    restored.routes.display(),
                    grants.unwrap_or_default()
                );
            }
        }
        Ok(())
    }
}

/// What is missing, why, and what comes of it.
fn lacking(missing: &Missing) -> String {
    let so = match Member::parse(&missing.path) {
        Some(Member::Store(_)) => ": its window starts with an empty store",
        Some(Member::Artifact(_)) => ": its window is closed until it is deployed again",
        Some(Member::Records) => ": no window is deployed",
        Some(Member::Ledger) => ": no idempotency keys are known",
        Some(Member::Deliveries) => {
            ": subscriptions begin where their files say, and no event is parked"
        }
        Some(Member::Keys) => ": no API keys are known",
        _ => "",
    };
    format!("{} ({}){so}", missing.path, missing.why)
}
