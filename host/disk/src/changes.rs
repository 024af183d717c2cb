//! Says when something in a folder may have changed, so that whoever cares looks again. Routes,
//! windows, sources, certificates and files of keys are followed by it.
//!
//! The file system's events say it at once; the end of a wait says it where events get lost:
//! network file systems, too few watches, a folder that is made later or replaced. So nobody may
//! rely on an event, and nobody needs to.

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The longest that a change goes unseen where its event was lost. Half a second: "within a second"
/// is what users are promised, and a look at a folder costs well below a millisecond.
pub const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a call waits until folders are followed. 1 s: longer only where their disk hangs.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whoever wants to see the events themselves. Called on the watcher's own thread.
type OnEvent = Arc<dyn Fn(&Event) + Send + Sync>;

/// The changes in some folders, without those below them.
pub struct Changes {
    news: Arc<Notify>,
    on_event: OnEvent,
    /// None where it could not be started, or is with `following`.
    watch: Option<Watch>,
    /// Changes what is followed, on a thread that may wait for a disk. There is one at a time: a
    /// disk that hangs holds no more.
    following: Option<JoinHandle<Option<Watch>>>,
}

struct Watch {
    watcher: RecommendedWatcher,
    followed: HashSet<PathBuf>,
}

impl Changes {
    /// Of no folder yet.
    pub fn new() -> Self {
        Changes::seen_by(|_| {})
    }

    /// The same, with every event shown to `on_event` first. An event that only says that something
    /// was read is not.
    pub fn seen_by(on_event: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Changes {
            news: Arc::default(),
            on_event: Arc::new(on_event),
            watch: None,
            following: None,
        }
    }

    /// Follows exactly these folders from now on. To be called before each look: a folder that
    /// could not be followed is tried again, and one that was made anew is found. Gives up after a
    /// second, and may be dropped: the next call goes on.
    pub async fn follow<P: AsRef<Path>>(&mut self, folders: impl IntoIterator<Item = P>) {
        let folders = folders.into_iter().map(|dir| dir.as_ref().to_owned());
        let folders: Vec<PathBuf> = folders.collect();
        if !self.is_at_rest().await {
            return;
        }
        let watch = self.watch.take();
        let (news, on_event) = (self.news.clone(), self.on_event.clone());
        self.following = Some(tokio::task::spawn_blocking(move || {
            let mut watch = watch.or_else(|| Watch::start(news, on_event))?;
            watch.follow(folders);
            Some(watch)
        }));
        self.is_at_rest().await;
    }

    /// Waits for the last change of what is followed. Whether it has ended.
    async fn is_at_rest(&mut self) -> bool {
        if let Some(following) = &mut self.following {
            let Ok(followed) = tokio::time::timeout(PATIENCE, following).await else {
                return false;
            };
            self.watch = followed.ok().flatten();
            self.following = None;
        }
        true
    }

    /// Resolves after an event, at once where there was one since the last wait, and at the latest
    /// after `at_most`. Whether there was one.
    pub async fn wait(&self, at_most: Duration) -> bool {
        let event = tokio::time::timeout(at_most, self.news.notified()).await;
        event.is_ok()
    }
}

impl Watch {
    fn start(news: Arc<Notify>, on_event: OnEvent) -> Option<Self> {
        let handler = move |event: notify::Result<Event>| {
            match &event {
                // Our own looks make these: to heed them would be to look for ever.
                Ok(event) if only_read(event.kind) => return,
                Ok(event) => on_event(event),
                Err(_) => {}
            }
            news.notify_one();
        };
        Some(Watch {
            watcher: notify::recommended_watcher(handler).ok()?,
            followed: HashSet::new(),
        })
    }

    fn follow(&mut self, folders: Vec<PathBuf>) {
        let wanted: HashSet<PathBuf> = folders.into_iter().filter(|dir| dir.is_dir()).collect();
        for gone in self.followed.extract_if(|dir| !wanted.contains(dir)) {
            let _ = self.watcher.unwatch(&gone);
        }
        for dir in wanted {
            // Out of watches, for example: the looks go on.
            if !self.followed.contains(&dir)
                && (self.watcher.watch(&dir, RecursiveMode::NonRecursive)).is_ok()
            {
                self.followed.insert(dir);
            }
        }
    }
}

impl Default for Changes {
    fn default() -> Self {
        Changes::new()
    }
}

fn only_read(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Instant;

    /// Far beyond what an event takes, and far below what a test may.
    const LONG: Duration = Duration::from_secs(20);

    fn followed(changes: &Changes) -> &HashSet<PathBuf> {
        &changes.watch.as_ref().unwrap().followed
    }

    #[tokio::test]
    async fn wait_ends_on_a_change_but_not_on_a_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut changes = Changes::new();
        changes.follow([dir.path()]).await;
        fs::write(dir.path().join("a"), "1").unwrap();
        let started = Instant::now();
        changes.wait(LONG).await;
        assert!(started.elapsed() < LONG);
        // The write was several events; they are over when a wait lasts to its end.
        let quiet = Duration::from_millis(200);
        loop {
            let started = Instant::now();
            changes.wait(quiet).await;
            if started.elapsed() >= quiet {
                break;
            }
            assert!(started.elapsed() < LONG);
        }
        let read = fs::read_dir(dir.path()).unwrap().count();
        let text = fs::read_to_string(dir.path().join("a")).unwrap();
        let started = Instant::now();
        changes.wait(quiet).await;
        assert!(started.elapsed() >= quiet, "{read} {text}");
    }

    #[tokio::test]
    async fn recreated_folder_is_watched_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("folder");
        let mut changes = Changes::new();
        changes.follow([&folder]).await;
        assert!(followed(&changes).is_empty());
        for _ in 0..2 {
            fs::create_dir(&folder).unwrap();
            changes.follow([&folder]).await;
            assert!(followed(&changes).contains(&folder));
            fs::remove_dir(&folder).unwrap();
            changes.follow([&folder]).await;
            assert!(followed(&changes).is_empty());
        }
    }
}
