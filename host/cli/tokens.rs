//! `hms token`: a token for development.

use crate::gateway::plugins::auth::dev_secret;
use crate::units::Time;
use clap::Args;
use std::io::ErrorKind;
use std::path::PathBuf;

/// Make a token for development, signed with the data folder's secret. A host that checks tokens
/// with --jwks does not take it.
#[derive(Debug, Args)]
pub(super) struct Token {
    /// Whom it names (`sub`)
    #[arg(long, value_name = "NAME")]
    user: String,
    /// A scope it carries; repeat for more
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// How long it holds
    #[arg(long, value_name = "TIME", default_value = "60m")]
    ttl: Time,
    /// The host's data folder
    #[arg(long, value_name = "DIR", default_value = "data", env = "HMS_DATA")]
    data: PathBuf,
}

impl Token {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let secret = dev_secret::load_or_create(&self.data).map_err(|error| {
            let advice = match error.kind() {
                ErrorKind::PermissionDenied => "run this as the user of the host",
                _ => "name the host's data folder with --data",
            };
            let what = format!(
                "the development secret in {} cannot be read; {advice}",
                self.data.display()
            );
            anyhow::Error::new(error).context(what)
        })?;
        let token = dev_secret::issue_token(&secret, &self.user, &self.scopes, self.ttl.duration())
            .map_err(anyhow::Error::msg)?;
        say!("{token}");
        Ok(())
    }
}
