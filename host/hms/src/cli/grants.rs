//! `hms grants`: what windows are granted, and editing it.

use super::client::{Client, durable, refusal};
use super::show::{dash, short, table, text, time};
use super::{HostArgs, agreed};
use anyhow::{Context, bail};
use clap::Args;
use hms_api::{Changed, GrantsDetail, GrantsList, GrantsStatus, RemovedGrants};
use hms_core::body;
use hms_core::error::problem_type;
use hms_core::printable::printable_lines;
use hms_disk::files::read_at_most;
use hms_manifest::MAX_MANIFEST_BYTES;
use hms_telemetry::print_json;
use hms_windows::{Consent, WindowName};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// Show what windows are granted, or change it for one window
#[derive(Debug, Args)]
pub(super) struct Grants {
    /// The window [default: all]
    name: Option<WindowName>,
    /// Check this file and make it the window's grants, live at once
    #[arg(long, value_name = "FILE", requires = "name")]
    set: Option<PathBuf>,
    /// Remove the window's grants
    #[arg(long, requires = "name", conflicts_with = "set")]
    remove: bool,
    /// Do not ask if the live release may then do more
    #[arg(long, requires = "set")]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArgs,
}

impl Grants {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.host.client()?;
        let Some(name) = &self.name else {
            return self.list(&client).await;
        };
        let path = format!("/windows/{name}/grants");
        match (&self.set, self.remove) {
            (Some(file), _) => self.put(&client, &path, file).await,
            (None, true) => self.delete(&client, &path).await,
            (None, false) => {
                let answer = client.send(Method::GET, &path, &[], body::empty()).await?;
                if answer.status() == StatusCode::NOT_FOUND {
                    let why = client.problem(answer).await?;
                    if why.kind != problem_type("no-such-grants") {
                        bail!("{}", refusal(StatusCode::NOT_FOUND, Some(&why)));
                    }
                    match self.json {
                        true => print_json(&json!({ "grants": null, "manifest": null })),
                        false => say!("{name} is granted nothing: it has no file of grants"),
                    }
                    return Ok(());
                }
                let answer = client.take(answer).await?;
                match self.json {
                    true => print_json(&answer.read::<Value>()?),
                    false => show(&answer.read::<GrantsDetail>()?.grants),
                }
                Ok(())
            }
        }
    }

    async fn list(&self, client: &Client) -> anyhow::Result<()> {
        let answer = client.call(Method::GET, "/grants").await?;
        if self.json {
            print_json(&answer.read()?);
            return Ok(());
        }
        let GrantsList {
            grants,
            folder_fault,
        } = answer.read()?;
        let rows = grants.iter().map(|file| {
            let granted = file.granted.as_ref();
            [
                granted.map_or_else(dash, |granted| text(&granted.window)),
                text(file.state.as_str()),
                text(&file.file),
                granted.map_or_else(dash, |granted| short(&granted.digest)),
                granted
                    .map_or(0, |granted| granted.secrets.len())
                    .to_string(),
            ]
        });
        table(
            ["WINDOW", "STATE", "FILE", "DIGEST", "SECRETS"],
            rows.collect(),
        );
        if let Some(fault) = &folder_fault {
            let fault = text(fault);
            say!("\ncannot read the grants folder; the grants stay as they last were: {fault}");
        }
        for file in &grants {
            say!("");
            show(file);
        }
        Ok(())
    }

    async fn put(&self, client: &Client, path: &str, file: &Path) -> anyhow::Result<()> {
        let read = read_at_most(file, MAX_MANIFEST_BYTES);
        let manifest = read.with_context(|| format!("cannot read {}", file.display()))?;
        // `consent` as the admin API has it.
        let put = async |consent: Option<&str>| {
            let path = match consent {
                Some(consent) => format!("{path}?yes={consent}"),
                None => path.to_owned(),
            };
            let body = body::full(manifest.clone());
            client.send(Method::PUT, &path, &[], body).await
        };
        let mut answer = put(self.yes.then_some("true")).await?;
        if answer.status() == StatusCode::CONFLICT {
            let why = client.problem(answer).await?;
            let asks = why.kind == problem_type("needs-consent");
            let said = refusal(StatusCode::CONFLICT, Some(&why));
            if !asks || self.json || !std::io::stdin().is_terminal() {
                bail!("{said}");
            }
            if !agreed(&format!("{}\nGrant it anyway?", printable_lines(&said)))? {
                bail!("nothing was changed");
            }
            answer = put(Some(&Consent::digest(&said))).await?;
        }
        let answer = client.take(answer).await?;
        match self.json {
            true => print_json(&answer.read::<Value>()?),
            false => show(&answer.read::<GrantsDetail>()?.grants),
        }
        Ok(())
    }

    async fn delete(&self, client: &Client, path: &str) -> anyhow::Result<()> {
        let answer = client.call(Method::DELETE, path).await?;
        let changed: Changed<RemovedGrants> = answer.read()?;
        match self.json {
            true => print_json(&answer.read::<Value>()?),
            false => say!("{} is granted nothing", text(&changed.what.removed)),
        }
        durable(&changed)
    }
}

/// The effective grants in plain sentences, and what is wrong.
fn show(file: &GrantsStatus) {
    let name = text(&file.file);
    match &file.granted {
        Some(granted) => {
            let window = text(&granted.window);
            if granted.sentences.is_empty() {
                say!("{window} is granted nothing");
            }
            for sentence in &granted.sentences {
                say!("{window} {}", text(sentence));
            }
            for secret in &granted.secrets {
                if let Some(fault) = &secret.fault {
                    let (secret, fault) = (text(&secret.name), text(fault));
                    say!("{window}: secret {secret} cannot be read: {fault}");
                }
            }
            for schedule in &granted.schedules {
                let name = text(&schedule.name);
                match schedule.next {
                    Some(next) => say!("{window}: schedule {name} comes next at {}", time(next)),
                    None => say!("{window}: schedule {name} never comes again"),
                }
            }
        }
        None => say!("{name}: nothing is granted"),
    }
    for fault in &file.faults {
        say!(
            "{name}: line {}, column {}: {}",
            fault.line,
            fault.column,
            text(&fault.reason)
        );
    }
}
