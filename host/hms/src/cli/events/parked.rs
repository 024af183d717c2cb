//! `hms parked`.

use super::names::{Of, ParkedId};
use super::subscriptions::sentence;
use crate::cli::client::{Client, durable};
use crate::cli::show::{dash, table, text, time};
use crate::cli::{HostArgs, agreed};
use anyhow::bail;
use clap::{Args, ValueEnum};
use hms_api::{Changed, DroppedEvents, ParkedEvent, ParkedList, RetriedEvents};
use hms_telemetry::print_json;
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::IsTerminal;

/// List the events that could not be delivered, or have them tried again or dropped
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    hms parked --of notifications\n  \
    hms parked retry notifications/payments/3f0a9d1c5b7e2846-17\n  \
    hms parked retry notifications/payments\n  \
    hms parked drop notifications/payments/3f0a9d1c5b7e2846-17")]
pub(in crate::cli) struct Parked {
    /// What to do with the events [default: list them]
    #[arg(requires = "ids")]
    action: Option<Action>,
    /// The events: WINDOW/SUBSCRIPTION/EVENT as in the list, or WINDOW/SUBSCRIPTION for all of a
    /// subscription
    #[arg(value_name = "ID")]
    ids: Vec<ParkedId>,
    /// List only those of WINDOW, or of WINDOW/SUBSCRIPTION
    #[arg(long, value_name = "NAME", conflicts_with = "action")]
    of: Option<Of>,
    /// Do not ask before events are dropped
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Action {
    /// Try them again, from the first attempt on
    Retry,
    /// Drop them for good; asks for confirmation
    Drop,
}

impl Parked {
    pub(in crate::cli) async fn run(self) -> anyhow::Result<()> {
        match self.action {
            None => self.list().await,
            Some(Action::Retry) => {
                let client = self.host.client()?;
                for id in &self.ids {
                    self.retry(&client, id).await?;
                }
                Ok(())
            }
            Some(Action::Drop) => {
                if !self.yes && !self.confirmed()? {
                    say!("nothing was dropped");
                    return Ok(());
                }
                let client = self.host.client()?;
                for id in &self.ids {
                    self.discard(&client, id).await?;
                }
                Ok(())
            }
        }
    }

    async fn list(&self) -> anyhow::Result<()> {
        let client = self.host.client()?;
        let mut query = vec!["limit=1000".to_owned()];
        if let Some(of) = &self.of {
            query.push(format!("window={}", of.window));
            query.extend(of.name.as_ref().map(|name| format!("subscription={name}")));
        }
        let query = query.join("&");
        let mut after = String::new();
        let (mut values, mut rows, mut removed) = (Vec::new(), Vec::new(), BTreeSet::new());
        loop {
            let path = format!("/parked?{query}{after}");
            let answer = client.call(Method::GET, &path).await?;
            let list: ParkedList = answer.read()?;
            if self.json {
                let list: Value = answer.read()?;
                let more = list.get("parked").and_then(Value::as_array);
                values.extend(more.into_iter().flatten().cloned());
            }
            if let Some(last) = list.parked.last() {
                after = format!("&after={}", last.id);
            }
            for parked in &list.parked {
                rows.push(row(parked));
                if parked.removed {
                    removed.insert(format!(
                        "{}/{}",
                        text(&parked.window),
                        text(&parked.subscription)
                    ));
                }
            }
            if !list.more {
                break;
            }
        }
        if self.json {
            print_json(&json!({ "parked": values }));
            return Ok(());
        }
        table(
            [
                "ID", "SOURCE", "SEQUENCE", "TYPE", "SUBJECT", "EMITTED", "PARKED", "ATTEMPTS",
                "STATUS", "RETRYING", "WHY",
            ],
            rows,
        );
        for name in removed {
            say!(
                "\n{name} is removed: it is no longer in its window's file. Put it back there to have \
                 its events tried again, or drop them"
            );
        }
        Ok(())
    }

    async fn retry(&self, client: &Client, id: &ParkedId) -> anyhow::Result<()> {
        let path = format!("{}/retry", id.path());
        let answer = client.call(Method::POST, &path).await?;
        let changed: Changed<RetriedEvents> = answer.read()?;
        match self.json {
            true => print_json(&answer.read::<Value>()?),
            false => {
                say!("{id}: {} queued for retry", events(changed.what.retried));
                if let Some(of) = &changed.what.subscription
                    && of.paused.is_some()
                {
                    say!("{}", sentence(of));
                }
            }
        }
        durable(&changed)
    }

    async fn discard(&self, client: &Client, id: &ParkedId) -> anyhow::Result<()> {
        let answer = client.call(Method::DELETE, &id.path()).await?;
        let changed: Changed<DroppedEvents> = answer.read()?;
        let DroppedEvents { dropped, in_flight } = changed.what;
        match self.json {
            true => print_json(&answer.read::<Value>()?),
            false => say!("{id}: {} dropped", events(dropped)),
        }
        durable(&changed)?;
        if in_flight > 0 {
            let left = events(in_flight);
            bail!("{id}: {left} left, because they are being delivered now: try again in a moment");
        }
        Ok(())
    }

    fn confirmed(&self) -> anyhow::Result<bool> {
        let all = self.ids.iter().map(ParkedId::to_string);
        let all = all.collect::<Vec<_>>().join(", ");
        if !std::io::stdin().is_terminal() {
            bail!("not a terminal: repeat with --yes to drop {all}");
        }
        let of_all = match self.ids.iter().any(|id| id.event.is_none()) {
            true => " (ALL PARKED EVENTS of a subscription)",
            false => "",
        };
        agreed(&format!("Drop {all}{of_all} for good?"))
    }
}

fn events(count: u64) -> String {
    match count {
        1 => "1 event is".to_owned(),
        count => format!("{count} events are"),
    }
}

fn row(parked: &ParkedEvent) -> [String; 11] {
    let event = &parked.event;
    [
        text(&parked.id),
        text(&parked.source),
        event.sequence.to_string(),
        text(&event.r#type),
        event.subject.as_deref().map_or_else(dash, text),
        time(event.time),
        time(parked.parked),
        parked.attempts.to_string(),
        parked.status.map_or_else(dash, |status| status.to_string()),
        match (parked.removed, parked.retrying) {
            (true, _) => "removed".to_owned(),
            (false, true) => "yes".to_owned(),
            (false, false) => dash(),
        },
        text(&parked.why),
    ]
}
