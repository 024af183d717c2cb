//! `hms windows`, `history`, `logs`.

use super::HostArgs;
use clap::Args;
use hms_core::printable::printable;
use hms_core::units::Size;
use hms_telemetry::tell_json;
use hms_windows::WindowName;
use http::Method;
use serde_json::Value;

/// List the windows, with live and draining releases.
#[derive(Debug, Args)]
pub(super) struct Windows {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArgs,
}

impl Windows {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let answer = self.host.client()?.call(Method::GET, "/windows").await?;
        if self.json {
            tell_json(&answer);
            return Ok(());
        }
        let rows = list(&answer, "windows").iter().map(|window| {
            let live = &window["live"];
            [
                text(&window["name"]),
                text(&window["state"]),
                text(&live["number"]),
                short(&live["digest"]),
                size(&live["size"]),
                text(&window["leases"]),
                canary(&window["canary"]),
                draining(&window["draining"]),
                text(&live["deployed_at"]),
            ]
        });
        table(
            [
                "WINDOW", "STATE", "RELEASE", "DIGEST", "SIZE", "LEASES", "CANARY", "DRAINING",
                "DEPLOYED",
            ],
            rows.collect(),
        );
        for window in list(&answer, "windows") {
            let name = text(&window["name"]);
            let said = |value: &Value| value.is_string().then(|| text(value));
            if let Some(fault) = said(&window["store_fault"]) {
                say!("\n{name}: {fault}");
            }
            if let Some(why) = said(&window["unreadable"]) {
                say!("\n{name}: its record in host.redb is unreadable: {why}");
            }
            if let Some(why) = said(&window["reuse_off"]) {
                say!("\n{name}: {why}");
            }
            if let Some(why) = said(&window["unsaved"]["why"]) {
                say!("\n{name}: its last change is not yet on disk: {why}");
            }
        }
        Ok(())
    }
}

/// List the releases of a window that you can roll back to, newest first.
#[derive(Debug, Args)]
pub(super) struct History {
    /// The window
    name: WindowName,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArgs,
}

impl History {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let path = format!("/windows/{}", self.name);
        let answer = self.host.client()?.call(Method::GET, &path).await?;
        if self.json {
            tell_json(&answer);
            return Ok(());
        }
        let live = &answer["window"]["live"]["number"];
        let rows = list(&answer, "releases").iter().rev().map(|release| {
            let mark = if release["number"] == *live {
                "live"
            } else {
                ""
            };
            [
                text(&release["number"]),
                mark.to_owned(),
                short(&release["digest"]),
                size(&release["size"]),
                text(&release["deployed_at"]),
                text(&release["by"]),
                text(&release["fate"]),
            ]
        });
        table(
            ["RELEASE", "", "DIGEST", "SIZE", "DEPLOYED", "BY", "FATE"],
            rows.collect(),
        );
        Ok(())
    }
}

/// Show the latest output of a window's instances, and why any of them failed.
#[derive(Debug, Args)]
pub(super) struct Logs {
    /// The window
    name: WindowName,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArgs,
}

impl Logs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let path = format!("/windows/{}/log", self.name);
        let answer = self.host.client()?.call(Method::GET, &path).await?;
        if self.json {
            tell_json(&answer);
            return Ok(());
        }
        for line in list(&answer, "lines") {
            say!("{} {}", text(&line["at"]), text(&line["text"]));
        }
        Ok(())
    }
}

pub(super) fn list<'a>(answer: &'a Value, key: &str) -> &'a [Value] {
    answer[key]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// What the host says, made harmless for a terminal.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => printable(text).into_owned(),
        other => other.to_string(),
    }
}

pub(super) fn size(bytes: &Value) -> String {
    Size::of(bytes.as_u64().unwrap_or_default()).rounded()
}

fn short(digest: &Value) -> String {
    text(digest).chars().take(12).collect()
}

/// The candidate, its share, and of how many requests it failed at how many.
fn canary(canary: &Value) -> String {
    if canary.is_null() {
        return "-".into();
    }
    let seen = &canary["candidate"];
    format!(
        "{} at {} ({} of {} failed)",
        text(&canary["number"]),
        text(&canary["share"]),
        seen["failures"],
        seen["requests"]
    )
}

fn draining(releases: &Value) -> String {
    let releases = releases.as_array().map(Vec::as_slice).unwrap_or_default();
    if releases.is_empty() {
        return "-".into();
    }
    let each = releases
        .iter()
        .map(|r| format!("{}:{}", r["number"], r["leases"]));
    each.collect::<Vec<_>>().join(" ")
}

pub(super) fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) {
    let mut widths = head.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[&str]| {
        let padded = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        say!("{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    line(&head);
    for row in &rows {
        line(&row.each_ref().map(String::as_str));
    }
}
