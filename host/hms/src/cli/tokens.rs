//! `hms token`: a token for development.

use clap::Args;
use hms_core::units::Time;
use hms_gateway::plugins::auth::dev_secret;
use std::io::ErrorKind;
use std::path::PathBuf;

/// Create a development token, signed with the data folder's secret. A host with --jwks, --oidc or
/// --issuers does not accept it.
#[derive(Debug, Args)]
pub(super) struct Token {
    /// The user it identifies (`sub`)
    #[arg(long, value_name = "NAME")]
    user: String,
    /// A scope it grants; repeat for more
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// How long it is valid
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
                ErrorKind::PermissionDenied => "run this as the host's user",
                _ => "set the host's data folder with --data",
            };
            let what = format!(
                "cannot read the development secret in {}; {advice}",
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
