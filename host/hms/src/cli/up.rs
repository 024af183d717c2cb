//! `hms up`: everything an author needs, by one command.

mod author;
mod sources;

use super::{build, serve};
use crate::config::Settings;
use crate::signals::Hangup;
use author::Author;
use clap::Args;
use hms_windows::{DeployOptions, FileDeploy, Registry};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;

/// Build the windows in components/, serve and deploy them, and again whenever a source file is
/// saved.
#[derive(Debug, Args)]
pub(super) struct Up {
    /// The cargo workspace of the windows
    #[arg(long, value_name = "DIR", default_value = "components")]
    components: PathBuf,
    #[command(flatten)]
    settings: Settings,
}

impl Up {
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        // Services beside the windows: whoever writes the one runs the other.
        let here = [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            IpAddr::from(Ipv6Addr::LOCALHOST),
        ];
        self.settings
            .upstream_allow
            .extend(here.map(ipnet::IpNet::from));
        let manifest = self.components.join("Cargo.toml");
        anyhow::ensure!(
            manifest.is_file(),
            "{} does not exist: run `hms up` in the folder that contains components/, or set --components",
            manifest.display()
        );
        // Everything that can be wrong with the place is said before the build, which takes long.
        let Some(host) = serve::OpenHost::open(self.settings, Hangup::End).await? else {
            return Ok(());
        };
        let shutdown = host.shutdown.clone();
        let ready = shutdown.run_until_cancelled(build::ensure_target(&|what| say(what)));
        ready.await.transpose()?;
        let author = Author {
            manifest,
            components: self.components.canonicalize()?,
            windows: host.windows.clone(),
            banner: host.banner(),
        };
        // What is live already is served while the first build runs, and while one fails.
        let (served, _) = tokio::join!(host.run(), shutdown.run_until_cancelled(author.run()));
        served
    }
}

fn say(what: &str) {
    hms_telemetry::warn(&format!("hms up: {what}"));
}

/// Deploys what was built, unless it is what is live already.
async fn deploy(windows: &Arc<Registry>, built: &build::Built) -> anyhow::Result<FileDeploy> {
    let name = &built.window;
    let options = DeployOptions {
        by: "hms up".into(),
        // Whoever builds it here knows what it needs.
        yes: true,
        ..DeployOptions::default()
    };
    Ok(windows.deploy_file(name, &built.wasm, options).await?)
}
