//! `hms check`: manifests without a host.

use crate::gateway::manifest::schema::schema;
use crate::gateway::routes::RouteSet;
use crate::gateway::{GatewayMetrics, Limits};
use clap::Args;
use std::path::PathBuf;

/// Check route manifests without serving: says every fault of every file.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The folder of manifests
    #[arg(value_name = "DIR", default_value = "routes", env = "HMS_ROUTES")]
    routes: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print the JSON Schema of manifests instead, for editors
    #[arg(long)]
    schema: bool,
}

impl Check {
    pub(super) fn run(self) -> anyhow::Result<()> {
        if self.schema {
            say!("{:#}", schema());
            return Ok(());
        }
        let most = Limits::default().max_routes;
        let set = RouteSet::load(&self.routes, None, most, GatewayMetrics::new());
        if let Some(fault) = set.folder_fault() {
            anyhow::bail!(
                "the routes folder {} cannot be read: {fault}",
                self.routes.display()
            );
        }
        let files = set.status();
        let faulty = files.iter().filter(|file| !file.faults.is_empty()).count();
        if self.json {
            say!("{:#}", serde_json::json!({ "routes": files }));
        } else {
            for file in &files {
                if file.faults.is_empty() {
                    say!("{}: good", file.file);
                }
                for fault in &file.faults {
                    say!("{}: {fault}", file.file);
                }
            }
        }
        anyhow::ensure!(
            faulty == 0,
            "{faulty} of {} manifests are refused",
            files.len()
        );
        Ok(())
    }
}
