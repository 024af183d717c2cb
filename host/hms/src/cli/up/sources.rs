//! The files that the windows are built from, and which of them changed.

use super::say;
use crate::cli::project::CACHE_TAG;
use hms_disk::changes::{Changes, LOOK_EVERY};
use hms_disk::stamp::FileStamp;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Source files that are looked at. 20,000: a look at them takes some tens of milliseconds; what is
/// more is not watched, which is said.
const MAX_FILES: usize = 20_000;

/// Folders whose events are followed. 2,000 of the 8,192 that Linux gives a user at the least; a
/// change in another is seen by the next look.
const MAX_FOLLOWED: usize = 2_000;

/// How deep folders may lie. 64, which no source tree reaches and a loop of mounts does.
const MAX_DEPTH: usize = 64;

/// Folders that tools fill with what they have fetched or made.
const OF_TOOLS: [&str; 3] = ["node_modules", "__pycache__", "venv"];

/// The sources below some folders.
pub(super) struct Sources {
    roots: Vec<PathBuf>,
    /// What is no source: files, and folders with all that is in them.
    except: Vec<PathBuf>,
    seen: Look,
    changes: Changes,
    /// It was said that there are too many.
    said: bool,
}

#[derive(Default)]
struct Look {
    files: BTreeMap<PathBuf, FileStamp>,
    folders: Vec<PathBuf>,
    /// There are more files, which are not watched.
    more: bool,
}

impl Sources {
    /// Those below `roots`, as they are now.
    pub(super) async fn below(roots: Vec<PathBuf>, except: Vec<PathBuf>) -> Self {
        let mut sources = Sources {
            roots: Vec::new(),
            except: Vec::new(),
            seen: Look::default(),
            changes: Changes::new(),
            said: false,
        };
        sources.look_below(roots, except).await;
        sources
    }

    /// Looks below `roots`, but not at `except`, from now on. What is there and was not looked at
    /// so far is taken as it is.
    pub(super) async fn look_below(&mut self, mut roots: Vec<PathBuf>, except: Vec<PathBuf>) {
        roots.sort();
        roots.dedup_by(|below, above| below.starts_with(above));
        self.except = except;
        let is_out = |file: &PathBuf| self.except.iter().any(|out| file.starts_with(out));
        self.seen.files.retain(|file, _| !is_out(file));
        if roots == self.roots {
            return;
        }
        let before = std::mem::replace(&mut self.roots, roots);
        for (file, stamp) in self.look().await.files {
            if !before.iter().any(|root| file.starts_with(root)) {
                self.seen.files.insert(file, stamp);
            }
        }
    }

    /// Resolves once files were written, made or removed since the last time, and gives them. May
    /// be dropped: what was not given is given the next time.
    pub(super) async fn changed(&mut self) -> BTreeSet<PathBuf> {
        loop {
            let changed = self.changed_now().await;
            if !changed.is_empty() {
                return changed;
            }
            self.changes.wait(LOOK_EVERY).await;
        }
    }

    /// Files that were written, made or removed since the last time.
    pub(super) async fn changed_now(&mut self) -> BTreeSet<PathBuf> {
        let now = self.look().await;
        self.changes
            .follow(now.folders.iter().take(MAX_FOLLOWED))
            .await;
        if now.more && !std::mem::replace(&mut self.said, true) {
            say(&format!(
                "there are more than {MAX_FILES} source files, and saves of the rest are not \
                 noticed: move folders without sources elsewhere, or mark them with a {CACHE_TAG}"
            ));
        }
        let changed = difference(&self.seen.files, &now.files);
        self.seen = now;
        changed
    }

    async fn look(&self) -> Look {
        let (roots, except) = (self.roots.clone(), self.except.clone());
        let look = tokio::task::spawn_blocking(move || {
            let mut look = Look::default();
            for root in &roots {
                match root.is_dir() {
                    true => look.walk(root, &except, 0),
                    false => look.file(root.clone()),
                }
            }
            look
        });
        look.await.unwrap_or_default()
    }
}

impl Look {
    /// What cannot be read is not there: the compiler will say so.
    fn walk(&mut self, dir: &Path, except: &[PathBuf], depth: usize) {
        if depth == MAX_DEPTH || dir.join(CACHE_TAG).exists() {
            return;
        }
        self.folders.push(dir.to_owned());
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let path = entry.path();
            if is_none_of_ours(&name) || except.contains(&path) {
                continue;
            }
            // Links to folders are not followed: they may lead in a circle.
            match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                true if OF_TOOLS.contains(&&*name) => {}
                true => self.walk(&path, except, depth + 1),
                false => self.file(path),
            }
        }
    }

    fn file(&mut self, path: PathBuf) {
        if self.files.len() >= MAX_FILES {
            self.more = true;
        } else if let Ok(metadata) = fs::metadata(&path)
            && metadata.is_file()
        {
            self.files.insert(path, FileStamp::of(&metadata));
        }
    }
}

/// Hidden files, what editors leave beside a file while it is open, and logs: a line about a build
/// must not start the next one.
fn is_none_of_ours(name: &str) -> bool {
    name.starts_with(['.', '#']) || name.ends_with('~') || name == "4913" || name.ends_with(".log")
}

fn difference(
    before: &BTreeMap<PathBuf, FileStamp>,
    now: &BTreeMap<PathBuf, FileStamp>,
) -> BTreeSet<PathBuf> {
    let is_known = |(file, stamp): &(&PathBuf, &FileStamp)| {
        before.get(*file).is_some_and(|old| old.same_write(stamp))
    };
    let new = now.iter().filter(|entry| !is_known(entry));
    let gone = before.iter().filter(|(file, _)| !now.contains_key(*file));
    new.chain(gone).map(|(file, _)| file.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(20);

    async fn names(sources: &mut Sources) -> Vec<String> {
        let changed = tokio::time::timeout(LONG, sources.changed()).await.unwrap();
        let name = |file: &PathBuf| file.file_name().unwrap().to_string_lossy().into_owned();
        changed.iter().map(name).collect()
    }

    #[tokio::test]
    async fn written_created_and_removed_sources_are_reported_and_other_files_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let (root, src) = (dir.path().to_owned(), dir.path().join("pay/src"));
        fs::create_dir_all(&src).unwrap();
        fs::write(src.join("lib.rs"), "1").unwrap();
        let data = root.join("data");
        let mut sources = Sources::below(vec![root.clone()], vec![data.clone()]).await;
        for out in [&data, &root.join("node_modules")] {
            fs::create_dir(out).unwrap();
            fs::write(out.join("file"), "").unwrap();
        }
        fs::create_dir(root.join("target")).unwrap();
        fs::write(root.join("target").join(CACHE_TAG), "").unwrap();
        fs::write(root.join("target/pay.wasm"), "").unwrap();
        fs::write(src.join(".lib.rs.swp"), "").unwrap();
        fs::write(src.join("lib.rs~"), "").unwrap();
        fs::write(root.join("up.log"), "").unwrap();
        fs::write(src.join("lib.rs"), "22").unwrap();
        assert_eq!(names(&mut sources).await, ["lib.rs"]);
        fs::create_dir(src.join("target")).unwrap();
        fs::write(src.join("target/mod.rs"), "a module of that name").unwrap();
        assert_eq!(names(&mut sources).await, ["mod.rs"]);
        fs::remove_file(src.join("lib.rs")).unwrap();
        assert_eq!(names(&mut sources).await, ["lib.rs"]);
    }

    #[tokio::test]
    async fn added_folder_is_watched_from_its_current_state_and_hides_no_other_change() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(two.path().join("old.rs"), "").unwrap();
        let mut sources = Sources::below(vec![one.path().to_owned()], Vec::new()).await;
        fs::write(one.path().join("new.rs"), "").unwrap();
        let both = vec![one.path().to_owned(), two.path().to_owned()];
        sources.look_below(both, Vec::new()).await;
        assert_eq!(names(&mut sources).await, ["new.rs"]);
        fs::write(two.path().join("old.rs"), "changed").unwrap();
        assert_eq!(names(&mut sources).await, ["old.rs"]);
    }
}
