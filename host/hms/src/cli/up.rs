//! `hms up`: everything an author needs, by one command.

mod author;
mod own_writes;
mod sources;
mod work;

use super::project::{self, Built, Plan, Profile};
use super::serve::{self, OpenHost, Purpose};
use crate::config::{GRANTS_FOLDER, ROUTES_FOLDER, Settings};
use anyhow::Context;
use author::Author;
use clap::Args;
use hms_windows::{Consent, DeployOptions, FileDeploy, Registry};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Build the windows in folders, serve and deploy them, and again whenever a source file is saved.
///
/// A window is a folder with a window.toml, or a cargo package that makes a component. Its routes
/// are the files in its folder routes/, and its grants the file windows/NAME.yaml, beside those of
/// the host.
#[derive(Debug, Args)]
pub(super) struct Up {
    /// Folders with windows, in them or below [default: components, if it is a cargo workspace,
    /// else .]
    #[arg(value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// Build for production: small and fast, but slow to build again
    #[arg(long)]
    release: bool,
    /// Do not show what the windows write to their logs
    #[arg(long)]
    no_logs: bool,
    #[command(flatten)]
    settings: Settings,
}

impl Up {
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        let roots = project::roots(self.dirs)?;
        let settings = &mut self.settings;
        allow_services_beside(settings);
        let data = std::path::absolute(&settings.data)?;
        let data = data.canonicalize().unwrap_or(data);
        let out = vec![data.clone()];
        ensure_windows(&roots, &out).await?;
        if settings.routes == Path::new(ROUTES_FOLDER) && !settings.routes.exists() {
            settings.routes = routes_in(&data)?;
        }
        // Everything that can be wrong with the place is said before the build, which takes long.
        let purpose = Purpose::Author {
            logs: !self.no_logs,
        };
        let Some(host) = OpenHost::open(self.settings, purpose).await? else {
            return Ok(());
        };
        let shutdown = host.shutdown.clone();
        let (looked, left_out) = (roots.clone(), out.clone());
        let needs_rust =
            tokio::task::spawn_blocking(move || project::needs_rust(&looked, &left_out));
        if needs_rust.await? {
            let ready = project::ensure_target(&|what| say(what));
            shutdown.run_until_cancelled(ready).await.transpose()?;
        }
        let profile = match self.release {
            true => Profile::Release,
            false => Profile::Author,
        };
        let author = Author {
            roots,
            out,
            profile,
            windows: host.windows.clone(),
            folders: host.folders(),
            banner: host.banner(),
        };
        // What is live already is served while the first build runs, and while one fails.
        let (served, _) = tokio::join!(host.run(), shutdown.run_until_cancelled(author.run()));
        served
    }
}

/// Services beside the windows may be called: whoever writes the one runs the other.
pub(super) fn allow_services_beside(settings: &mut Settings) {
    let here = [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::from(Ipv6Addr::LOCALHOST),
    ];
    (settings.upstream_allow).extend(here.map(ipnet::IpNet::from));
}

/// Refuses folders in which there is nothing to build.
pub(super) async fn ensure_windows(roots: &[PathBuf], out: &[PathBuf]) -> anyhow::Result<()> {
    let (looked, left_out) = (roots.to_owned(), out.to_owned());
    let any = tokio::task::spawn_blocking(move || project::has_any(&looked, &left_out));
    let shown: Vec<String> = roots
        .iter()
        .map(|root| root.display().to_string())
        .collect();
    anyhow::ensure!(
        any.await?,
        "there is no window in {} or below: a window is a folder with a {}, or a cargo package with crate-type = \
         [\"cdylib\"]; `hms new NAME` makes one",
        shown.join(", "),
        project::WINDOW_TOML
    );
    Ok(())
}

/// The folder of routes where the author has none but those of the windows: what the admin API
/// writes is in it.
fn routes_in(data: &Path) -> anyhow::Result<PathBuf> {
    let routes = data.join(ROUTES_FOLDER);
    hms_disk::files::make_folders(&routes, 0o700)
        .with_context(|| format!("cannot create {}; choose another --data", routes.display()))?;
    Ok(routes)
}

/// Has the host follow the routes and grants that lie beside the windows of the plan.
pub(super) async fn follow(folders: &serve::Folders, plan: &Plan) {
    let homes: Vec<PathBuf> = plan.homes().map(|(_, dir)| dir.to_owned()).collect();
    let of = |folder: &str| homes.iter().map(|home| home.join(folder)).collect();
    folders
        .follow_also(of(ROUTES_FOLDER), of(GRANTS_FOLDER))
        .await;
}

fn say(what: &str) {
    hms_telemetry::warn(&format!("hms up: {what}"));
}

/// Deploys what was built, unless it is what is live already.
pub(super) async fn deploy(
    windows: &Arc<Registry>,
    built: &Built,
    by: &str,
) -> anyhow::Result<FileDeploy> {
    let name = &built.window;
    let options = DeployOptions {
        by: by.into(),
        // Whoever builds it here knows what it needs.
        consent: Consent::Everything,
        ..DeployOptions::default()
    };
    Ok(windows.deploy_file(name, &built.wasm, options).await?)
}
