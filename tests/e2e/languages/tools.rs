//! Components made by the tools of other languages, where they are installed.

use hms_harness::root;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// Where a language's tools are, and how they get there.
pub(super) struct Tools {
    place: PathBuf,
    install: &'static str,
}

/// Those of sdk/js.
pub(super) fn node_modules() -> Tools {
    Tools {
        place: root().join("sdk/js/node_modules/componentize-qjs"),
        install: "npm ci --prefix sdk/js",
    }
}

/// Those of sdk/python.
pub(super) fn venv() -> Tools {
    Tools {
        place: root().join("sdk/python/.venv/bin/hms-window"),
        install: "python3 -m venv sdk/python/.venv && \
                  sdk/python/.venv/bin/pip install --editable sdk/python",
    }
}

/// Those of sdk/c: zig beside the tools of sdk/python, and jco by npx, which fetches it.
pub(super) fn zig() -> Tools {
    Tools {
        place: root().join("sdk/python/.venv/bin/python-zig"),
        install: "python3 -m venv sdk/python/.venv && \
                  sdk/python/.venv/bin/pip install ziglang==0.17.1",
    }
}

/// An example of sdk/js.
pub(crate) async fn javascript(example: &str) -> Option<Vec<u8>> {
    available("JavaScript", node_modules())?;
    let sdk = root().join("sdk/js");
    let mut node = Command::new("node");
    node.arg(sdk.join("bin/hms-window-build.js"))
        .arg(sdk.join(format!("examples/{example}/index.js")));
    Some(built("javascript", example, node).await)
}

/// An example of sdk/python.
pub(crate) async fn python(example: &str) -> Option<Vec<u8>> {
    let hms_window = available("Python", venv())?;
    let sdk = root().join("sdk/python");
    let mut build = Command::new(hms_window);
    build
        .arg("build")
        .arg(sdk.join(format!("examples/{example}/app.py")));
    Some(built("python", example, build).await)
}

/// An example of sdk/c.
pub(crate) async fn c(example: &str) -> Option<Vec<u8>> {
    let zig = available("C", zig())?;
    let folder = output(&format!("{example}-c"));
    let mut make = Command::new("make");
    make.arg("--directory")
        .arg(root().join(format!("sdk/c/examples/{example}")))
        .arg(format!("OUT={}", folder.display()))
        .arg(format!("ZIG={}", zig.display()));
    done("c", make).await;
    Some(std::fs::read(folder.join(format!("{example}.wasm"))).unwrap())
}

/// Where the tools of a language are, if it can be gone on with.
pub(super) fn available(language: &str, tools: Tools) -> Option<PathBuf> {
    if !tools.place.exists() {
        let sentence = format!(
            "the tools for {language} are not installed: {}",
            tools.install
        );
        assert!(std::env::var_os("CI").is_none(), "{sentence}");
        eprintln!("skipped: {sentence}");
        return None;
    }
    Some(tools.place)
}

/// What `build` makes, once it is told where to.
async fn built(language: &str, example: &str, mut build: Command) -> Vec<u8> {
    let wasm = output(&format!("{example}-{language}.wasm"));
    build.arg("-o").arg(&wasm);
    done(language, build).await;
    std::fs::read(wasm).unwrap()
}

async fn done(language: &str, mut build: Command) {
    let done = build.stdin(Stdio::null()).output().await.unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{language}: {said}");
}

fn output(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("languages");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}
