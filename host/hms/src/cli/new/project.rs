//! A template, made a project: names put in, and written whole or not at all.

use super::align;
use super::catalogue::{COMMON, FILES, Language};
use anyhow::{Context, bail};
use hms_windows::WindowName;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Names of files that cargo, git or npm would take for theirs in the templates' own folder.
const HIDDEN: [(&str, &str); 4] = [
    ("_Cargo.toml", "Cargo.toml"),
    ("_cargo", ".cargo"),
    ("_gitignore", ".gitignore"),
    ("_npmrc", ".npmrc"),
];

/// The files of a project, each with its text.
pub(super) struct Project {
    files: BTreeMap<PathBuf, String>,
}

impl Project {
    /// The window `name`, from a template that this language has.
    pub(super) fn new(lang: &Language, template: &str, name: &WindowName) -> Self {
        let mut files = BTreeMap::new();
        for from in [COMMON, template] {
            let kit = format!("vendor/{}/{from}/", lang.name);
            let own = format!("templates/{}/{from}/", lang.name);
            for (file, text) in FILES {
                let (path, text) = match (file.strip_prefix(&*kit), file.strip_prefix(&*own)) {
                    (Some(file), _) => (Path::new("vendor").join(file), vendored(file, text)),
                    // What says what is in `vendor`.
                    (_, Some("_vendor.txt")) | (None, None) => continue,
                    (None, Some(file)) => {
                        let text = align::filled(text, |part| with_names(part, name));
                        (project_path(file, name), text)
                    }
                };
                files.insert(path, text);
            }
        }
        Project { files }
    }

    /// Writes it, and gives the names of its own files: those of the kit in `vendor` are left out.
    ///
    /// # Errors
    /// If the folder has something in it. Then, and if writing fails, it is as it was before.
    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<Vec<String>> {
        let shown = folder.display();
        let exists = match fs::read_dir(folder) {
            Ok(entries) => {
                let mut names = entries.flatten().map(|entry| entry.file_name());
                if names.any(|name| name != ".git") {
                    bail!("{shown} is not empty; nothing was written: choose another folder");
                }
                true
            }
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                bail!("{shown} is a file; nothing was written: choose another folder")
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {shown}")),
        };
        let beside = match exists {
            true => folder.to_owned(),
            false => {
                let parent = folder.parent().filter(|it| !it.as_os_str().is_empty());
                let parent = parent.unwrap_or(Path::new("."));
                fs::create_dir_all(parent)
                    .with_context(|| format!("cannot make {}", parent.display()))?;
                parent.to_owned()
            }
        };
        let temporary = beside.join(format!(".hms-new-{}", std::process::id()));
        let made = self
            .write_into(&temporary)
            .and_then(|()| match exists {
                true => move_entries(&temporary, folder),
                // Fails if somebody was faster.
                false => fs::rename(&temporary, folder),
            })
            .with_context(|| format!("cannot write {shown}"));
        if made.is_err() {
            let _ = fs::remove_dir_all(&temporary);
        }
        made?;
        let own = self.files.keys().filter(|path| !path.starts_with("vendor"));
        Ok(own.map(|path| path.display().to_string()).collect())
    }

    fn write_into(&self, folder: &Path) -> std::io::Result<()> {
        for (path, text) in &self.files {
            let path = folder.join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, text)?;
        }
        Ok(())
    }
}

/// The manifest of a cargo workspace that a folder lies in. Cargo refuses a workspace among the
/// members of another.
pub(super) fn enclosing_workspace(folder: &Path) -> Option<PathBuf> {
    let folder = folder.canonicalize().ok()?;
    let manifests = folder.ancestors().skip(1).map(|it| it.join("Cargo.toml"));
    manifests.into_iter().find(|manifest| {
        let text = fs::read_to_string(manifest).unwrap_or_default();
        text.lines().any(|line| line.trim() == "[workspace]")
    })
}

/// Moves everything in `from` into `to`, or nothing.
fn move_entries(from: &Path, to: &Path) -> std::io::Result<()> {
    let names: Vec<OsString> = fs::read_dir(from)?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<std::io::Result<_>>()?;
    for (at, name) in names.iter().enumerate() {
        if let Err(error) = fs::rename(from.join(name), to.join(name)) {
            for name in names.iter().take(at) {
                let _ = fs::rename(to.join(name), from.join(name));
            }
            return Err(error);
        }
    }
    fs::remove_dir(from)
}

/// Where a template's file goes.
fn project_path(file: &str, name: &WindowName) -> PathBuf {
    file.split('/')
        .map(|part| {
            let hidden = HIDDEN.iter().find(|(from, _)| *from == part);
            with_names(hidden.map_or(part, |(_, to)| to), name)
        })
        .collect()
}

fn with_names(text: &str, name: &WindowName) -> String {
    let name = name.as_str();
    text.replace("{{name}}", name)
        .replace("{{ident}}", &name.replace('-', "_"))
}

/// A file of the kit. A manifest is without what it has in its repository alone: the workspace that
/// it belongs to, and what only its own tests need, which npm would install in each project.
fn vendored(file: &str, text: &str) -> String {
    let lines = text.split_inclusive('\n');
    match Path::new(file).file_name().and_then(|name| name.to_str()) {
        Some("Cargo.toml") => lines
            .filter(|line| !line.starts_with("workspace = "))
            .collect(),
        Some("package.json") => {
            let mut is_dev = false;
            let of_all = |line: &&str| {
                let was_dev = is_dev;
                is_dev = line.starts_with("  \"devDependencies\"") || is_dev && *line != "  },\n";
                !is_dev && !was_dev
            };
            lines.filter(of_all).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::new::catalogue::LANGUAGES;
    use serde_json::Value;

    #[test]
    fn kit_of_a_project_needs_nothing_that_only_its_own_tests_need() {
        let language = LANGUAGES.iter().find(|it| it.name == "js").unwrap();
        let project = Project::new(language, "http", &"fees".parse().unwrap());
        let text = &project.files[Path::new("vendor/hms-window/package.json")];
        let mut own: Value =
            serde_json::from_str(include_str!("../../../../../sdk/js/package.json")).unwrap();
        let own = own.as_object_mut().unwrap();
        assert!(own.remove("devDependencies").is_some());
        let vendored: Value = serde_json::from_str(text).unwrap();
        assert_eq!(vendored.as_object(), Some(&*own));
    }
}
