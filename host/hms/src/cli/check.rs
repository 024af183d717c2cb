//! `hms check`: manifests without a host.

use anyhow::{Context, bail};
use clap::Args;
use hms_api::{RouteList, RouteStatus};
use hms_core::printable::{Printable, printable};
use hms_gateway::routes::manifest::Route;
use hms_gateway::routes::manifest::schema::schema;
use hms_gateway::routes::{RouteSet, route_status};
use hms_gateway::{GatewayMetrics, Limits};
use hms_manifest::check_file;
use hms_telemetry::tell_json;
use std::path::PathBuf;

/// Check route manifests without serving, and report every fault of every file.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// A folder of manifests, or one manifest
    #[arg(value_name = "DIR|FILE", default_value = "routes", env = "HMS_ROUTES")]
    routes: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print the JSON Schema of manifests, for editors
    #[arg(long)]
    schema: bool,
}

impl Check {
    pub(super) fn run(self) -> anyhow::Result<()> {
        if self.schema {
            say!("{:#}", schema());
            return Ok(());
        }
        let files = self.files()?;
        let faulty = files.iter().filter(|file| !file.faults.is_empty()).count();
        if self.json {
            tell_json(&serde_json::json!(RouteList {
                routes: files.clone(),
                folder_fault: None,
            }));
        } else {
            for file in &files {
                let name = printable(&file.file);
                if file.faults.is_empty() {
                    say!("{name}: ok");
                }
                for fault in &file.faults {
                    say!("{name}: {}", Printable(fault));
                }
            }
        }
        anyhow::ensure!(
            faulty == 0,
            "{faulty} of {} manifests have faults",
            files.len()
        );
        Ok(())
    }

    /// What each manifest is, at least one: a script that names a wrong place must hear of it.
    fn files(&self) -> anyhow::Result<Vec<RouteStatus>> {
        let shown = self.routes.display();
        let metadata = std::fs::metadata(&self.routes)
            .with_context(|| format!("cannot read the routes folder {shown}"))?;
        if !metadata.is_dir() {
            let checked = check_file::<Route>(&self.routes);
            let checked = checked.map(|files| files.iter().map(route_status).collect());
            return checked.with_context(|| {
                format!("{shown} is not a manifest: its name must end with .yaml or .yml")
            });
        }
        let most = Limits::default().max_routes;
        let set = RouteSet::load(&self.routes, None, most, GatewayMetrics::new());
        if let Some(fault) = set.manifests().folder_fault() {
            bail!("cannot read the routes folder {shown}: {fault}");
        }
        let files = set.status();
        anyhow::ensure!(
            !files.is_empty(),
            "no manifest in {shown}: manifests are files that end with .yaml or .yml"
        );
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn check(routes: &Path) -> Result<(), String> {
        let check = Check {
            routes: routes.into(),
            json: false,
            schema: false,
        };
        check.run().map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn check_fails_without_manifests_and_accepts_a_single_file() {
        let dir = tempfile::tempdir().unwrap();
        let refused = check(dir.path()).unwrap_err();
        assert!(refused.starts_with("no manifest in "), "{refused}");
        let refused = check(&dir.path().join("nowhere")).unwrap_err();
        assert!(refused.contains(": No such file"), "{refused}");

        let good = dir.path().join("good.yaml");
        fs::write(&good, "uri: /a\nupstream: http://hms-svc-w\n").unwrap();
        let bad = dir.path().join("bad.YML");
        fs::write(&bad, "uri: /a\n").unwrap();
        let notes = dir.path().join("notes.md");
        fs::write(&notes, "uri: /a\n").unwrap();
        assert_eq!(check(&good), Ok(()));
        assert_eq!(check(&bad).unwrap_err(), "1 of 1 manifests have faults");
        assert!(check(&notes).unwrap_err().contains("is not a manifest"));
        assert_eq!(
            check(dir.path()).unwrap_err(),
            "1 of 2 manifests have faults"
        );
    }
}
