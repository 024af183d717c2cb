//! `hms build`: the windows below folders, each by the tool of its language.

use super::project::{self, Built, Plan, Profile};
use super::show::size;
use crate::signals::Interrupts;
use anyhow::Context;
use clap::Args;
use hms_core::printable::Printable;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Build the windows in folders.
///
/// A window is a folder with a window.toml, or a cargo package that makes a component. Prints the
/// name, the file and the size of each window that was built.
#[derive(Debug, Args)]
pub(super) struct Build {
    /// Folders with windows, in them or below [default: components, if it is a cargo workspace,
    /// else .]
    #[arg(value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// Build for production: small and fast, but slow to build again
    #[arg(long)]
    release: bool,
}

impl Build {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let roots = project::roots(self.dirs)?;
        super::up::ensure_windows(&roots, &[]).await?;
        let profile = match self.release {
            true => Profile::Release,
            false => Profile::Author,
        };
        let started = Instant::now();
        let work = async {
            let plan = Plan::read(&roots, &[], &say).await;
            all(&plan, profile, &say).await
        };
        let (built, faults) = unless_interrupted(work).await?;
        for Built { window, wasm } in &built {
            let bytes = std::fs::metadata(wasm).map_or(0, |file| file.len());
            let wasm = Printable(short(wasm).display());
            say!("{window}  {wasm}  {}", size(bytes));
        }
        anyhow::ensure!(
            faults == 0,
            "{faults} of the windows or folders have faults, see above"
        );
        let took = started.elapsed().as_secs_f32();
        say(&format!(
            "built {} in {took:.1} s",
            project::windows(built.len())
        ));
        Ok(())
    }
}

/// What comes of `work`. A signal drops it, and with it all that it has started: build tools are in
/// groups of their own, which the terminal's signal does not reach.
///
/// # Errors
/// [`Interrupted`](crate::signals::Interrupted).
pub(super) async fn unless_interrupted<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    let mut interrupts = Interrupts::watch().context("cannot handle signals")?;
    tokio::select! {
        done = work => Ok(done),
        interrupted = interrupts.next() => Err(interrupted.into()),
    }
}

/// Builds all of a plan, tells `say` of each fault, and gives what was built and how many faults
/// there are.
pub(super) async fn all(
    plan: &Plan,
    profile: Profile,
    say: &(dyn Fn(&str) + Sync),
) -> (Vec<Built>, usize) {
    let (mut built, mut faults) = (Vec::new(), plan.faults.len());
    for fault in &plan.faults {
        say(fault);
    }
    for workspace in &plan.workspaces {
        match project::build_windows(workspace, profile).await {
            Ok((some, whole)) => {
                built.extend(some);
                faults += usize::from(!whole);
            }
            Err(error) => {
                say(&format!("{error:#}"));
                faults += 1;
            }
        }
    }
    for window in &plan.commands {
        match window.build(profile).await {
            Ok(one) => built.push(one),
            Err(fault) => {
                say(&fault);
                faults += 1;
            }
        }
    }
    (built, faults)
}

fn say(what: &str) {
    hms_telemetry::warn(&format!("hms build: {what}"));
}

/// A path below the current folder, as people write it.
fn short(path: &Path) -> &Path {
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    let below = here.ok().and_then(|here| path.strip_prefix(here).ok());
    below.unwrap_or(path)
}
