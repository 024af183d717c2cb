//! `hms up`: everything an author needs, by one command.

use super::{build, serve};
use crate::config::Settings;
use crate::windows::{DeployOptions, FileDeploy, Registry};
use anyhow::Context;
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Build the windows under components/, serve, and deploy them.
#[derive(Debug, Args)]
pub(super) struct Up {
    /// The cargo workspace of the windows
    #[arg(long, value_name = "DIR", default_value = "components")]
    components: PathBuf,
    #[command(flatten)]
    settings: Settings,
}

impl Up {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let manifest = self.components.join("Cargo.toml");
        anyhow::ensure!(
            manifest.is_file(),
            "{} is not there: run `hms up` in the folder that has components/, or name it with --components",
            manifest.display()
        );
        // Everything that can be wrong with the place is said before the build, which takes long.
        let host = serve::Host::open(self.settings).await?;
        let say = |what: &str| eprintln!("hms up: {what}");
        build::ensure_target(&say).await?;
        say("building the windows (the first time takes a minute or two)");
        let started = Instant::now();
        let built = build::build(&manifest, &self.components, &[]).await?;
        say(&format!(
            "built {} windows in {:.1} s",
            built.len(),
            started.elapsed().as_secs_f32()
        ));
        for window in &built {
            say(&deploy(&host.windows, window).await?);
        }
        println!("{}", host.banner().await);
        host.run().await
    }
}

/// Deploys what was built, unless it is what is live already.
async fn deploy(windows: &Arc<Registry>, built: &build::Built) -> anyhow::Result<String> {
    let name = &built.window;
    let options = DeployOptions {
        by: "hms up".into(),
        // Whoever builds it here knows what it needs.
        yes: true,
        ..DeployOptions::default()
    };
    let outcome = windows.deploy_file(name, &built.wasm, options).await;
    Ok(
        match outcome.with_context(|| format!("{name} was not deployed"))? {
            FileDeploy::Deployed(deployed) => {
                format!("{name} release {} is live", deployed.release.number)
            }
            FileDeploy::Unchanged(status) => {
                let number = status.live.map_or(0, |live| live.number);
                match status.state {
                    "open" => format!("{name} is unchanged: release {number} is live"),
                    state => {
                        format!("{name} is unchanged and {state}; `hms start {name}` opens it")
                    }
                }
            }
        },
    )
}
