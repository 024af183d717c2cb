//! What a new project needs to be built without a network: that of the repository.

use hms_harness::{guests, root};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Whether the tools of a language are there. Where they are not a walk is skipped, and fails in
/// CI.
pub(super) fn can_build(language: &str) -> bool {
    let sdk = root().join("sdk");
    let (tool, install) = match language {
        "js" | "ts" => (sdk.join("js/node_modules"), "npm ci --prefix sdk/js"),
        "python" => (
            sdk.join("python/.venv/bin/hms-window"),
            "python3 -m venv sdk/python/.venv && \
             sdk/python/.venv/bin/pip install --editable sdk/python",
        ),
        "c" => (
            sdk.join("python/.venv/bin/python-zig"),
            "python3 -m venv sdk/python/.venv && \
             sdk/python/.venv/bin/pip install ziglang==0.17.1",
        ),
        _ => return true,
    };
    if !tool.exists() {
        let sentence = format!("the tools for {language} are not installed: {install}");
        assert!(std::env::var_os("CI").is_none(), "{sentence}");
        eprintln!("skipped: {sentence}");
    }
    tool.exists()
}

/// Gives the projects in `folder` and right below what their builds would fetch: the versions of
/// the guests' lock file, and what is installed for the SDKs.
pub(crate) fn furnish(folder: &Path) {
    let below = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    for project in below.chain([folder.to_owned()]) {
        if project.join("Cargo.toml").is_file() && !project.join("Cargo.lock").exists() {
            fs::copy(
                root().join("components/Cargo.lock"),
                project.join("Cargo.lock"),
            )
            .unwrap();
            // One folder for all pages and for the tests of new projects: what they have in common
            // is built once.
            let target = guests::target().join("new");
            fs::create_dir_all(&target).unwrap();
            symlink(target, project.join("target")).unwrap();
        }
        let modules = project.join("node_modules");
        let is_js = project.join("package-lock.json").is_file();
        if is_js && !modules.exists() {
            let sdk = root().join("sdk/js");
            for folder in [".bin", "@hms-svc"] {
                fs::create_dir_all(modules.join(folder)).unwrap();
            }
            symlink(&sdk, modules.join("@hms-svc/window")).unwrap();
            let build = modules.join(".bin/hms-window-build");
            symlink(sdk.join("bin/hms-window-build.js"), build).unwrap();
        }
        if project.join("build.sh").is_file() && !project.join(".venv").exists() {
            symlink(root().join("sdk/python/.venv"), project.join(".venv")).unwrap();
        }
    }
}
