//! What the disk has not taken of a change: noted, and tried again until the disk has it.

use super::Change;
use crate::windows::operate::blocking;
use crate::windows::record::WindowRecord;
use crate::windows::registry::Registry;
use crate::windows::window::Window;
use crate::windows::{ChangeError, crash};
use serde::Serialize;
use std::pin::Pin;
use std::sync::atomic::{Ordering::AcqRel, Ordering::Release};
use std::sync::{Arc, Weak};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::{Instant, timeout_at};

/// The first pause before what the disk did not take is tried again. 1 s; it doubles with each
/// failure.
const SETTLE_PAUSE: Duration = Duration::from_secs(1);

/// The longest such pause. 30 s: how long an operator waits who has made space.
const MAX_SETTLE_PAUSE: Duration = Duration::from_secs(30);

/// Tries of one change to use the space that the reserve gave up, and the pause between them: a
/// store file that met a full disk is opened again a quarter of a second later at the earliest.
const RESERVE_TRIES: usize = 4;
const RESERVE_PAUSE: Duration = Duration::from_millis(300);

/// How long a change waits for the disk. Then one that holds is answered and tried again in the
/// background, and one that does not is refused. 5 s: longer than a disk that works takes, and
/// short enough for whoever waits.
pub const DISK_TIME: Duration = Duration::from_secs(5);

/// A write of a record that was asked for.
pub(super) type Write = Pin<Box<dyn Future<Output = Result<(), ChangeError>> + Send>>;

/// A change that holds, and that the disk has not taken yet. A restart before it does brings back
/// what was before.
#[derive(Debug, Clone, Serialize)]
pub struct Unsaved {
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Why the disk did not take it, the last time; empty while it is being written for the first
    /// time.
    pub why: String,
    /// Whether it is in force already. Otherwise the change failed, and what was before is written
    /// once more, because the disk may have either.
    pub enforced: bool,
}

impl Unsaved {
    pub(super) fn now(why: &str, enforced: bool) -> Self {
        Unsaved {
            since: OffsetDateTime::now_utc(),
            why: why.to_owned(),
            enforced,
        }
    }
}

impl Change {
    /// Does what is left to do. Whether nothing is left.
    pub(super) async fn settle(&mut self) -> bool {
        while self.settle_known().await {
            let record = self.record();
            if !record.removing && !record.is_vacant() {
                return true;
            }
            if self.window.recorded.closings.end() {
                // Last, and still in turn: whoever waits to change it finds out that it is gone,
                // and a deploy makes it anew.
                self.registry.forget(&self.window);
                return true;
            }
            // It is to be removed with its store after all.
            self.take_left();
        }
        false
    }

    async fn settle_known(&mut self) -> bool {
        if self.unsaved().is_some() && !self.save().await {
            return false;
        }
        let record = self.record();
        if !record.removing && !record.is_vacant() {
            return true;
        }
        self.window.drained().await;
        let (stores, owner) = (self.registry.stores.clone(), self.window.name.to_string());
        // Whoever waits for this may go. Then it is done all the same, and no other window of its
        // name is made before.
        let turn = self.turn.clone();
        if !record.removing {
            let closed = self.in_time(blocking(move || {
                stores.close(&owner);
                drop(turn);
                Ok(())
            }));
            if let Err(error) = closed.await {
                tracing::warn!(window = %self.window.name, %error, "its store stays open");
            }
        } else {
            let removed = self.in_time(blocking(move || {
                let removed = stores.remove(&owner);
                drop(turn);
                Ok(removed?)
            }));
            if let Err(error) = removed.await {
                self.failed(&error.to_string());
                return false;
            }
            crash::point("store-deleted");
            self.set(WindowRecord::default(), Some(Unsaved::now("", true)));
            if !self.save().await {
                return false;
            }
        }
        true
    }

    /// Has the disk take the record as memory has it. Whether it did, in time.
    pub(super) async fn save(&mut self) -> bool {
        let known = self.window.recorded.known();
        let deadline = Instant::now() + self.registry.config.disk_time;
        let mut written = self.write(&known.record, deadline).await;
        let may_use_reserve = known.unsaved.as_ref().is_some_and(|u| u.enforced);
        if may_use_reserve
            && written.as_ref().is_err_and(ChangeError::is_full_disk)
            && timeout_at(deadline, self.reserve_given_up()).await == Ok(true)
        {
            for attempt in 0..RESERVE_TRIES {
                if attempt > 0 {
                    tokio::time::sleep(RESERVE_PAUSE).await;
                }
                written = self.write(&known.record, deadline).await;
                if !written.as_ref().is_err_and(ChangeError::is_full_disk) {
                    break;
                }
            }
        }
        match written {
            Ok(()) => {
                if known.unsaved.as_ref().is_some_and(|u| !u.why.is_empty()) {
                    tracing::info!(window = %self.window.name, "its record is on disk again");
                }
                self.set(known.record.clone(), None);
                true
            }
            Err(error) => {
                self.failed(&error.to_string());
                false
            }
        }
    }

    /// Asks the disk to take `record`. Where it does not answer in time it may take it yet, and is
    /// not asked for more until then: so a disk that hangs has one write of a window waiting,
    /// however often it is tried.
    pub(super) async fn write(
        &self,
        record: &WindowRecord,
        deadline: Instant,
    ) -> Result<(), ChangeError> {
        let slow = || self.window.recorded.slow.lock();
        let earlier = slow().take();
        if let Some(mut earlier) = earlier
            && timeout_at(deadline, &mut earlier).await.is_err()
        {
            *slow() = Some(earlier);
            return Err(self.no_answer());
        }
        let (records, name) = (self.registry.records.clone(), self.window.name.clone());
        let record = record.clone();
        let mut write: Write = Box::pin(async move { records.save(&name, &record).await });
        match timeout_at(deadline, &mut write).await {
            Ok(written) => written,
            Err(_) => {
                *slow() = Some(write);
                Err(self.no_answer())
            }
        }
    }

    /// What blocks for the disk, for as long as anybody waits.
    async fn in_time(
        &self,
        work: impl Future<Output = Result<(), ChangeError>>,
    ) -> Result<(), ChangeError> {
        let done = tokio::time::timeout(self.registry.config.disk_time, work).await;
        done.unwrap_or_else(|_| Err(self.no_answer()))
    }

    fn no_answer(&self) -> ChangeError {
        ChangeError::DiskTimeout(self.registry.config.disk_time)
    }

    async fn reserve_given_up(&self) -> bool {
        let reserve = self.registry.config.reserve.clone();
        blocking(move || Ok(reserve.give_up()))
            .await
            .unwrap_or(false)
    }

    /// Notes why the disk does not take what holds.
    fn failed(&self, why: &str) {
        let known = self.window.recorded.known();
        let mut unsaved = known
            .unsaved
            .clone()
            .unwrap_or_else(|| Unsaved::now("", true));
        if unsaved.why != why {
            let window = &self.window.name;
            tracing::warn!(%window, "a change holds and is not on disk yet: {why}");
            unsaved.why = why.to_owned();
        }
        self.set(known.record.clone(), Some(unsaved));
    }

    /// The disk may have a record that does not hold.
    pub(super) fn doubt(&self, why: &str) {
        let known = self.window.recorded.known();
        let unsaved = known.unsaved.clone();
        let unsaved = unsaved.unwrap_or_else(|| Unsaved::now(why, false));
        self.set(known.record.clone(), Some(unsaved));
    }

    pub(super) fn why(&self) -> String {
        self.unsaved()
            .map(|unsaved| unsaved.why)
            .unwrap_or_default()
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        if self.in_doubt {
            self.doubt("its change was given up while the disk was asked");
        }
        let recorded = &self.window.recorded;
        if recorded.known().is_settled() || recorded.settling.swap(true, AcqRel) {
            return;
        }
        let settling = settle(Arc::downgrade(&self.registry), Arc::downgrade(&self.window));
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(settling)),
            // The host ends.
            Err(_) => recorded.settling.store(false, Release),
        }
    }
}

impl Registry {
    /// Tries once more, for at most `time`, to have the disk take what holds. For the end of the
    /// host.
    pub async fn settle_all(self: &Arc<Self>, time: Duration) {
        let settling = self.all().into_iter().map(|window| async move {
            let recorded = &window.recorded;
            let settled = recorded.known().is_settled() && recorded.closing().is_none();
            if !settled && let Some(mut change) = self.change_of(&window).await {
                change.settle().await;
            }
        });
        let _ = tokio::time::timeout(time, futures_util::future::join_all(settling)).await;
    }
}

/// Does what is left to do at a window, until nothing is.
async fn settle(registry: Weak<Registry>, window: Weak<Window>) {
    let mut pause = SETTLE_PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        let (Some(registry), Some(window)) = (registry.upgrade(), window.upgrade()) else {
            return;
        };
        let Some(mut change) = registry.change_of(&window).await else {
            return;
        };
        if change.settle().await {
            // Before the change is dropped, so that whatever comes after starts another task.
            window.recorded.settling.store(false, Release);
            return;
        }
        pause = (pause * 2).min(MAX_SETTLE_PAUSE);
    }
}
