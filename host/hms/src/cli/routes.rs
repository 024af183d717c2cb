//! `hms routes`: which routes are live, and what is wrong with those that are refused.

use super::HostArgs;
use super::show::{list, table, text};
use clap::Args;
use hms_telemetry::tell_json;
use http::Method;
use serde_json::Value;

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
            tell_json(&answer);
            return Ok(());
        }
        let rows = list(&answer, "routes").iter().map(|file| {
            let route = &file["route"];
            [
                text(&file["file"]),
                text(&file["state"]),
                several(&route["methods"], "any"),
                several(&route["hosts"], "any"),
                text(&route["uri"]),
                text(&route["upstream"]),
                several(&route["plugins"], "-"),
            ]
        });
        table(
            [
                "FILE", "STATE", "METHODS", "HOSTS", "URI", "UPSTREAM", "PLUGINS",
            ],
            rows.collect(),
        );
        let fault = &answer["folder-fault"];
        if fault.is_string() {
            say!(
                "\ncannot read the routes folder; the routes stay as they last were: {}",
                text(fault)
            );
        }
        for file in list(&answer, "routes") {
            for target in list(&file["route"], "targets") {
                if target["left-out"] == true {
                    say!(
                        "\n{}: {} fails and is ejected",
                        text(&file["file"]),
                        text(&target["url"])
                    );
                }
            }
            for fault in list(file, "faults") {
                say!(
                    "\n{}: line {}, column {}: {}",
                    text(&file["file"]),
                    fault["line"],
                    fault["column"],
                    text(&fault["reason"])
                );
            }
        }
        Ok(())
    }
}

fn several(list: &Value, none: &str) -> String {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    if list.is_empty() {
        return none.into();
    }
    list.iter().map(text).collect::<Vec<_>>().join(",")
}
