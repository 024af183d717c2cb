//! What of a plan is to be built after a save.

use crate::cli::project::{CommandWindow, Plan, WINDOW_TOML, Workspace};
use crate::config::{GRANTS_FOLDER, ROUTES_FOLDER};
use hms_disk::files::is_manifest;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// The plan itself is to be read again: there may be other windows.
    pub plan: bool,
    /// The workspaces and the windows of the plan to build, by their places in it.
    pub workspaces: BTreeSet<usize>,
    pub commands: BTreeSet<usize>,
}

impl Work {
    /// What changes of `files` ask for.
    pub(super) fn of(plan: &Plan, files: &BTreeSet<PathBuf>) -> Work {
        let mut work = Work {
            // What is wrong with the plan may be right now.
            plan: !plan.faults.is_empty(),
            ..Work::default()
        };
        for file in files {
            work.plan |= file.ends_with("Cargo.toml") || file.ends_with(WINDOW_TOML);
            // The host follows them by itself.
            if is_manifest_of_window(plan, file) {
                continue;
            }
            let of = plan.commands.iter().enumerate();
            let of: Vec<usize> = of
                .filter(|(_, window)| concerns(window, file))
                .map(first)
                .collect();
            let is_of_command = plan
                .commands
                .iter()
                .any(|window| file.starts_with(&window.dir));
            work.commands.extend(of);
            if !is_of_command {
                work.workspaces.extend(workspaces(plan, file));
            }
        }
        work
    }

    /// Adds what there is to do because the plan is `new`: cargo knows itself what has changed.
    pub(super) fn take_in(&mut self, old: &Plan, new: &Plan) {
        self.workspaces = (0..new.workspaces.len()).collect();
        let again = |window: &CommandWindow| {
            let mut before = old.commands.iter().enumerate();
            let before = before.find(|(_, before)| *before == window);
            before.is_none_or(|(place, _)| self.commands.contains(&place))
        };
        let windows = new.commands.iter().enumerate();
        self.commands = windows
            .filter(|(_, window)| again(window))
            .map(first)
            .collect();
    }

    pub(super) fn is_nothing(&self) -> bool {
        *self == Work::default()
    }

    /// Whether the file is a source of a window that is built by a command.
    pub(super) fn is_of_command(&self, plan: &Plan, file: &Path) -> bool {
        let windows = self.commands.iter();
        let mut windows = windows.filter_map(|place| plan.commands.get(*place));
        windows.any(|window| concerns(window, file))
    }
}

fn first<T>((place, _): (usize, T)) -> usize {
    place
}

/// Whether a change of the file is a new build of the window.
fn concerns(window: &CommandWindow, file: &Path) -> bool {
    match &window.watch {
        Some(watched) => watched.iter().any(|watched| file.starts_with(watched)),
        None => file.starts_with(&window.dir),
    }
}

/// The workspaces that a file is of: those with a package around it, else any.
fn workspaces(plan: &Plan, file: &Path) -> Vec<usize> {
    let is_of = |workspace: &Workspace| {
        let mut sources = workspace.sources.iter();
        sources.any(|(folder, _)| file.starts_with(folder))
    };
    let all = plan.workspaces.iter().enumerate();
    let of: Vec<usize> = all
        .filter(|(_, workspace)| is_of(workspace))
        .map(first)
        .collect();
    match of.is_empty() {
        true => (0..plan.workspaces.len()).collect(),
        false => of,
    }
}

fn is_manifest_of_window(plan: &Plan, file: &Path) -> bool {
    let Some((folder, name)) = file.parent().zip(file.file_name()) else {
        return false;
    };
    let is_theirs = || {
        let mut homes = plan.homes();
        homes.any(|(_, home)| {
            let folders = [ROUTES_FOLDER, GRANTS_FOLDER];
            folders.iter().any(|theirs| home.join(theirs) == folder)
        })
    };
    is_manifest(name) && is_theirs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(dir: &str, watch: Option<&[&str]>) -> CommandWindow {
        CommandWindow {
            name: "w".parse().unwrap(),
            dir: dir.into(),
            command: "make".into(),
            wasm: Path::new(dir).join("w.wasm"),
            watch: watch.map(|watch| watch.iter().map(PathBuf::from).collect()),
            test: None,
        }
    }

    fn workspace(folder: &str) -> Workspace {
        Workspace {
            manifest: Path::new(folder).join("Cargo.toml"),
            windows: Vec::new(),
            sources: vec![(folder.into(), "p".into())],
            members: Vec::new(),
        }
    }

    #[test]
    fn save_builds_only_what_the_file_is_of() {
        let mut plan = Plan {
            workspaces: vec![workspace("/w/rust"), workspace("/w/more")],
            commands: vec![
                window("/w/js", None),
                window("/w/py", Some(&["/w/py/app.py"])),
            ],
            faults: Vec::new(),
        };
        let of = |plan: &Plan, file: &str| {
            let work = Work::of(plan, &BTreeSet::from([file.into()]));
            let places = |places: &BTreeSet<usize>| places.iter().copied().collect::<Vec<_>>();
            (work.plan, places(&work.workspaces), places(&work.commands))
        };
        for (file, work) in [
            ("/w/rust/src/lib.rs", (false, vec![0], vec![])),
            ("/w/shared.txt", (false, vec![0, 1], vec![])),
            ("/w/js/src/app.js", (false, vec![], vec![0])),
            ("/w/js/routes/js.yaml", (false, vec![], vec![])),
            ("/w/py/app.py", (false, vec![], vec![1])),
            ("/w/py/README.md", (false, vec![], vec![])),
            ("/w/py/window.toml", (true, vec![], vec![])),
            ("/w/more/new/Cargo.toml", (true, vec![1], vec![])),
        ] {
            assert_eq!(of(&plan, file), work, "{file}");
        }
        plan.faults.push("something is wrong".into());
        assert!(of(&plan, "/w/py/README.md").0);
    }

    #[test]
    fn new_plan_builds_the_windows_that_are_new_or_changed() {
        let old = Plan {
            commands: vec![window("/a", None), window("/b", None), window("/c", None)],
            ..Plan::default()
        };
        let new = Plan {
            workspaces: vec![workspace("/r")],
            commands: vec![
                window("/0", None),
                window("/a", None),
                window("/b", None),
                window("/c", Some(&[])),
            ],
            ..Plan::default()
        };
        let mut work = Work::of(&old, &BTreeSet::from(["/b/app.js".into()]));
        work.take_in(&old, &new);
        assert_eq!(work.commands, BTreeSet::from([0, 2, 3]));
        assert_eq!(work.workspaces, BTreeSet::from([0]));
    }
}
