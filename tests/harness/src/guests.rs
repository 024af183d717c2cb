//! The components that the tests deploy, built once for each run of the tests.

use super::root;
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;
use tokio::sync::OnceCell;
use wasmparser::{Parser, Payload};

const TARGET: &str = "wasm32-wasip2";

/// The cargo setting with which the host links windows. A unit test of the host holds the two to
/// each other: with another, `hms up` in a test would build all guests anew.
pub const LINKING: &str = "target.wasm32-wasip2.rustflags=['-Clink-arg=--initial-heap=1048576']";

static BUILT: OnceCell<HashMap<String, PathBuf>> = OnceCell::const_new();

async fn built() -> &'static HashMap<String, PathBuf> {
    BUILT
        .get_or_init(|| async {
            ensure_target().await;
            let mut all = HashMap::new();
            // Apart, as `hms up` builds the windows: cargo unifies features over what it builds
            // together.
            for folder in ["components", "tests/guests"] {
                all.extend(build(&root().join(folder)).await);
            }
            all
        })
        .await
}

/// Adds the guests' target where rustc does not have it.
async fn ensure_target() {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", TARGET]);
    let asked = rustc.stderr(Stdio::null()).output().await.unwrap();
    let folder = String::from_utf8_lossy(&asked.stdout);
    if !Path::new(folder.trim()).is_dir() {
        let mut rustup = Command::new("rustup");
        let added = rustup.args(["target", "add", TARGET]).status().await;
        assert!(added.unwrap().success(), "rustup did not add {TARGET}");
    }
}

/// Builds the packages whose folders are in `folder`: each component by its package's name.
async fn build(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Flags for the host's own build: they would be another build of every guest.
    for name in ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(name);
    }
    cargo
        .args([
            "build",
            "--release",
            "--target",
            TARGET,
            "--config",
            LINKING,
        ])
        .args(["--message-format", "json-render-diagnostics"])
        .arg("--manifest-path")
        .arg(root().join("components/Cargo.toml"));
    // Packages are named as their folders.
    for entry in std::fs::read_dir(folder).unwrap() {
        let package = entry.unwrap().path();
        if package.join("Cargo.toml").is_file() {
            cargo.arg("--package").arg(package.file_name().unwrap());
        }
    }
    let output = cargo.stderr(Stdio::inherit()).output().await.unwrap();
    assert!(output.status.success(), "the guests do not build");
    let messages = String::from_utf8(output.stdout).unwrap();
    messages.lines().filter_map(component).collect()
}

/// The component that a line of cargo's output says was built.
fn component(line: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let files = message["filenames"].as_array()?;
    let files = files.iter().filter_map(Value::as_str);
    let wasm = PathBuf::from(files.into_iter().find(|file| file.ends_with(".wasm"))?);
    let name = wasm.file_stem()?.to_str()?.replace('_', "-");
    Some((name, wasm))
}

/// The folder that cargo builds guests in.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("components/target"),
    }
}

/// The file of one of our windows, or of a test guest.
pub async fn path(name: &str) -> PathBuf {
    built()
        .await
        .get(name)
        .unwrap_or_else(|| panic!("no guest named {name}"))
        .clone()
}

/// The bytes of one of our windows.
pub async fn window(name: &str) -> Vec<u8> {
    std::fs::read(path(name).await).unwrap()
}

/// The bytes of a test guest.
pub async fn guest(name: &str) -> Vec<u8> {
    window(name).await
}

/// The interfaces that a component imports, by their full names.
pub fn imports(component: &[u8]) -> Vec<String> {
    let (mut depth, mut names) = (0, Vec::new());
    for payload in Parser::new(0).parse_all(component) {
        match payload.unwrap() {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(imports) if depth == 0 => {
                let imports = imports.into_iter().map(|import| import.unwrap());
                names.extend(imports.map(|import| import.name.name.to_owned()));
            }
            _ => {}
        }
    }
    names
}

/// The same component with other bytes: a custom section more, which changes its digest and nothing
/// else.
pub fn variant(component: &[u8], mark: &str) -> Vec<u8> {
    let name = b"variant";
    let mut section = vec![name.len() as u8];
    section.extend(name);
    section.extend(mark.as_bytes());
    assert!(
        section.len() < 128,
        "the section's length must fit in one byte"
    );
    let mut bytes = component.to_vec();
    bytes.push(0);
    bytes.push(section.len() as u8);
    bytes.extend(section);
    bytes
}
