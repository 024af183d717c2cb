//! `hms key`: API keys for machine callers.

use super::HostArgs;
use super::client::durable;
use super::show::{dash, table, text, time};
use clap::{Args, Subcommand};
use hms_api::{Changed, CreatedKey, KeyList, NewKey, RevokedKey};
use hms_core::body;
use hms_core::units::Lifetime;
use hms_telemetry::{print_json, warn};
use http::Method;

/// Create, list and revoke API keys, for machine callers without a token provider.
#[derive(Debug, Args)]
pub(super) struct Keys {
    #[command(subcommand)]
    verb: KeyVerb,
}

#[derive(Debug, Subcommand)]
enum KeyVerb {
    /// Create a key and print it; it is shown only once
    Add(Add),
    /// List the keys, without their secrets
    List(List),
    /// Revoke a key; takes effect with the next request
    Revoke(Revoke),
}

#[derive(Debug, Args)]
struct Add {
    /// The user it identifies, like a token's `sub`; windows see key:USER if the host has several
    /// issuers
    user: String,
    /// A scope it grants; repeat for more
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// How long it is valid, for example 30d [default: until revoked]
    #[arg(long, value_name = "TIME")]
    expires: Option<Lifetime>,
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Debug, Args)]
struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Debug, Args)]
struct Revoke {
    /// The key's id, from `hms key list`
    #[arg(value_parser = id)]
    id: String,
    #[command(flatten)]
    host: HostArgs,
}

impl Keys {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self.verb {
            KeyVerb::Add(add) => add.run().await,
            KeyVerb::List(list) => list.run().await,
            KeyVerb::Revoke(revoke) => revoke.run().await,
        }
    }
}

impl Add {
    async fn run(self) -> anyhow::Result<()> {
        let order = NewKey {
            user: self.user,
            scopes: self.scopes,
            expires_in: self.expires.map(|expires| expires.to_string()),
        };
        let client = self.host.client()?;
        let body = body::full(serde_json::to_vec(&order)?);
        let answer = client.send(Method::POST, "/keys", &[], body).await?;
        let created: CreatedKey = client.take(answer).await?.read()?;
        // The key alone on stdout, so that KEY=$(hms key add …) works.
        let (id, user) = (text(&created.about.id), text(&created.about.user));
        warn(&format!("key {id} for {user}; it is shown only once"));
        say!("{}", text(&created.key));
        Ok(())
    }
}

impl List {
    async fn run(self) -> anyhow::Result<()> {
        let answer = self.host.client()?.call(Method::GET, "/keys").await?;
        if self.json {
            print_json(&answer.read()?);
            return Ok(());
        }
        let KeyList { keys, unsaved } = answer.read()?;
        let rows = keys.iter().map(|key| {
            let scopes = key.scopes.iter().map(|scope| text(scope));
            [
                text(&key.id),
                text(&key.user),
                scopes.collect::<Vec<_>>().join(" "),
                time(key.created),
                key.expires.map_or_else(dash, time),
            ]
        });
        table(
            ["ID", "USER", "SCOPES", "CREATED", "EXPIRES"],
            rows.collect(),
        );
        if let Some(unsaved) = unsaved {
            let revoked = unsaved.revoked.iter().map(|id| text(id));
            let revoked: Vec<String> = revoked.collect();
            say!("\nnot yet on disk: {}", text(&unsaved.why));
            if !revoked.is_empty() {
                say!(
                    "revoked, but restored by a restart before that: {}",
                    revoked.join(", ")
                );
            }
        }
        Ok(())
    }
}

impl Revoke {
    async fn run(self) -> anyhow::Result<()> {
        let path = format!("/keys/{}", self.id);
        let answer = self.host.client()?.call(Method::DELETE, &path).await?;
        let answer: Changed<RevokedKey> = answer.read()?;
        say!("key {} is revoked", self.id);
        durable(&answer)
    }
}

/// What can stand in a path.
fn id(text: &str) -> Result<String, String> {
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    fits.then(|| text.to_owned())
        .ok_or_else(|| "an id has only letters and digits; see `hms key list`".into())
}
