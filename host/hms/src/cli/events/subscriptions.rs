//! `hms subscriptions`.

use super::names::{Of, moment};
use crate::cli::HostArgs;
use crate::cli::client::{Client, durable};
use crate::cli::show::{dash, table, text, time};
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use hms_api::{
    Changed, ChangedSubscription, ReplayRequest, Replayed, SubscriptionList, SubscriptionStatus,
};
use hms_core::body;
use hms_telemetry::print_json;
use http::Method;
use serde_json::Value;
use time::OffsetDateTime;

/// List the subscriptions to events, or pause, resume or replay one
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    hms subscriptions\n  \
    hms subscriptions notifications/payments pause\n  \
    hms subscriptions notifications/payments replay --from 2h")]
pub(in crate::cli) struct Subscriptions {
    /// WINDOW, or WINDOW/NAME [default: all]
    name: Option<Of>,
    /// What to do with the subscription [default: show it]
    #[arg(requires = "name")]
    action: Option<Action>,
    /// Of a replay: deliver again what was emitted from this time on, such as
    /// 2026-01-31T08:00:00Z, or 2h for two hours ago
    #[arg(long, value_name = "TIME", value_parser = moment, requires = "action")]
    from: Option<OffsetDateTime>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Action {
    /// Deliver nothing until it is resumed; events are kept
    Pause,
    /// Deliver again
    Resume,
    /// Deliver once more what was emitted since a time
    Replay,
}

impl Subscriptions {
    pub(in crate::cli) async fn run(self) -> anyhow::Result<()> {
        let client = self.host.client()?;
        let Some(action) = self.action else {
            if self.from.is_some() {
                bail!("--from is for replay");
            }
            return self.show(&client).await;
        };
        let of = self.name.as_ref();
        let one = of.and_then(|of| Some((&of.window, of.name.as_ref()?)));
        let (window, name) = one.context("say which subscription, as WINDOW/NAME")?;
        let path = format!("/windows/{window}/subscriptions/{name}");
        match (action, self.from) {
            (Action::Replay, Some(from)) => self.replay(&client, &path, from).await,
            (Action::Replay, None) => {
                bail!("say from which time on with --from, such as --from 2h")
            }
            (Action::Pause | Action::Resume, Some(_)) => bail!("--from is for replay"),
            (Action::Pause, None) => self.change(&client, &format!("{path}/pause")).await,
            (Action::Resume, None) => self.change(&client, &format!("{path}/resume")).await,
        }
    }

    async fn show(&self, client: &Client) -> anyhow::Result<()> {
        let path = match &self.name {
            None => "/subscriptions".to_owned(),
            Some(Of { window, name: None }) => format!("/subscriptions?window={window}"),
            Some(Of {
                window,
                name: Some(name),
            }) => format!("/windows/{window}/subscriptions/{name}"),
        };
        let answer = client.call(Method::GET, &path).await?;
        if self.json {
            print_json(&answer.read()?);
            return Ok(());
        }
        let is_one = self.name.as_ref().is_some_and(|of| of.name.is_some());
        let all = match is_one {
            true => vec![answer.read::<SubscriptionStatus>()?],
            false => answer.read::<SubscriptionList>()?.subscriptions,
        };
        show(&all);
        Ok(())
    }

    async fn change(&self, client: &Client, path: &str) -> anyhow::Result<()> {
        let answer = client.call(Method::POST, path).await?;
        let changed: Changed<ChangedSubscription> = answer.read()?;
        match self.json {
            true => print_json(&answer.read::<Value>()?),
            false => say!("{}", sentence(&changed.what.subscription)),
        }
        durable(&changed)
    }

    async fn replay(
        &self,
        client: &Client,
        path: &str,
        from: OffsetDateTime,
    ) -> anyhow::Result<()> {
        let body = body::full(serde_json::to_vec(&ReplayRequest { from })?);
        let path = format!("{path}/replay");
        let answer = client.send(Method::POST, &path, &[], body).await?;
        let answer = client.take(answer).await?;
        let replayed: Changed<Replayed> = answer.read()?;
        if self.json {
            print_json(&answer.read::<Value>()?);
            return Ok(());
        }
        let Replayed {
            events,
            subscription,
        } = &replayed.what;
        match events {
            1 => say!("1 event from {} on is looked at again", time(from)),
            _ => say!("{events} events from {} on are looked at again", time(from)),
        }
        if subscription.paused.is_some() {
            say!("{}", sentence(subscription));
        }
        durable(&replayed)
    }
}

fn called(one: &SubscriptionStatus) -> String {
    format!("{}/{}", text(&one.window), text(&one.name))
}

/// What state it is in, and what ends a pause.
pub(super) fn sentence(one: &SubscriptionStatus) -> String {
    let name = called(one);
    match &one.paused {
        Some(paused) => format!(
            "{name} is paused since {}: {}; `hms subscriptions {name} resume` ends that",
            time(paused.since),
            text(&paused.why)
        ),
        None => format!("{name} is {}", text(one.state.as_str())),
    }
}

fn show(all: &[SubscriptionStatus]) {
    let rows = all.iter().map(|one| {
        let from = one.sources.iter().map(|source| text(&source.window));
        let from: Vec<String> = from.collect();
        [
            called(one),
            text(one.state.as_str()),
            from.join(" "),
            text(&one.to),
            one.lag.to_string(),
            match one.lag {
                0 => dash(),
                _ => format!("{} s", one.lag_seconds),
            },
            one.in_flight.to_string(),
            one.blocked_keys.to_string(),
            one.parked.to_string(),
        ]
    });
    table(
        [
            "SUBSCRIPTION",
            "STATE",
            "FROM",
            "TO",
            "LAG",
            "AGE",
            "IN FLIGHT",
            "BLOCKED",
            "PARKED",
        ],
        rows.collect(),
    );
    for one in all.iter().filter(|one| one.paused.is_some()) {
        say!("\n{}", sentence(one));
    }
    for one in all.iter().filter(|one| one.parked > 0) {
        let name = called(one);
        say!("\n{name} has parked events: `hms parked --of {name}` lists them");
    }
}
