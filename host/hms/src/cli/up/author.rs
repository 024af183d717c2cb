//! Builds and deploys once, and again after every save.

use super::sources::Sources;
use super::{deploy, say};
use crate::cli::banner::Banner;
use crate::cli::build::{Built, build_windows};
use crate::cli::workspace::Workspace;
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

/// Names that are told of what changed; of more, how many.
const MAX_NAMES: usize = 3;

/// Who builds and deploys.
pub(super) struct Author {
    /// The `Cargo.toml` of the workspace.
    pub manifest: PathBuf,
    /// The folder below which packages are windows, with all links resolved.
    pub components: PathBuf,
    pub windows: Arc<Registry>,
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

impl Author {
    /// Never ends by itself. Dropped, it ends what it has started.
    pub(super) async fn run(self) {
        let mut sources = Sources::below(self.components.clone()).await;
        say("building the windows (the first time takes a minute or two)");
        let mut packages = Vec::new();
        let (mut whole, mut next) = self.round(&mut sources, &mut packages, None).await;
        self.banner.tell();
        say(
            "watching: a window is rebuilt and redeployed when its source is saved; press Ctrl-C to stop",
        );
        loop {
            if !whole {
                say(
                    "some windows could not be built or deployed, see above: fix them and save; live releases keep serving",
                );
            }
            let mut save = match next.take() {
                Some(save) => save,
                None => Save::new(sources.changed().await),
            };
            while save.at.elapsed() < MAX_DEBOUNCE
                && let Ok(more) = tokio::time::timeout(DEBOUNCE, sources.changed()).await
            {
                save.files.extend(more);
            }
            let changed = names(&save.files, &packages, &self.components);
            say(&format!("{changed} changed: building…"));
            (whole, next) = self.round(&mut sources, &mut packages, Some(save.at)).await;
        }
    }

    /// Builds and deploys once. Gives whether all went well, and what was saved meanwhile, which
    /// needs another round.
    async fn round(
        &self,
        sources: &mut Sources,
        packages: &mut Vec<(PathBuf, String)>,
        saved: Option<Instant>,
    ) -> (bool, Option<Save>) {
        let workspace = match Workspace::read(&self.manifest, &self.components).await {
            Ok(workspace) => workspace,
            Err(error) => {
                say(&format!("{error:#}"));
                return (false, None);
            }
        };
        let folders = workspace.sources.iter().map(|(folder, _)| folder.clone());
        let roots = folders.chain([self.components.clone()]).collect();
        sources.look_below(roots).await;
        packages.clone_from(&workspace.sources);

        let work = self.build_and_deploy(&workspace, saved);
        tokio::pin!(work);
        let mut next: Option<Save> = None;
        loop {
            tokio::select! {
                whole = &mut work => return (whole, next),
                mut files = sources.changed() => {
                    // Cargo itself writes it.
                    files.retain(|file| !file.ends_with("Cargo.lock"));
                    match &mut next {
                        Some(save) => save.files.extend(files),
                        None if files.is_empty() => {}
                        None => next = Some(Save::new(files)),
                    }
                }
            }
        }
    }

    /// Whether every window was built and deployed.
    async fn build_and_deploy(&self, workspace: &Workspace, saved: Option<Instant>) -> bool {
        if workspace.windows.is_empty() {
            say(&format!(
                "there is no window below {} yet: create a folder with a Cargo.toml there",
                workspace.below.display()
            ));
            return true;
        }
        let started = Instant::now();
        let (built, mut whole) = match build_windows(workspace).await {
            Ok(built) => built,
            Err(error) => {
                say(&format!("{error:#}"));
                return false;
            }
        };
        let took = started.elapsed().as_secs_f32();
        if whole && saved.is_none() {
            say(&format!("built {} windows in {took:.1} s", built.len()));
        }
        let mut told = 0;
        for window in &built {
            let outcome = deploy(&self.windows, window).await;
            let line = self.line(window, outcome, saved, &mut whole).await;
            told += line.iter().map(|line| say(line)).count();
        }
        if whole && told == 0 {
            say(&format!("built in {took:.1} s; no window changed"));
        }
        whole
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
                            "{name} was not deployed: {error:#}; release {} stays",
                            live.number
                        )
                    }
                    _ => format!("{name} was not deployed: {error:#}"),
                })
            }
        }
    }
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

/// What changed: the packages that the files are of, and the files that are of none.
fn names(files: &BTreeSet<PathBuf>, packages: &[(PathBuf, String)], root: &Path) -> String {
    let name = |file: &PathBuf| {
        let of = packages
            .iter()
            .filter(|(folder, _)| file.starts_with(folder));
        let innermost = of.max_by_key(|(folder, _)| folder.as_os_str().len());
        let below = || {
            file.strip_prefix(root)
                .unwrap_or(file)
                .display()
                .to_string()
        };
        innermost.map_or_else(below, |(_, name)| name.clone())
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
        let packages = [
            ("/w/pay".into(), "payments".into()),
            ("/w".into(), "all".into()),
        ];
        let told = |files: &[&str], packages| {
            names(
                &files.iter().map(PathBuf::from).collect(),
                packages,
                Path::new("/w"),
            )
        };
        assert_eq!(
            told(&["/w/pay/src/a.rs", "/w/pay/src/b.rs"], &packages),
            "payments"
        );
        assert_eq!(
            told(&["/w/pay/src/a.rs", "/w/b.rs"], &packages),
            "all, payments"
        );
        assert_eq!(
            told(&["/w/new/src/lib.rs"], &packages[..1]),
            "new/src/lib.rs"
        );
        assert_eq!(
            told(&["/w/1", "/w/2", "/w/3", "/w/4"], &[]),
            "1, 2, 3 and 1 more"
        );
    }
}
