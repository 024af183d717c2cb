//! Builds components for the tests.

use serde_json::Value;
use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What windows are compiled for.
const TARGET: &str = "wasm32-wasip2";

/// Soon built, and small: the host has a copy of it for each test. A panic says its line anyway,
/// and functions keep their names.
const PROFILE: [&str; 2] = ["profile.dev.opt-level=1", "profile.dev.debug=false"];

/// The folder for what is built here and for tests alone, in cargo's own: cargo holds a lock on
/// that, and what the tests need differs.
pub(super) fn folder() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    // TARGET/debug/deps/NAME-HASH
    let target = program.ancestors().nth(3).map(Path::to_owned);
    target.unwrap_or_default().join("hms-window-testing")
}

/// The folder of the package whose tests these are.
pub(super) fn package() -> PathBuf {
    match env::var_os("CARGO_MANIFEST_DIR") {
        Some(folder) => folder.into(),
        None => env::current_dir().unwrap_or_default(),
    }
}

/// Builds the component of the package in `folder`. Another process that builds is waited for, by
/// cargo's lock.
pub(super) fn component(package: &Path) -> Vec<u8> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Of the tests' own build.
    for name in ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(name);
    }
    let manifest = package.join("Cargo.toml");
    if !folder().exists() {
        // Past the capture of cargo's tests, which would keep it to themselves.
        let what = format!(
            "building the window for {TARGET}: the first time takes a minute, and the tests wait"
        );
        let _ = writeln!(std::io::stderr(), "hms-window: {what}");
    }
    cargo
        .args(["build", "--lib", "--target", TARGET, "--target-dir"])
        .arg(folder())
        .args(PROFILE.iter().flat_map(|setting| ["--config", setting]))
        .args(["--message-format", "json-render-diagnostics"])
        .arg("--manifest-path")
        .arg(&manifest)
        // Where .cargo/config.toml is looked for.
        .current_dir(package)
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    let output = cargo
        .output()
        .unwrap_or_else(|error| panic!("cargo cannot be started: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "the window does not build for {TARGET}:\n{said}\n\
         Where the target is missing: rustup target add {TARGET}"
    );
    let manifest = manifest.canonicalize().unwrap_or(manifest);
    let wasm = String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(|line| artifact(line, &manifest));
    let wasm = wasm.unwrap_or_else(|| {
        panic!(
            "{} makes no component: add `crate-type = [\"cdylib\"]` to its [lib]",
            manifest.display()
        )
    });
    std::fs::read(&wasm).unwrap_or_else(|error| panic!("{}: {error}", wasm.display()))
}

/// The component that this line of cargo's output says was built of that package.
fn artifact(line: &str, manifest: &Path) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    let of = Path::new(message.get("manifest_path")?.as_str()?);
    let files = message.get("filenames")?.as_array()?;
    let mut files = files.iter().filter_map(Value::as_str);
    let wasm = files.find(|file| file.ends_with(".wasm"))?;
    (of.canonicalize().ok()? == manifest).then(|| wasm.into())
}
