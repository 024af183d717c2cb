//! `hms windows`, `history`, `logs`.

use super::HostArgs;
use clap::Args;
use hms_api::{
    CanaryStatus, DeliveriesStatus, DrainStatus, LogLine, LogLines, WindowDetail, WindowList,
};
use hms_core::printable::printable;
use hms_core::units::Size;
use hms_telemetry::print_json;
use hms_windows::WindowName;
use http::Method;
use std::fmt::Display;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How often `hms logs --follow` asks. 500 ms: it reads as if it were at once.
const FOLLOW: Duration = Duration::from_millis(500);

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
            print_json(&answer.read()?);
            return Ok(());
        }
        let WindowList { windows } = answer.read()?;
        let rows = windows.iter().map(|window| {
            let live = window.live.as_ref();
            [
                text(&window.name),
                text(window.state.as_str()),
                or_dash(live.map(|live| live.number)),
                live.map_or_else(dash, |live| short(&live.digest)),
                size(live.map_or(0, |live| live.size)),
                window.leases.to_string(),
                window.canary.as_ref().map_or_else(dash, canary),
                draining(&window.draining),
                live.map_or_else(dash, |live| time(live.deployed_at)),
            ]
        });
        table(
            [
                "WINDOW", "STATE", "RELEASE", "DIGEST", "SIZE", "LEASES", "CANARY", "DRAINING",
                "DEPLOYED",
            ],
            rows.collect(),
        );
        for window in &windows {
            let name = text(&window.name);
            if let Some(fault) = &window.store_fault {
                say!("\n{name}: {}", text(fault));
            }
            if let Some(why) = &window.unreadable {
                let why = text(why);
                say!("\n{name}: its record in host.redb is unreadable: {why}");
            }
            if let Some(why) = &window.reuse_off {
                say!("\n{name}: {}", text(why));
            }
            if let Some(unsaved) = &window.unsaved {
                let why = text(&unsaved.why);
                say!("\n{name}: its last change is not yet on disk: {why}");
            }
            if let Some(deliveries) = &window.deliveries {
                say!("\n{name}: {}", waiting(deliveries));
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
            print_json(&answer.read()?);
            return Ok(());
        }
        let WindowDetail { window, releases } = answer.read()?;
        let live = window.live.map(|live| live.number);
        let rows = releases.iter().rev().map(|release| {
            let mark = match live == Some(release.number) {
                true => "live",
                false => "",
            };
            [
                release.number.to_string(),
                mark.to_owned(),
                short(&release.digest),
                size(release.size),
                time(release.deployed_at),
                text(&release.by),
                release.grants.as_deref().map_or_else(dash, short),
                release.outcome.as_deref().map_or_else(dash, text),
            ]
        });
        table(
            [
                "RELEASE", "", "DIGEST", "SIZE", "DEPLOYED", "BY", "GRANTS", "OUTCOME",
            ],
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
    /// Go on with what is written from now on, until Ctrl-C
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    host: HostArgs,
}

impl Logs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let path = format!("/windows/{}/log", self.name);
        if self.follow {
            return follow(&self.host, &path, self.json).await;
        }
        let answer = self.host.client()?.call(Method::GET, &path).await?;
        if self.json {
            print_json(&answer.read()?);
            return Ok(());
        }
        let LogLines { lines } = answer.read()?;
        lines.iter().for_each(print_line);
        Ok(())
    }
}

fn print_line(line: &LogLine) {
    let level = match &line.level {
        Some(level) => format!("{} ", printable(&level.to_uppercase())),
        None => String::new(),
    };
    say!("{} {level}{}", time(line.at), text(&line.text));
}

/// Prints the log, and asks for it again and again.
async fn follow(host: &HostArgs, path: &str, json: bool) -> anyhow::Result<()> {
    let client = host.client()?;
    let mut last = None;
    loop {
        let answer = client.call(Method::GET, path).await?;
        let LogLines { lines } = answer.read()?;
        for line in new_lines(&lines, last.as_ref()) {
            match json {
                // One line each, as programs read it.
                true => say!("{}", serde_json::to_string(line)?),
                false => print_line(line),
            }
        }
        last = lines.last().cloned().or(last);
        tokio::time::sleep(FOLLOW).await;
    }
}

/// The lines behind the last one that was seen. All of them, if that is no longer kept.
fn new_lines<'a>(lines: &'a [LogLine], last: Option<&LogLine>) -> &'a [LogLine] {
    let seen = last.and_then(|last| lines.iter().rposition(|line| line == last));
    let from = seen.map_or(0, |at| at + 1);
    lines.get(from..).unwrap_or_default()
}

/// What the host says, made harmless for a terminal.
pub(super) fn text(said: &str) -> String {
    printable(said).into_owned()
}

/// In the place of what is not there.
pub(super) fn dash() -> String {
    "-".to_owned()
}

/// A number, if there is one.
pub(super) fn or_dash(number: Option<impl Display>) -> String {
    number.map_or_else(dash, |number| number.to_string())
}

/// A time as in the JSON.
pub(super) fn time(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_else(|_| at.to_string())
}

pub(super) fn size(bytes: u64) -> String {
    Size::of(bytes).rounded()
}

/// The first characters of a digest, which tell it from the others.
pub(super) fn short(digest: &str) -> String {
    text(digest).chars().take(12).collect()
}

/// The candidate, its share, and of how many requests it failed at how many.
pub(super) fn canary(canary: &CanaryStatus) -> String {
    let (share, seen) = (text(&canary.share), &canary.candidate);
    format!(
        "{} at {share} ({} of {} failed)",
        canary.number, seen.failures, seen.requests
    )
}

/// What of the deliveries to a window waits for a person.
fn waiting(deliveries: &DeliveriesStatus) -> String {
    let paused: Vec<String> = deliveries.paused.iter().map(|name| text(name)).collect();
    let paused = (!paused.is_empty()).then(|| {
        let paused = paused.join(", ");
        format!("paused subscriptions: {paused} (`hms subscriptions`)")
    });
    let parked = deliveries.parked;
    let parked = (parked > 0).then(|| format!("parked events: {parked} (`hms parked`)"));
    let all: Vec<String> = paused.into_iter().chain(parked).collect();
    all.join("; ")
}

fn draining(releases: &[DrainStatus]) -> String {
    if releases.is_empty() {
        return dash();
    }
    let each = releases
        .iter()
        .map(|r| format!("{}:{}", r.number, r.leases));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn followed_log_goes_on_behind_the_last_line_that_was_seen() {
        let line = |second: i64, text: &str| LogLine {
            at: OffsetDateTime::from_unix_timestamp(second).unwrap(),
            level: None,
            text: text.into(),
        };
        let lines = [line(1, "a"), line(1, "a"), line(2, "b")];
        assert_eq!(new_lines(&lines, None).len(), 3);
        assert_eq!(new_lines(&lines, Some(&lines[1])), &lines[2..]);
        assert_eq!(new_lines(&lines, Some(&lines[2])).len(), 0);
        assert_eq!(new_lines(&lines, Some(&line(0, "gone"))).len(), 3);
    }
}
