//! `hms check`: manifests without a host.

use crate::gateway::manifest::schema::schema;
use crate::gateway::routes::RouteSet;
use crate::gateway::{GatewayMetrics, Limits};
use crate::printable::{Printable, printable};
use crate::telemetry::tell_json;
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
            tell_json(&serde_json::json!({ "routes": files }));
        } else {
            for file in &files {
                let name = printable(&file.file);
                if file.faults.is_empty() {
                    say!("{name}: good");
                }
                for fault in &file.faults {
                    say!("{name}: {}", Printable(fault));
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
