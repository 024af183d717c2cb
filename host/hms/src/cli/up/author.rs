//! Builds and deploys once, and again after every save.

use super::own_writes::{AfterBuild, OwnWrites};
use super::sources::Sources;
use super::work::Work;
use super::{deploy, follow, say};
use crate::cli::banner::Banner;
use crate::cli::project::{self, Built, Plan, Profile, build_windows};
use crate::cli::serve::Folders;
use hms_api::{WindowState, WindowStatus};
use hms_windows::{FileDeploy, Registry};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Saves that follow each other so closely are one: "save all" in an editor, a formatter after it.
/// 50 ms.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// A build begins at the latest so long after the first save, however many follow: a checkout of
/// another branch. 1 s.
const MAX_DEBOUNCE: Duration = Duration::from_secs(1);

/// Changed names listed in a message; the rest are counted.
const MAX_NAMES: usize = 3;

/// Who builds and deploys.
pub(super) struct Author {
    /// The folders below which windows are, with all links resolved.
    pub roots: Vec<PathBuf>,
    /// Folders in which none are and which hold no sources: the data folder.
    pub out: Vec<PathBuf>,
    pub profile: Profile,
    pub windows: Arc<Registry>,
    pub folders: Folders,
    /// Shown after the first build.
    pub banner: Banner,
}

/// Source files that were saved, and when that was seen first.
struct Save {
    at: Instant,
    files: BTreeSet<PathBuf>,
}

impl Save {
    fn new(files: BTreeSet<PathBuf>) -> Self {
        let at = Instant::now();
        Save { at, files }
    }
}

/// What is known from one build to the next.
struct Known {
    plan: Plan,
    sources: Sources,
    own_writes: OwnWrites,
}

impl Known {
    /// What is saved within that time, while nothing is built.
    async fn saved(&mut self, within: Duration) -> Option<BTreeSet<PathBuf>> {
        let files = tokio::time::timeout(within, self.sources.changed()).await;
        files.ok().inspect(|files| self.own_writes.saved(files))
    }
}

impl Author {
    /// Never ends by itself. Dropped, it ends what it has started.
    pub(super) async fn run(self) {
        let mut known = Known {
            plan: Plan::default(),
            sources: Sources::below(self.roots.clone(), self.out.clone()).await,
            own_writes: OwnWrites::default(),
        };
        say("building the windows (the first time takes a minute or two)");
        let (mut whole, mut after) = self.round(&mut known, None).await;
        self.banner.print();
        say(
            "watching: a window is rebuilt and redeployed when its source is saved; press Ctrl-C to stop",
        );
        loop {
            if !whole {
                say(
                    "some windows could not be built or deployed, see above: fix them and save; live releases keep serving",
                );
            }
            let save = next_save(&mut known, after).await;
            (whole, after) = self.round(&mut known, Some(save)).await;
        }
    }

    /// Builds and deploys once: all, or what a save needs. Gives whether all went well, and what
    /// follows from the saves meanwhile.
    async fn round(&self, known: &mut Known, save: Option<Save>) -> (bool, AfterBuild) {
        let Known {
            plan,
            sources,
            own_writes,
        } = known;
        let saved = save.as_ref().map(|save| save.at);
        let mut work = match &save {
            Some(save) => Work::of(plan, &save.files),
            None => Work::default(),
        };
        if work.is_nothing() && save.is_some() {
            return (true, AfterBuild::default());
        }
        if let Some(save) = &save {
            let changed = names(&save.files, plan, &self.roots);
            say(&format!("{changed} changed: building…"));
        }
        if save.is_none() || work.plan {
            let new = Plan::read(&self.roots, &self.out, &say).await;
            let old = std::mem::replace(plan, new);
            work.take_in(&old, plan);
            follow(&self.folders, plan).await;
            sources
                .look_below(self.looked_at(plan), self.left_out(plan))
                .await;
        }
        let mut during = BTreeSet::new();
        let whole = {
            let work = self.build_and_deploy(plan, &work, saved);
            tokio::pin!(work);
            loop {
                tokio::select! {
                    whole = &mut work => break whole,
                    files = sources.changed() => during.extend(files),
                }
            }
        };
        if !work.commands.is_empty() {
            // What the build has written at its end is not seen yet.
            during.extend(sources.changed_now().await);
        }
        // Cargo itself writes it.
        during.retain(|file| !file.ends_with("Cargo.lock"));
        let after = own_writes.built(during, |file| work.is_of_command(plan, file));
        if !after.own.is_empty() {
            let files = names_of_files(&after.own, &self.roots);
            say(&format!(
                "{files} changed during each of the last builds, so the build itself writes it, \
                 and a change during a build starts none; 'watch' in window.toml says what does"
            ));
        } else if !after.pause.is_zero() {
            let seconds = after.pause.as_secs();
            say(&format!(
                "sources changed during several builds in a row: the next one in {seconds} s, or \
                 with the next save"
            ));
        }
        (whole, after)
    }

    /// Where sources of the plan are, and where there may be new ones.
    fn looked_at(&self, plan: &Plan) -> Vec<PathBuf> {
        let of_cargo = plan
            .workspaces
            .iter()
            .flat_map(|workspace| &workspace.sources);
        let of_cargo = of_cargo.map(|(folder, _)| folder.clone());
        let watched = plan.commands.iter().flat_map(|window| &window.watch);
        let roots = self.roots.iter().cloned();
        roots
            .chain(of_cargo)
            .chain(watched.flatten().cloned())
            .collect()
    }

    /// What is below that and is no source.
    fn left_out(&self, plan: &Plan) -> Vec<PathBuf> {
        let outputs = plan.commands.iter().flat_map(|window| {
            // A folder for what is built holds more than the component.
            let folder = window.wasm.parent();
            let folder =
                folder.filter(|folder| **folder != window.dir && folder.starts_with(&window.dir));
            [Some(window.wasm.clone()), folder.map(Path::to_owned)]
        });
        let out = self.out.iter().cloned();
        out.chain(outputs.flatten()).collect()
    }

    /// Whether every window of the `work` was built and deployed.
    async fn build_and_deploy(&self, plan: &Plan, work: &Work, saved: Option<Instant>) -> bool {
        for fault in &plan.faults {
            say(fault);
        }
        let mut whole = plan.faults.is_empty();
        let started = Instant::now();
        let (mut built, mut told) = (0, 0);
        for index in &work.workspaces {
            let Some(workspace) = plan.workspaces.get(*index) else {
                continue;
            };
            match build_windows(workspace, self.profile).await {
                Ok((windows, all)) => {
                    whole &= all;
                    built += windows.len();
                    told += self.deploy_all(&windows, saved, &mut whole).await;
                }
                Err(error) => {
                    say(&format!("{error:#}"));
                    whole = false;
                }
            }
        }
        for index in &work.commands {
            let Some(window) = plan.commands.get(*index) else {
                continue;
            };
            match window.build(self.profile).await {
                Ok(window) => {
                    built += 1;
                    told += self.deploy_all(&[window], saved, &mut whole).await;
                }
                Err(fault) => {
                    say(&fault);
                    whole = false;
                }
            }
        }
        let took = started.elapsed().as_secs_f32();
        if plan.homes().next().is_none() {
            say("there is no window yet: `hms new NAME` makes one");
        } else if whole && saved.is_none() {
            say(&format!("built {} in {took:.1} s", project::windows(built)));
        } else if whole && told == 0 {
            say(&format!("built in {took:.1} s; no window changed"));
        }
        whole
    }

    /// Deploys what was built, and gives of how many windows something was said.
    async fn deploy_all(&self, built: &[Built], saved: Option<Instant>, whole: &mut bool) -> usize {
        let mut told = 0;
        for window in built {
            let outcome = deploy(&self.windows, window, "hms up").await;
            let line = self.line(window, outcome, saved, whole).await;
            told += line.iter().map(|line| say(line)).count();
        }
        told
    }

    /// What is said of one window; nothing where a save left it as it is.
    async fn line(
        &self,
        built: &Built,
        outcome: anyhow::Result<FileDeploy>,
        saved: Option<Instant>,
        whole: &mut bool,
    ) -> Option<String> {
        let name = &built.window;
        match outcome {
            Ok(FileDeploy::Deployed(deployed)) => {
                let number = deployed.release.number;
                Some(match saved.map(|at| at.elapsed().as_secs_f32()) {
                    Some(took) => {
                        format!("{name} release {number} is live ({took:.1} s after the save)")
                    }
                    None => format!("{name} release {number} is live"),
                })
            }
            Ok(FileDeploy::Unchanged(status)) if saved.is_none() => Some(unchanged(&status)),
            Ok(FileDeploy::Unchanged(_)) => None,
            Err(error) => {
                *whole = false;
                Some(match self.windows.status(name) {
                    Ok((
                        WindowStatus {
                            live: Some(live), ..
                        },
                        _,
                    )) => {
                        format!(
                            "{name} was not deployed: {error}; release {} stays",
                            live.number
                        )
                    }
                    _ => format!("{name} was not deployed: {error}"),
                })
            }
        }
    }
}

/// Waits for a save, unless there is something to build for again.
async fn next_save(known: &mut Known, after: AfterBuild) -> Save {
    let wait = match after.again.is_empty() {
        true => Duration::MAX,
        false => after.pause,
    };
    let mut save = Save::new(after.again);
    if let Some(files) = known.saved(wait).await {
        save.files.extend(files);
        save.at = Instant::now();
    }
    while save.at.elapsed() < MAX_DEBOUNCE
        && let Some(more) = known.saved(DEBOUNCE).await
    {
        save.files.extend(more);
    }
    save
}

fn unchanged(status: &WindowStatus) -> String {
    let name = &status.name;
    let number = status.live.as_ref().map_or(0, |live| live.number);
    match &status.state {
        WindowState::Open => format!("{name} is unchanged: release {number} is live"),
        state @ (WindowState::Stopped | WindowState::Unavailable) => {
            format!("{name} is unchanged and {state}; `hms start {name}` opens it")
        }
        state => format!("{name} is unchanged: release {number} is live, and {state}"),
    }
}

/// What changed: the windows and packages that the files are of, and the files that are of none.
fn names(files: &BTreeSet<PathBuf>, plan: &Plan, roots: &[PathBuf]) -> String {
    let packages = plan
        .workspaces
        .iter()
        .flat_map(|workspace| &workspace.sources);
    let packages = packages.map(|(folder, name)| (folder.as_path(), name.as_str()));
    let windows = plan
        .commands
        .iter()
        .map(|window| (&*window.dir, window.name.as_str()));
    let owners: Vec<(&Path, &str)> = packages.chain(windows).collect();
    named(files, &owners, roots)
}

fn names_of_files(files: &BTreeSet<PathBuf>, roots: &[PathBuf]) -> String {
    named(files, &[], roots)
}

fn named(files: &BTreeSet<PathBuf>, owners: &[(&Path, &str)], roots: &[PathBuf]) -> String {
    let name = |file: &PathBuf| {
        let of = owners.iter().filter(|(folder, _)| file.starts_with(folder));
        let innermost = of.max_by_key(|(folder, _)| folder.as_os_str().len());
        let below = || {
            let mut roots = roots.iter();
            let below = roots.find_map(|root| file.strip_prefix(root).ok());
            below.unwrap_or(file).display().to_string()
        };
        innermost.map_or_else(below, |(_, name)| (*name).to_owned())
    };
    let names: BTreeSet<String> = files.iter().map(name).collect();
    let shown: Vec<&str> = names.iter().take(MAX_NAMES).map(String::as_str).collect();
    match names.len().saturating_sub(MAX_NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_file_is_reported_by_its_package_or_else_its_path() {
        let owners = [(Path::new("/w/pay"), "payments"), (Path::new("/w"), "all")];
        let told = |files: &[&str], owners| {
            let files = files.iter().map(PathBuf::from).collect();
            named(&files, owners, &["/w".into()])
        };
        assert_eq!(
            told(&["/w/pay/src/a.rs", "/w/pay/src/b.rs"], &owners),
            "payments"
        );
        assert_eq!(
            told(&["/w/pay/src/a.rs", "/w/b.rs"], &owners),
            "all, payments"
        );
        assert_eq!(told(&["/w/new/src/lib.rs"], &owners[..1]), "new/src/lib.rs");
        assert_eq!(
            told(&["/w/1", "/w/2", "/w/3", "/w/4"], &[]),
            "1, 2, 3 and 1 more"
        );
    }
}
