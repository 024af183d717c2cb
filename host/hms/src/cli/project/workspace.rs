//! What cargo says of a workspace: which of its packages are windows, and which folders they are
//! built from.

use super::cargo::{NO_CARGO, TARGET, cargo};
use super::file::{How, WINDOW_TOML, WindowFile};
use anyhow::{Context, bail};
use hms_windows::WindowName;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The crate that windows are written with.
const SDK: &str = "hms-window";

/// A workspace with windows.
#[derive(Debug)]
pub(in crate::cli) struct Workspace {
    /// Its `Cargo.toml`, or that of one of its packages.
    pub manifest: PathBuf,
    /// The windows of it.
    pub windows: Vec<CargoWindow>,
    /// The packages on this machine that the windows are built from, themselves among them: folder
    /// and name.
    pub sources: Vec<(PathBuf, String)>,
    /// The folders of all its packages.
    pub members: Vec<PathBuf>,
}

/// A window that cargo builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct CargoWindow {
    pub name: WindowName,
    pub package: String,
    /// The package's `Cargo.toml`, and which target of it is the window.
    pub manifest: PathBuf,
    pub target: String,
    /// The command that tests it, if its `window.toml` has one.
    pub test: Option<String>,
}

impl CargoWindow {
    /// The folder of its package.
    pub(in crate::cli) fn dir(&self) -> &Path {
        self.manifest.parent().unwrap_or(Path::new("/"))
    }
}

impl Workspace {
    /// Asks cargo about the workspace of the package, or of the packages, in `folder`. A package
    /// below one of `roots` is a window if it makes a component; `files` are what folders say of
    /// their windows. What cargo says goes to our stderr as it wrote it. What is wrong with single
    /// packages is added to `faults`. All paths have their links resolved.
    ///
    /// # Errors
    /// When cargo is not there, or cannot read the workspace.
    pub(super) async fn read(
        folder: &Path,
        roots: &[PathBuf],
        files: &[WindowFile],
        faults: &mut Vec<String>,
    ) -> anyhow::Result<Self> {
        let manifest = folder.join("Cargo.toml");
        let output = cargo()
            .args(["metadata", "--format-version", "1"])
            .args(["--filter-platform", TARGET])
            .arg("--manifest-path")
            .arg(&manifest)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .await
            .context(NO_CARGO)?;
        if !output.status.success() {
            bail!(
                "{}: cargo cannot read it; see its message above",
                manifest.display()
            );
        }
        let metadata: Metadata =
            serde_json::from_slice(&output.stdout).context("cannot read cargo's metadata")?;
        let (mut windows, mut packages) = (Vec::new(), Vec::new());
        for package in metadata.members_below(roots) {
            let file = files.iter().find(|file| Some(&*file.dir) == package.dir());
            if file.is_some_and(|file| file.how != How::Cargo) {
                continue;
            }
            let before = windows.len();
            windows.extend(package.windows(file, faults));
            if windows.len() > before {
                packages.push(package);
            } else if metadata.is_meant_as_window(package, file) {
                faults.push(format!(
                    "{}: no window is built of '{}', because it is an ordinary library: add crate-type = [\"cdylib\"] \
                     below [lib]",
                    package.manifest_path.display(),
                    package.name
                ));
            }
        }
        Ok(Workspace {
            windows,
            sources: metadata.local(&packages),
            members: metadata
                .members()
                .filter_map(Package::dir)
                .map(Path::to_owned)
                .collect(),
            manifest,
        })
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: PathBuf,
    /// None for a package on this machine.
    source: Option<String>,
    targets: Vec<Target>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    /// Not `crate_types`, by which tests and build scripts are programs.
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

impl Target {
    fn is(&self, kind: &str) -> bool {
        self.kind.iter().any(|its| its == kind)
    }
}

impl Package {
    fn dir(&self) -> Option<&Path> {
        self.manifest_path.parent()
    }

    /// Its windows: one for each target that makes a component.
    fn windows(&self, file: Option<&WindowFile>, faults: &mut Vec<String>) -> Vec<CargoWindow> {
        let made = |target: &&Target| target.is("cdylib") || target.is("bin");
        let targets: Vec<&Target> = self.targets.iter().filter(made).collect();
        let named = file
            .and_then(|file| file.name.clone())
            .filter(|_| targets.len() == 1);
        let mut windows = Vec::new();
        for target in targets {
            let of_target = || WindowName::from_file(format!("{}.wasm", target.name).as_ref());
            match named.clone().map_or_else(of_target, Ok) {
                Ok(name) => windows.push(CargoWindow {
                    name,
                    package: self.name.clone(),
                    manifest: self.manifest_path.clone(),
                    target: target.name.clone(),
                    test: file.and_then(|file| file.test.clone()),
                }),
                Err(why) => faults.push(format!(
                    "{}: {why}; rename the target, or say name = \"…\" in a {WINDOW_TOML} beside it",
                    self.manifest_path.display()
                )),
            }
        }
        windows
    }
}

impl Metadata {
    fn members(&self) -> impl Iterator<Item = &Package> {
        let is_member = |package: &&Package| self.workspace_members.contains(&package.id);
        self.packages.iter().filter(is_member)
    }

    fn members_below<'a>(&'a self, roots: &'a [PathBuf]) -> impl Iterator<Item = &'a Package> {
        let is_below = |package: &&Package| {
            let mut roots = roots.iter();
            roots.any(|root| package.manifest_path.starts_with(root))
        };
        self.members().filter(is_below)
    }

    /// Whether somebody expects a window of a package that makes no component: it has a file that
    /// says so, or is written with our SDK, and no other package uses it as a library.
    fn is_meant_as_window(&self, package: &Package, file: Option<&WindowFile>) -> bool {
        let makes = |kind: &str| package.targets.iter().any(|target| target.is(kind));
        let uses_sdk = || package.dependencies.iter().any(|needed| needed.name == SDK);
        let is_used = || {
            let mut nodes = self.resolve.nodes.iter();
            nodes.any(|node| node.dependencies.contains(&package.id))
        };
        let is_component = makes("cdylib") || makes("bin");
        !is_component && (file.is_some() || (uses_sdk() && !is_used()))
    }

    /// The packages of this machine among `of` and all that they depend on.
    fn local(&self, of: &[&Package]) -> Vec<(PathBuf, String)> {
        let needs: HashMap<&str, &[String]> = (self.resolve.nodes.iter())
            .map(|node| (node.id.as_str(), node.dependencies.as_slice()))
            .collect();
        let mut wanted: Vec<&str> = of.iter().map(|package| package.id.as_str()).collect();
        let mut next = 0;
        while let Some(id) = wanted.get(next) {
            let needed = needs.get(id).copied().unwrap_or_default();
            for id in needed {
                if !wanted.contains(&id.as_str()) {
                    wanted.push(id);
                }
            }
            next += 1;
        }
        let is_local =
            |package: &&Package| package.source.is_none() && wanted.contains(&package.id.as_str());
        let folder = |package: &Package| {
            let folder = package.manifest_path.parent()?;
            Some((folder.to_owned(), package.name.clone()))
        };
        self.packages
            .iter()
            .filter(is_local)
            .filter_map(folder)
            .collect()
    }
}
