//! What cargo says of a workspace: which of its packages are windows, and which folders they are
//! built from.

use super::build::{TARGET, cargo};
use anyhow::{Context, bail};
use serde::Deserialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A workspace with windows.
#[derive(Debug)]
pub(super) struct Workspace {
    /// Its `Cargo.toml`.
    pub manifest: PathBuf,
    /// The folder below which a package is a window, with all links resolved.
    pub below: PathBuf,
    /// The packages there that make a component.
    pub windows: Vec<String>,
    /// The packages on this machine that the windows are built from, themselves among them: folder
    /// and name.
    pub sources: Vec<(PathBuf, String)>,
}

impl Workspace {
    /// Asks cargo. What it says goes to our stderr as it wrote it.
    ///
    /// # Errors
    /// When cargo is not there, or cannot read the workspace.
    pub(super) async fn read(manifest: &Path, below: &Path) -> anyhow::Result<Self> {
        let below = resolved(below)?;
        // Cargo gives the paths of packages by the path that it was given.
        let folder = manifest
            .parent()
            .map_or_else(|| resolved(Path::new(".")), resolved)?;
        let manifest = folder.join(manifest.file_name().unwrap_or_default());
        let output = cargo()
            .args(["metadata", "--format-version", "1"])
            .args(["--filter-platform", TARGET])
            .arg("--manifest-path")
            .arg(&manifest)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .await
            .context("cargo was not found: install Rust with rustup (see rustup.rs)")?;
        if !output.status.success() {
            bail!(
                "{} is not a valid cargo workspace; see cargo's message above",
                manifest.display()
            );
        }
        let metadata: Metadata =
            serde_json::from_slice(&output.stdout).context("cannot read cargo's metadata")?;
        let windows: Vec<&Package> = metadata.windows(&below).collect();
        Ok(Workspace {
            manifest,
            windows: windows.iter().map(|package| package.name.clone()).collect(),
            sources: metadata.local(&windows),
            below,
        })
    }
}

fn resolved(folder: &Path) -> anyhow::Result<PathBuf> {
    folder
        .canonicalize()
        .with_context(|| format!("{} does not exist", folder.display()))
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
}

#[derive(Deserialize)]
struct Target {
    crate_types: Vec<String>,
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

impl Metadata {
    fn windows(&self, below: &Path) -> impl Iterator<Item = &Package> {
        let makes_component = |target: &Target| {
            let mut types = target.crate_types.iter();
            types.any(|kind| kind == "cdylib" || kind == "bin")
        };
        self.packages.iter().filter(move |package| {
            self.workspace_members.contains(&package.id)
                && package.manifest_path.starts_with(below)
                && package.targets.iter().any(makes_component)
        })
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
