//! `hms routes`: which routes are live, and what is wrong with those that are refused.

use super::HostArgs;
use super::show::{dash, table, text};
use clap::Args;
use hms_api::RouteList;
use hms_telemetry::print_json;
use http::Method;

/// List the routes: live ones, and refused files with the reason
#[derive(Debug, Args)]
pub(super) struct Routes {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArgs,
}

impl Routes {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let answer = self.host.client()?.call(Method::GET, "/routes").await?;
        if self.json {
            print_json(&answer.read()?);
            return Ok(());
        }
        let RouteList {
            routes,
            folder_fault,
        } = answer.read()?;
        let rows = routes.iter().map(|file| {
            let route = file.route.as_ref();
            [
                text(&file.file),
                text(file.state.as_str()),
                route.map_or_else(|| "any".to_owned(), |route| several(&route.methods, "any")),
                route.map_or_else(|| "any".to_owned(), |route| several(&route.hosts, "any")),
                route.map_or_else(dash, |route| text(&route.uri)),
                route.map_or_else(dash, |route| text(&route.upstream)),
                route.map_or_else(dash, |route| several(&route.plugins, "-")),
            ]
        });
        table(
            [
                "FILE", "STATE", "METHODS", "HOSTS", "URI", "UPSTREAM", "PLUGINS",
            ],
            rows.collect(),
        );
        if let Some(fault) = &folder_fault {
            say!(
                "\ncannot read the routes folder; the routes stay as they last were: {}",
                text(fault)
            );
        }
        for file in &routes {
            let name = text(&file.file);
            let targets = file.route.iter().flat_map(|route| &route.targets);
            for target in targets.filter(|target| target.ejected) {
                say!("\n{name}: {} fails and is ejected", text(&target.url));
            }
            for fault in &file.faults {
                say!(
                    "\n{name}: line {}, column {}: {}",
                    fault.line,
                    fault.column,
                    text(&fault.reason)
                );
            }
        }
        Ok(())
    }
}

fn several(names: &[impl AsRef<str>], none: &str) -> String {
    if names.is_empty() {
        return none.into();
    }
    let names = names.iter().map(|name| text(name.as_ref()));
    names.collect::<Vec<_>>().join(",")
}
