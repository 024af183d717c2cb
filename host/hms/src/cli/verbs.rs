//! `hms start`, `stop`, `rollback`, `canary`, `promote`, `abort`, `remove`.

use super::client::{Client, durable, refusal};
use super::show::{or_dash, text};
use super::{HostArgs, agreed};
use anyhow::bail;
use clap::Args;
use hms_api::{Changed, ChangedWindow, RemovedWindow, StoreFate, WindowStatus};
use hms_core::body;
use hms_core::error::problem_type;
use hms_core::printable::printable_lines;
use hms_windows::{Consent, TrafficShare, WindowName};
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use std::io::IsTerminal;

/// Open a stopped window.
#[derive(Debug, Args)]
pub(super) struct Start {
    /// The window
    name: WindowName,
    #[command(flatten)]
    host: HostArgs,
}

impl Start {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let path = format!("/windows/{}/start", self.name);
        let answer = changed(&self.host, &path).await?;
        say!("{}", live(&answer.what.window));
        Ok(())
    }
}

/// Close a window; requests in flight complete.
#[derive(Debug, Args)]
pub(super) struct Stop {
    /// The window
    name: WindowName,
    #[command(flatten)]
    host: HostArgs,
}

impl Stop {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let path = format!("/windows/{}/stop", self.name);
        let answer = changed(&self.host, &path).await?;
        say!(
            "{name} is stopped; `hms start {name}` opens it again",
            name = self.name
        );
        durable(&answer)
    }
}

/// Make an earlier release live again, without compiling.
#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// The window
    name: WindowName,
    /// The release [default: the one that was live when the live one was deployed]
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    /// Agree that it may do more than the live release
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    host: HostArgs,
}

impl Rollback {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.host.client()?;
        let consent = self.yes.then(|| "true".to_owned());
        let mut answer = self.ask(&client, consent).await?;
        if answer.status() == StatusCode::CONFLICT {
            let why = client.problem(answer).await?;
            let asks = why.kind == problem_type("needs-consent");
            let said = refusal(StatusCode::CONFLICT, Some(&why));
            if !asks || !std::io::stdin().is_terminal() {
                bail!("{said}");
            }
            if !agreed(&format!("{}\nRoll back anyway?", printable_lines(&said)))? {
                bail!("nothing was changed");
            }
            answer = self.ask(&client, Some(Consent::digest(&said))).await?;
        }
        let answer: Changed<ChangedWindow> = client.take(answer).await?.read()?;
        say!("{}", live(&answer.what.window));
        durable(&answer)
    }

    /// `consent` as the admin API has it.
    async fn ask(
        &self,
        client: &Client,
        consent: Option<String>,
    ) -> anyhow::Result<Response<Incoming>> {
        let to = self.to.map(|number| format!("to={number}"));
        let query: Vec<String> = to
            .into_iter()
            .chain(consent.map(|consent| format!("yes={consent}")))
            .collect();
        let path = format!("/windows/{}/rollback?{}", self.name, query.join("&"));
        client.send(Method::POST, &path, &[], body::empty()).await
    }
}

/// Change a running canary's share of the traffic.
#[derive(Debug, Args)]
pub(super) struct Canary {
    /// The window
    name: WindowName,
    /// The share, for example 25%
    share: TrafficShare,
    #[command(flatten)]
    host: HostArgs,
}

impl Canary {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let path = format!(
            "/windows/{}/canary?share={}",
            self.name,
            self.share.to_string().replace('%', "%25")
        );
        let answer = changed(&self.host, &path).await?;
        let canary = answer.what.window.canary.as_ref();
        say!(
            "{} release {} gets {} of the traffic",
            self.name,
            or_dash(canary.map(|canary| canary.number)),
            self.share
        );
        durable(&answer)
    }
}

/// Make a running canary the live release.
#[derive(Debug, Args)]
pub(super) struct Promote {
    /// The window
    name: WindowName,
    #[command(flatten)]
    host: HostArgs,
}

impl Promote {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let path = format!("/windows/{}/promote", self.name);
        let answer = changed(&self.host, &path).await?;
        say!("{}", live(&answer.what.window));
        Ok(())
    }
}

/// End a running canary; the live release gets all requests again.
#[derive(Debug, Args)]
pub(super) struct Abort {
    /// The window
    name: WindowName,
    #[command(flatten)]
    host: HostArgs,
}

impl Abort {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let path = format!("/windows/{}/abort", self.name);
        let answer = changed(&self.host, &path).await?;
        say!("the canary has ended; {}", live(&answer.what.window));
        durable(&answer)
    }
}

/// Remove a window and its releases, and with --delete-store also its stored data.
#[derive(Debug, Args)]
pub(super) struct Remove {
    /// The window
    name: WindowName,
    /// Delete the window's store too [default: keep it for the next window of this name]
    #[arg(long)]
    delete_store: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    host: HostArgs,
}

impl Remove {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        if !self.yes && !self.confirmed()? {
            say!("nothing was removed");
            return Ok(());
        }
        let store = if self.delete_store { "delete" } else { "keep" };
        let path = format!("/windows/{}?store={store}", self.name);
        let answer = self.host.client()?.call(Method::DELETE, &path).await?;
        let answer: Changed<RemovedWindow> = answer.read()?;
        let store = match &answer.what.store {
            StoreFate::Deleting => "deleted as soon as the disk allows".to_owned(),
            store => text(store.as_str()),
        };
        say!("{} is removed; its store is {store}", self.name);
        if let Some(left) = &answer.what.left {
            let [file, folder, again] =
                [&*left.file, &*left.folder, &*left.deployed_again].map(text);
            say!("{file} is still in {folder}; it is deployed again {again}");
        }
        durable(&answer)
    }

    fn confirmed(&self) -> anyhow::Result<bool> {
        if !std::io::stdin().is_terminal() {
            bail!(
                "not a terminal: repeat with --yes to remove window {}",
                self.name
            );
        }
        let store = match self.delete_store {
            true => "AND ALL ITS STORED DATA",
            false => "(its store is kept)",
        };
        let name = &self.name;
        agreed(&format!("Remove window {name} with its releases {store}?"))
    }
}

async fn changed(host: &HostArgs, path: &str) -> anyhow::Result<Changed<ChangedWindow>> {
    host.client()?.call(Method::POST, path).await?.read()
}

fn live(window: &WindowStatus) -> String {
    let number = or_dash(window.live.as_ref().map(|live| live.number));
    format!("{} is open: release {number} is live", text(&window.name))
}
