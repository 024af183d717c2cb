//! Builds guest components with cargo, adding the target where it is missing.

use super::workspace::{CargoWindow, Workspace};
use super::{Built, Profile};
use crate::children::Group;
use anyhow::{Context, bail};
use serde::Deserialize;
use std::path::PathBuf;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// What windows are compiled for.
pub(super) const TARGET: &str = "wasm32-wasip2";

/// Memory for an instance's heap that is there from its start, 1 MiB, as a cargo setting. The
/// linker leaves next to none, and then each instance grows its memory: two changes of the
/// process's memory map for each request, which every other thread waits for.
const HEAP: &str = "target.wasm32-wasip2.rustflags=['-Clink-arg=--initial-heap=1048576']";

/// The profile of an author at work, whose name is also that of its folder below `target/`: what is
/// built for production stays as it is. Quick to build again: incremental, and without link-time
/// optimisation. Names and lines of the author's own code are kept, so that a trap tells where it
/// was; those of other crates would double the component.
const AUTHOR: &str = "hms-author";
const AUTHOR_SETTINGS: [&str; 7] = [
    "inherits='dev'",
    "opt-level=1",
    "debug='line-tables-only'",
    "strip='none'",
    "lto='off'",
    "incremental=true",
    "package.'*'.debug=false",
];

/// What is said where there is no cargo.
pub(super) const NO_CARGO: &str = "cargo was not found: install Rust with rustup (see rustup.rs)";

/// Sees to it that rustc can compile for [`TARGET`], by rustup where it cannot. `say` is told
/// before anything takes long.
///
/// # Errors
/// What to install.
pub(in crate::cli) async fn ensure_target(say: &(dyn Fn(&str) + Sync)) -> anyhow::Result<()> {
    let libdir = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .stderr(Stdio::null())
        .output()
        .await
        .context("rustc was not found: install Rust with rustup (see rustup.rs); `hms up` builds windows with it")?;
    let libdir = PathBuf::from(String::from_utf8_lossy(&libdir.stdout).trim());
    if libdir.is_dir() {
        return Ok(());
    }
    say(&format!("adding the Rust target {TARGET} (once)"));
    let added = Command::new("rustup")
        .args(["target", "add", TARGET])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await;
    match added {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => bail!("rustup could not add the target {TARGET}; see its message above"),
        Err(_) => bail!(
            "the Rust target {TARGET} is missing, and rustup was not found to add it: install rustup (see rustup.rs), or your \
             distribution's package for that target"
        ),
    }
}

/// Builds every window of the workspace, gives those that could be built, and whether these are
/// all. What the compiler says goes to our stderr as it wrote it. Dropping the future ends cargo
/// and every compiler that it has started.
///
/// # Errors
/// When cargo cannot be run.
pub(in crate::cli) async fn build_windows(
    workspace: &Workspace,
    profile: Profile,
) -> anyhow::Result<(Vec<Built>, bool)> {
    let mut command = cargo();
    command
        .args(["build", "--target", TARGET, "--config", HEAP])
        // One window that does not build is no reason to keep another one back.
        .arg("--keep-going")
        .args(["--message-format", "json-render-diagnostics"])
        .arg("--manifest-path")
        .arg(&workspace.manifest);
    match profile {
        Profile::Release => {
            command.arg("--release");
        }
        Profile::Author => {
            command.args(["--profile", AUTHOR]);
            for setting in AUTHOR_SETTINGS {
                command.args(["--config", &format!("profile.{AUTHOR}.{setting}")]);
            }
        }
    }
    let mut packages: Vec<&str> = (workspace.windows.iter())
        .map(|window| window.package.as_str())
        .collect();
    packages.dedup();
    for package in packages {
        command.args(["--package", package]);
    }
    let mut child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context(NO_CARGO)?;
    // Cargo and the compilers that it starts.
    let group = child.id().and_then(Group::led_by);
    let stdout = child.stdout.take().context("cannot read cargo's output")?;
    let mut lines = BufReader::new(stdout).lines();
    let mut built = Vec::new();
    while let Some(line) = lines.next_line().await? {
        let message = serde_json::from_str::<Message>(&line).ok();
        built.extend(message.and_then(|message| message.component(&workspace.windows)));
    }
    let whole = child.wait().await?.success();
    if let Some(group) = group {
        group.release();
    }
    built.sort_by(|a, b| a.window.cmp(&b.window));
    Ok((built, whole))
}

/// Cargo, in the environment that the user gave us.
pub(in crate::cli) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Flags for the host's own build: they would be another build of every guest.
    for name in ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        command.env_remove(name);
    }
    command.kill_on_drop(true);
    command
}

/// A line of cargo's output, as far as it is of interest.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    target: Target,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize, Default)]
struct Target {
    name: String,
}

impl Message {
    /// The component that it says was built, if that is one of `windows`.
    fn component(self, windows: &[CargoWindow]) -> Option<Built> {
        if self.reason != "compiler-artifact" {
            return None;
        }
        let is_wasm = |file: &PathBuf| file.extension().is_some_and(|end| end == "wasm");
        let wasm = self.filenames.into_iter().find(is_wasm)?;
        let mut windows = windows.iter();
        let window = windows.find(|window| {
            window.manifest == self.manifest_path && window.target == self.target.name
        })?;
        Some(Built {
            window: window.name.clone(),
            wasm,
        })
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn tests_link_guests_as_the_host_does() {
        assert_eq!(hms_harness::guests::LINKING, super::HEAP);
    }
}
