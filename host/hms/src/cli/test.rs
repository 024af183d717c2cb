//! `hms test`: an author's tests beside a real host of their own.

use super::build;
use super::project::{self, CommandWindow, Plan, Profile, Workspace};
use super::serve::{OpenHost, Purpose};
use super::show::{text, time};
use super::up::{allow_services_beside, deploy, ensure_windows, follow};
use crate::children::Group;
use crate::config::Settings;
use anyhow::{Context, bail};
use clap::{Args, FromArgMatches};
use hms_admin::token;
use hms_core::units::Time;
use hms_gateway::plugins::auth::dev_secret;
use hms_windows::{Registry, WindowName};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::Command;

/// The user of the token that tests are given, and how long it is valid.
const USER: &str = "test";
const TOKEN_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Build the windows in a folder, and run their tests beside a host that serves them.
///
/// The host has ports and a data folder of its own, the routes and grants that lie beside the
/// windows, and ends with the tests. They find it by the environment: HMS_URL is the gateway,
/// HMS_TOKEN a token of the user `test` with every scope that the routes ask for, HMS_ADMIN and
/// HMS_ADMIN_TOKEN the admin API, HMS_BIN this program.
#[derive(Debug, Args)]
pub(super) struct Test {
    /// The folder of the window, or one above several
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Run this command, in the folder, in place of the tests that the windows name [default:
    /// `test` of window.toml, or that of the language]
    #[arg(long, value_name = "CMD")]
    command: Option<String>,
    /// Build for production
    #[arg(long)]
    release: bool,
    /// Let the windows import wasi:otel 0.2.0-rc.2, as `hms serve --wasi-otel` does
    #[arg(long, env = "HMS_WASI_OTEL")]
    wasi_otel: bool,
    /// How long the tests may take
    #[arg(long, value_name = "TIME", default_value = "30m")]
    time: Time,
}

/// The tests failed.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(super) struct Failed {
    what: String,
    /// The exit status of the tests.
    pub(super) status: u8,
}

/// A command that tests.
struct Run {
    /// As it is told.
    shown: String,
    command: Command,
}

impl Test {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let roots = project::roots(vec![self.dir.clone()])?;
        ensure_windows(&roots, &[]).await?;
        let plan = Plan::read(&roots, &[], &say).await;
        let windows = project::windows(plan.homes().count());
        say(&format!(
            "building {windows} for the host beside the tests (the first time takes a minute)"
        ));
        let profile = match self.release {
            true => Profile::Release,
            false => Profile::Author,
        };
        let runs = self.runs(
            &plan,
            roots.first().map_or(Path::new("."), PathBuf::as_path),
        )?;
        let work = build::all(&plan, profile, &say);
        let (built, faults) = build::unless_interrupted(work).await?;
        if faults > 0 {
            bail!("nothing was tested: {faults} of the windows or folders have faults, see above");
        }
        let folder = tempfile::Builder::new().prefix("hms-test-").tempdir();
        let folder = folder.context("cannot create a folder for the data of the tests")?;
        let mut settings = settings(folder.path())?;
        settings.wasi_otel = self.wasi_otel;
        let data = settings.data.clone();
        let Some(host) = OpenHost::open(settings, Purpose::Tests).await? else {
            return Err(failed("the tests were interrupted".into(), 130).into());
        };
        let (windows, folders) = (host.windows.clone(), host.folders());
        let (banner, shutdown) = (host.banner(), host.shutdown.clone());
        let tests = async {
            follow(&folders, &plan).await;
            for window in &built {
                let live = deploy(&windows, window, "hms test").await;
                live.with_context(|| format!("{} was not deployed", window.window))?;
            }
            let secret = dev_secret::load_or_create(&data)?;
            let scopes: Vec<String> = folders.scopes().into_iter().collect();
            let token = dev_secret::issue_token(&secret, USER, &scopes, TOKEN_TIME);
            let environment = [
                ("HMS_URL", banner.gateway.clone()),
                ("HMS_TOKEN", token.map_err(anyhow::Error::msg)?),
                (
                    "HMS_ADMIN",
                    banner.admin.trim_start_matches("http://").to_owned(),
                ),
                ("HMS_ADMIN_TOKEN", token::load(&data)?),
                ("HMS_DATA", data.display().to_string()),
                ("HMS_BIN", std::env::current_exe()?.display().to_string()),
            ];
            let mut failed = None;
            for run in runs {
                failed = failed.or(run.run(&environment).await?);
            }
            Ok::<_, anyhow::Error>(failed)
        };
        let tests = async {
            let time = self.time.duration();
            let ended = shutdown
                .run_until_cancelled(tokio::time::timeout(time, tests))
                .await;
            shutdown.cancel();
            match ended {
                Some(Ok(outcome)) => outcome,
                Some(Err(_)) => Ok(Some(failed(
                    format!("the tests took longer than {}", self.time),
                    1,
                ))),
                None => Ok(Some(failed("the tests were interrupted".into(), 130))),
            }
        };
        let (served, outcome) = tokio::join!(host.run(), tests);
        let failed = outcome?;
        if let Some(failed) = failed {
            for (name, _) in plan.homes() {
                show_log(&windows, name);
            }
            return Err(failed.into());
        }
        served
    }

    /// What is to be run, in order.
    fn runs(&self, plan: &Plan, root: &Path) -> anyhow::Result<Vec<Run>> {
        if let Some(command) = &self.command {
            return Ok(vec![Run::by_shell(command, root)?]);
        }
        let mut runs = Vec::new();
        for workspace in &plan.workspaces {
            for window in &workspace.windows {
                if let Some(command) = &window.test {
                    runs.push(Run::by_shell(command, window.dir())?);
                }
            }
            runs.extend(Run::by_cargo(workspace));
        }
        for CommandWindow { dir, test, .. } in &plan.commands {
            if let Some(command) = test {
                runs.push(Run::by_shell(command, dir)?);
            }
        }
        anyhow::ensure!(
            !runs.is_empty(),
            "no window says how it is tested: add test = \"…\" to its {}, or give --command CMD",
            project::WINDOW_TOML
        );
        Ok(runs)
    }
}

impl Run {
    fn by_shell(command: &str, dir: &Path) -> anyhow::Result<Run> {
        if let Some(missing) = project::missing(command, dir) {
            bail!("nothing was tested: {missing}");
        }
        Ok(Run {
            shown: command.to_owned(),
            command: project::shell(command, dir),
        })
    }

    /// The packages of a workspace that name no command of their own.
    fn by_cargo(workspace: &Workspace) -> Option<Run> {
        let windows = workspace
            .windows
            .iter()
            .filter(|window| window.test.is_none());
        let mut packages: Vec<&str> = windows.map(|window| window.package.as_str()).collect();
        packages.dedup();
        let mut command = project::cargo();
        command
            .arg("test")
            .arg("--manifest-path")
            .arg(&workspace.manifest);
        for package in &packages {
            command.args(["--package", package]);
        }
        let shown = format!("cargo test --package {}", packages.join(" --package "));
        (!packages.is_empty()).then_some(Run { shown, command })
    }

    /// None where they pass.
    async fn run(mut self, environment: &[(&str, String)]) -> anyhow::Result<Option<Failed>> {
        say(&format!("{} …", self.shown));
        let environment = environment.iter().map(|(name, value)| (*name, value));
        // A group of its own, so that all that the tests have started ends with them.
        self.command.envs(environment);
        self.command.stdin(Stdio::null()).process_group(0);
        let child = self.command.spawn();
        let mut child = child.with_context(|| format!("cannot run `{}`", self.shown))?;
        let group = child.id().and_then(Group::led_by);
        let status = child.wait().await;
        if let Some(group) = group {
            group.release();
        }
        let status = status.with_context(|| format!("cannot run `{}`", self.shown))?;
        Ok((!status.success()).then(|| {
            let what = format!("`{}` failed with {status}", self.shown);
            failed(what, of_shell(status))
        }))
    }
}

fn failed(what: String, status: u8) -> Failed {
    Failed { what, status }
}

/// As a shell gives it.
fn of_shell(status: ExitStatus) -> u8 {
    let signal = || status.signal().map(|signal| 128 + signal);
    let code = status.code().or_else(signal).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// The settings of a host that is nobody else's: those of the environment are for another.
fn settings(folder: &Path) -> anyhow::Result<Settings> {
    let [data, routes, grants] = ["data", "routes", "windows"].map(|name| folder.join(name));
    for folder in [&routes, &grants] {
        std::fs::create_dir(folder)?;
    }
    let command = Settings::augment_args(clap::Command::new("hms test").no_binary_name(true));
    let mut command = command.mut_args(|arg| arg.env(None::<&'static str>));
    let any = "127.0.0.1:0";
    let matches = command.try_get_matches_from_mut(["--gateway", any, "--admin", any])?;
    let mut settings = Settings::from_arg_matches(&matches)?;
    settings.data = data;
    settings.routes = routes;
    settings.grants = Some(grants);
    allow_services_beside(&mut settings);
    Ok(settings)
}

/// Shows what the instances of a window have written.
fn show_log(windows: &Registry, name: &WindowName) {
    let lines = windows.log(name).map(|log| log.lines).unwrap_or_default();
    if lines.is_empty() {
        return;
    }
    say(&format!("the log of {name}:"));
    for line in lines {
        let level = line
            .level
            .as_ref()
            .map(|level| format!("{} ", level.to_uppercase()));
        let level = text(&level.unwrap_or_default());
        hms_telemetry::warn(&format!("  {} {level}{}", time(line.at), text(&line.text)));
    }
}

fn say(what: &str) {
    hms_telemetry::warn(&format!("hms test: {what}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_of_a_test_is_that_of_its_shell() {
        for (raw, status) in [(0x0300, 3), (15, 143), (0x0100, 1)] {
            assert_eq!(of_shell(ExitStatus::from_raw(raw)), status);
        }
    }

    #[test]
    fn host_of_a_test_has_a_folder_and_ports_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path()).unwrap();
        assert!(settings.data.starts_with(folder.path()));
        assert_eq!((settings.gateway.port(), settings.admin.port()), (0, 0));
        assert!(crate::config::Config::try_from(settings).is_ok());
    }
}
