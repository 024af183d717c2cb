//! `hms up`: everything an author needs, by one command.

use super::{build, serve};
use crate::config::Settings;
use crate::windows::{Artifacts, Registry, Upload};
use anyhow::Context;
use clap::Args;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tokio::io::AsyncReadExt;

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
    let upload = upload(windows.artifacts(), &built.wasm).await?;
    let name = &built.window;
    if let Ok((status, _)) = windows.status(name).await
        && let Some(live) = status.live
        && live.digest == upload.digest
        && status.state != "unavailable"
    {
        return Ok(match status.state {
            "open" => format!("{name} is unchanged: release {} is live", live.number),
            state => format!("{name} is unchanged and {state}; `hms start {name}` opens it"),
        });
    }
    let deployed = windows
        .deploy(name.clone(), upload, "hms up".into(), &|_, _| {})
        .await;
    let deployed = deployed.with_context(|| format!("{name} was not deployed"))?;
    Ok(format!(
        "{name} release {} is live",
        deployed.release.number
    ))
}

/// A file from this machine, taken in like any upload.
async fn upload(artifacts: &Artifacts, wasm: &Path) -> anyhow::Result<Upload> {
    let mut file = tokio::fs::File::open(wasm)
        .await
        .with_context(|| format!("{} cannot be read", wasm.display()))?;
    let mut receiving = artifacts.receive(u64::MAX).await?;
    let mut chunk = vec![0; 64 << 10];
    loop {
        let read = file.read(&mut chunk).await?;
        match chunk.get(..read) {
            Some(bytes) if read > 0 => receiving.chunk(bytes).await?,
            _ => return Ok(receiving.finish().await?),
        }
    }
}
