//! Builds guest components with cargo, adding the target where it is missing.

use crate::windows::WindowName;
use anyhow::{Context, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// What windows are compiled for.
pub const TARGET: &str = "wasm32-wasip2";

/// A component that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The window that it is for: its package's name.
    pub window: WindowName,
    /// Where it is.
    pub wasm: PathBuf,
}

/// Sees to it that rustc can compile for [`TARGET`], by rustup where it cannot. `say` is told before anything takes long.
///
/// # Errors
/// What to install.
pub async fn ensure_target(say: &(dyn Fn(&str) + Sync)) -> anyhow::Result<()> {
    let libdir = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .stderr(Stdio::null())
        .output()
        .await
        .context("rustc is not there: install Rust with rustup (see rustup.rs), which `hms up` builds windows with")?;
    let libdir = PathBuf::from(String::from_utf8_lossy(&libdir.stdout).trim());
    if libdir.is_dir() {
        return Ok(());
    }
    say(&format!("adding the Rust target {TARGET} (once)"));
    let added = Command::new("rustup")
        .args(["target", "add", TARGET])
        .stdin(Stdio::null())
        .status()
        .await;
    match added {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => bail!("rustup could not add the target {TARGET}; its message is above"),
        Err(_) => bail!(
            "the Rust target {TARGET} is missing and rustup is not there to add it: install rustup (see rustup.rs), or your \
             distribution's package of that target"
        ),
    }
}

/// Builds the workspace at `manifest` for [`TARGET`] and gives the components whose packages lie below `below`. What the
/// compiler says goes to our stderr as it wrote it.
///
/// # Errors
/// When a package does not build, or there is none.
pub async fn build(
    manifest: &Path,
    below: &Path,
    envs: &[(&str, &str)],
) -> anyhow::Result<Vec<Built>> {
    let below = below
        .canonicalize()
        .with_context(|| format!("{} is not there", below.display()))?;
    let packages = packages(manifest, &below).await?;
    if packages.is_empty() {
        bail!("there is no window to build below {}", below.display());
    }
    let mut command = cargo();
    command.args([
        "build",
        "--release",
        "--target",
        TARGET,
        "--message-format",
        "json-render-diagnostics",
    ]);
    command
        .arg("--manifest-path")
        .arg(manifest)
        .envs(envs.iter().copied());
    for package in &packages {
        command.args(["--package", package]);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child
        .stdout
        .take()
        .context("cargo's output cannot be read")?;
    let mut lines = BufReader::new(stdout).lines();
    let mut built = Vec::new();
    while let Some(line) = lines.next_line().await? {
        let Ok(message) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        built.extend(artifact(&message, &below));
    }
    if !child.wait().await?.success() {
        bail!("the windows did not build; the compiler's message is above");
    }
    built.sort_by(|a, b| a.window.cmp(&b.window));
    Ok(built)
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Set by `cargo run` for us, and of no business to the guests' build.
    for name in ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        command.env_remove(name);
    }
    command.kill_on_drop(true);
    command
}

/// The packages below `below` that make a component.
async fn packages(manifest: &Path, below: &Path) -> anyhow::Result<Vec<String>> {
    let output = cargo()
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--manifest-path",
        ])
        .arg(manifest)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await
        .context("cargo is not there: install Rust with rustup (see rustup.rs)")?;
    if !output.status.success() {
        bail!(
            "{} cannot be read as a cargo workspace; cargo's message is above",
            manifest.display()
        );
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let ours = packages.iter().filter(|package| {
        let inside = package["manifest_path"]
            .as_str()
            .is_some_and(|path| Path::new(path).starts_with(below));
        let targets = package["targets"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let makes_component = targets.iter().any(|target| {
            let types = target["crate_types"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            types.iter().any(|kind| kind == "cdylib" || kind == "bin")
        });
        inside && makes_component
    });
    Ok(ours
        .filter_map(|package| package["name"].as_str().map(str::to_owned))
        .collect())
}

fn artifact(message: &Value, below: &Path) -> Option<Built> {
    let ours = message["reason"] == "compiler-artifact"
        && Path::new(message["manifest_path"].as_str()?).starts_with(below);
    let files = message["filenames"].as_array().filter(|_| ours)?;
    let wasm = files
        .iter()
        .filter_map(Value::as_str)
        .find(|file| file.ends_with(".wasm"))?;
    let window = WindowName::from_file(wasm.as_ref()).ok()?;
    Some(Built {
        window,
        wasm: wasm.into(),
    })
}
