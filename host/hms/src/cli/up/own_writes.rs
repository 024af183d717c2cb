//! Which sources a build writes itself, so that it does not start the next one for ever.
//!
//! Who wrote a file is not to be seen. A build writes during each build and never between two; its
//! author writes at any time. So a source that changes during one build after the other is built
//! for again, but after pauses that become longer, and what is saved in a pause is the author's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Builds in a row without a pause for a source that changes during each. 3: an author who saves
/// while a slow build runs does so once or twice.
const AT_ONCE: u32 = 3;

/// A source that changes during so many builds in a row is written by them. 6: the pauses before
/// the last of them are 7 s together, in which an author saves as well.
const OWN: u32 = 6;

/// The first pause; the next ones are twice as long. 1 s.
const PAUSE: Duration = Duration::from_secs(1);

/// For each source, the last builds of its window in a row during which it changed.
#[derive(Debug, Default)]
pub(super) struct OwnWrites(BTreeMap<PathBuf, u32>);

/// What follows from the changes during a build.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AfterBuild {
    /// Sources to build for again.
    pub again: BTreeSet<PathBuf>,
    /// How long to wait with that.
    pub pause: Duration,
    /// Sources of which it is clear now that the build writes them.
    pub own: BTreeSet<PathBuf>,
}

impl OwnWrites {
    /// These were saved while nothing was built.
    pub(super) fn saved(&mut self, files: &BTreeSet<PathBuf>) {
        self.0.retain(|file, _| !files.contains(file));
    }

    /// These changed during a build; those for which `may_write` holds may be its own.
    pub(super) fn built(
        &mut self,
        changed: BTreeSet<PathBuf>,
        may_write: impl Fn(&Path) -> bool,
    ) -> AfterBuild {
        let (before, of_others) = std::mem::take(&mut self.0)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(file, _)| may_write(file));
        self.0 = of_others;
        let mut after = AfterBuild::default();
        for file in changed {
            if may_write(&file) {
                let builds = before
                    .get(&file)
                    .map_or(1, |before| before.saturating_add(1));
                self.0.insert(file.clone(), builds);
                if builds == OWN {
                    after.own.insert(file.clone());
                }
                if builds >= OWN {
                    continue;
                }
                if let Some(doubled) = builds.checked_sub(AT_ONCE) {
                    after.pause = after.pause.max(PAUSE * 2u32.saturating_pow(doubled));
                }
            }
            after.again.insert(file);
        }
        after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> BTreeSet<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn source_that_changes_during_each_build_starts_six_and_then_none() {
        let mut writes = OwnWrites::default();
        let mut built = || writes.built(files(&["stamp"]), |_| true);
        for pause in [0, 0, 1, 2, 4] {
            let after = built();
            assert_eq!((after.again, after.own), (files(&["stamp"]), files(&[])));
            assert_eq!(after.pause, Duration::from_secs(pause));
        }
        assert_eq!(built().own, files(&["stamp"]));
        // It is told once.
        assert_eq!(built(), AfterBuild::default());
    }

    #[test]
    fn source_that_is_saved_between_two_builds_is_the_authors() {
        let mut writes = OwnWrites::default();
        for _ in 0..OWN - 1 {
            writes.built(files(&["app", "stamp"]), |_| true);
        }
        writes.saved(&files(&["app"]));
        let after = writes.built(files(&["app", "stamp"]), |_| true);
        assert_eq!(
            (after.again, after.own),
            (files(&["app"]), files(&["stamp"]))
        );
        // So is one that a build has not changed.
        writes.built(files(&[]), |_| true);
        assert_eq!(
            writes.built(files(&["stamp"]), |_| true).again,
            files(&["stamp"])
        );
    }

    #[test]
    fn build_of_another_window_changes_nothing_of_it() {
        let mut writes = OwnWrites::default();
        for _ in 0..OWN {
            writes.built(files(&["stamp"]), |_| true);
        }
        writes.built(files(&[]), |file| file == Path::new("other"));
        assert_eq!(
            writes.built(files(&["stamp"]), |_| true),
            AfterBuild::default()
        );
    }

    #[test]
    fn source_that_no_build_writes_is_built_for_at_once_however_often_it_changes() {
        let mut writes = OwnWrites::default();
        for _ in 0..2 * OWN {
            let after = writes.built(files(&["lib.rs"]), |_| false);
            assert_eq!(
                after,
                AfterBuild {
                    again: files(&["lib.rs"]),
                    ..AfterBuild::default()
                }
            );
        }
    }
}
