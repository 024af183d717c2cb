//! Components made by the tools of other languages, where they are installed.

use hms_harness::root;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// An example of sdk/js.
pub(super) async fn javascript(example: &str) -> Option<Vec<u8>> {
    let sdk = root().join("sdk/js");
    let install = "npm ci --prefix sdk/js";
    let found = sdk.join("node_modules/componentize-qjs").is_dir();
    available("JavaScript", found, install)?;
    let mut node = Command::new("node");
    node.arg(sdk.join("bin/hms-window-build.js"))
        .arg(sdk.join(format!("examples/{example}/index.js")));
    Some(built("javascript", example, node).await)
}

/// An example of sdk/python.
pub(super) async fn python(example: &str) -> Option<Vec<u8>> {
    let sdk = root().join("sdk/python");
    let install = "python3 -m venv sdk/python/.venv && \
                   sdk/python/.venv/bin/pip install --editable sdk/python";
    let python = sdk.join(".venv/bin/hms-window");
    available("Python", python.is_file(), install)?;
    let mut build = Command::new(python);
    build
        .arg("build")
        .arg(sdk.join(format!("examples/{example}/app.py")));
    Some(built("python", example, build).await)
}

/// Whether to go on with a language.
fn available(language: &str, found: bool, install: &str) -> Option<()> {
    if !found {
        let sentence = format!("the tools for {language} are not installed: {install}");
        assert!(std::env::var_os("CI").is_none(), "{sentence}");
        eprintln!("skipped: {sentence}");
        return None;
    }
    Some(())
}

/// What `build` makes, once it is told where to.
async fn built(language: &str, example: &str, mut build: Command) -> Vec<u8> {
    let wasm = output(&format!("{example}-{language}.wasm"));
    build.arg("-o").arg(&wasm).stdin(Stdio::null());
    let done = build.output().await.unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{language}: {said}");
    std::fs::read(wasm).unwrap()
}

fn output(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("languages");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}
