//! `hms schedules`.

use super::names::Of;
use crate::cli::HostArgs;
use crate::cli::client::durable;
use crate::cli::show::{dash, table, text, time};
use anyhow::Context;
use clap::{Args, ValueEnum};
use hms_api::{Changed, RunSchedule, ScheduleList};
use hms_telemetry::print_json;
use http::Method;
use serde_json::Value;

/// List the schedules and when they run next, or run one now
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    hms schedules\n  \
    hms schedules run payments/nightly")]
pub(in crate::cli) struct Schedules {
    /// What to do [default: list them]
    #[arg(requires = "name")]
    action: Option<Action>,
    /// The schedule, as WINDOW/NAME
    #[arg(value_name = "NAME")]
    name: Option<Of>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Action {
    /// Run a schedule now, in addition to its times
    Run,
}

impl Schedules {
    pub(in crate::cli) async fn run(self) -> anyhow::Result<()> {
        let Some(Action::Run) = self.action else {
            return self.list().await;
        };
        let of = self.name.as_ref();
        let one = of.and_then(|of| Some((&of.window, of.name.as_ref()?)));
        let (window, name) = one.context("say which schedule, as WINDOW/NAME")?;
        let path = format!("/windows/{window}/schedules/{name}/run");
        let answer = self.host.client()?.call(Method::POST, &path).await?;
        let changed: Changed<RunSchedule> = answer.read()?;
        match self.json {
            true => print_json(&answer.read::<Value>()?),
            false => {
                let to = text(&changed.what.schedule.to);
                say!("{window}/{name}: a run is on its way to {to}");
            }
        }
        durable(&changed)
    }

    async fn list(&self) -> anyhow::Result<()> {
        let answer = self.host.client()?.call(Method::GET, "/schedules").await?;
        if self.json {
            print_json(&answer.read()?);
            return Ok(());
        }
        let ScheduleList { schedules } = answer.read()?;
        let rows = schedules.iter().map(|one| {
            [
                format!("{}/{}", text(&one.window), text(&one.name)),
                text(&one.cron),
                text(&one.time_zone),
                text(&one.to),
                one.last.map_or_else(dash, time),
                one.next.map_or_else(|| "never".to_owned(), time),
                match one.last_left_out {
                    Some(last) => format!("{}, last {}", one.left_out, time(last)),
                    None => one.left_out.to_string(),
                },
                match one.running {
                    true => "yes".to_owned(),
                    false => dash(),
                },
            ]
        });
        table(
            [
                "SCHEDULE",
                "CRON",
                "TIME ZONE",
                "TO",
                "LAST",
                "NEXT",
                "LEFT OUT",
                "RUNNING",
            ],
            rows.collect(),
        );
        for one in &schedules {
            let name = format!("{}/hms.schedule.{}", text(&one.window), text(&one.name));
            if let Some(paused) = &one.paused {
                let (since, why) = (time(paused.since), text(&paused.why));
                say!(
                    "\n{name} is paused since {since}: {why}; `hms subscriptions {name} resume` ends \
                     that"
                );
            }
            if one.parked > 0 {
                say!("\n{name} has parked events: `hms parked --of {name}` lists them");
            }
        }
        Ok(())
    }
}
