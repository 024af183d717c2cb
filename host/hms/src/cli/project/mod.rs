//! The windows of an author: found below folders, and built by the tool of their language.
//!
//! `find` looks for folders with a `window.toml` (`file`) or a `Cargo.toml`; cargo says which
//! packages are windows (`workspace`). [`Plan`] is all of that. Rust is built by `cargo`,
//! everything else by its own `command`; `tools` says what to install.

mod cargo;
mod command;
mod file;
mod find;
mod tools;
mod workspace;

pub(super) use self::cargo::{build_windows, cargo, ensure_target};
pub(super) use command::{CommandWindow, shell};
pub(super) use file::WINDOW_TOML;
pub(super) use find::CACHE_TAG;
pub(super) use tools::missing;
pub(super) use workspace::Workspace;

use anyhow::Context;
use file::{How, WindowFile};
use hms_windows::WindowName;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The guest workspace in a clone of this repository.
const COMPONENTS: &str = "components";

/// For whom windows are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Profile {
    /// An author at work: soon, with names and lines.
    Author,
    /// Production: small and fast.
    Release,
}

impl Profile {
    /// As build commands read it in `HMS_PROFILE`.
    fn as_str(self) -> &'static str {
        match self {
            Profile::Author => "author",
            Profile::Release => "release",
        }
    }
}

/// A component that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Built {
    /// The window that it is for.
    pub window: WindowName,
    /// Where it is.
    pub wasm: PathBuf,
}

/// What is built below some folders, and what is wrong there.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub workspaces: Vec<Workspace>,
    pub commands: Vec<CommandWindow>,
    pub faults: Vec<String>,
}

impl Plan {
    /// Looks below `roots`, but not into the folders `except`; all have their links resolved. `say`
    /// is told before anything takes long.
    pub(super) async fn read(
        roots: &[PathBuf],
        except: &[PathBuf],
        say: &(dyn Fn(&str) + Sync),
    ) -> Plan {
        let (looked, left_out) = (roots.to_owned(), except.to_owned());
        let found = tokio::task::spawn_blocking(move || find::find(&looked, &left_out));
        let found = found.await.unwrap_or_default();
        let mut plan = Plan {
            faults: found.faults,
            ..Plan::default()
        };
        for window in &found.windows {
            plan.add_command(window);
        }
        let of_cargo = |dir: &&PathBuf| !plan.commands.iter().any(|window| window.dir == **dir);
        let packages: Vec<PathBuf> = found.packages.iter().filter(of_cargo).cloned().collect();
        if !packages.is_empty()
            && let Err(error) = ensure_target(say).await
        {
            plan.faults.push(format!("{error:#}"));
        }
        for folder in packages {
            let mut known = plan
                .workspaces
                .iter()
                .flat_map(|workspace| &workspace.members);
            if known.any(|member| *member == folder) {
                continue;
            }
            match Workspace::read(&folder, roots, &found.windows, &mut plan.faults).await {
                Ok(workspace) => plan.workspaces.push(workspace),
                Err(error) => plan.faults.push(format!("{error:#}")),
            }
        }
        plan.workspaces
            .retain(|workspace| !workspace.windows.is_empty());
        plan.keep_each_name_once();
        plan
    }

    fn add_command(&mut self, window: &WindowFile) {
        let How::Command { build, wasm } = &window.how else {
            return;
        };
        let below = |path: &PathBuf| normal(&window.dir.join(path));
        match window.name_or_folder() {
            Ok(name) => self.commands.push(CommandWindow {
                name,
                dir: window.dir.clone(),
                command: build.clone(),
                wasm: below(wasm),
                watch: window
                    .watch
                    .as_ref()
                    .map(|watch| watch.iter().map(below).collect()),
                test: window.test_command().map(str::to_owned),
            }),
            Err(fault) => self.faults.push(fault),
        }
    }

    /// Of two windows with one name the first by path stays.
    fn keep_each_name_once(&mut self) {
        let mut all: BTreeMap<WindowName, Vec<PathBuf>> = BTreeMap::new();
        for (name, dir) in self.homes() {
            all.entry(name.clone()).or_default().push(dir.to_owned());
        }
        for (name, mut dirs) in all {
            dirs.sort();
            let [first, others @ ..] = dirs.as_slice() else {
                continue;
            };
            for other in others {
                self.faults.push(format!(
                    "two windows are called '{name}', in {} and {}: the first is built; give the other a name of its \
                     own in its {WINDOW_TOML}",
                    first.display(),
                    other.display()
                ));
            }
            let stays = |its: &WindowName, dir: &Path| *its != name || dir == first;
            self.commands
                .retain(|window| stays(&window.name, &window.dir));
            for workspace in &mut self.workspaces {
                let windows = &mut workspace.windows;
                windows.retain(|window| stays(&window.name, window.dir()));
            }
        }
    }

    /// Each window and its folder, in which its routes and grants are.
    pub(super) fn homes(&self) -> impl Iterator<Item = (&WindowName, &Path)> {
        let of_cargo = self
            .workspaces
            .iter()
            .flat_map(|workspace| &workspace.windows);
        let of_cargo = of_cargo.map(|window| (&window.name, window.dir()));
        let others = self
            .commands
            .iter()
            .map(|window| (&window.name, &*window.dir));
        of_cargo.chain(others)
    }
}

/// The folders to look below, with their links resolved: those that were named, or else the guest
/// workspace of a clone, or else the current folder.
///
/// # Errors
/// Which of them does not exist.
pub(super) fn roots(dirs: Vec<PathBuf>) -> anyhow::Result<Vec<PathBuf>> {
    let dirs = match dirs.is_empty() {
        false => dirs,
        true if Path::new(COMPONENTS).join("Cargo.toml").is_file()
            && !Path::new(WINDOW_TOML).exists() =>
        {
            vec![COMPONENTS.into()]
        }
        true => vec![".".into()],
    };
    let resolved = |dir: PathBuf| -> anyhow::Result<PathBuf> {
        let folder = dir.canonicalize().ok().filter(|dir| dir.is_dir());
        folder.with_context(|| format!("{} is not a folder", dir.display()))
    };
    let mut roots = dirs
        .into_iter()
        .map(resolved)
        .collect::<Result<Vec<_>, _>>()?;
    roots.sort();
    roots.dedup_by(|below, above| below.starts_with(above));
    Ok(roots)
}

/// Whether there is anything below the folders that is or may become a window. Blocks.
pub(super) fn has_any(roots: &[PathBuf], except: &[PathBuf]) -> bool {
    let found = find::find(roots, except);
    !(found.windows.is_empty() && found.packages.is_empty() && found.faults.is_empty())
}

/// Whether there is a cargo package below the folders. Blocks.
pub(super) fn needs_rust(roots: &[PathBuf], except: &[PathBuf]) -> bool {
    let found = find::find(roots, except);
    let by_command = |dir: &PathBuf| {
        let mut windows = found.windows.iter();
        windows.any(|window| window.dir == *dir && window.how != How::Cargo)
    };
    found.packages.iter().any(|dir| !by_command(dir))
}

/// So many windows, in words.
pub(super) fn windows(count: usize) -> String {
    match count {
        1 => "1 window".into(),
        count => format!("{count} windows"),
    }
}

/// The path without `.` and `..`, by its text.
fn normal(path: &Path) -> PathBuf {
    let mut whole = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                whole.pop();
            }
            part => whole.push(part),
        }
    }
    whole
}
