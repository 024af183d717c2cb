//! Writes a record to disk. What could not be written is recorded, and retried until it is.

use super::settle::Prepared;
use super::{Change, Closing};
use crate::ChangeError;
use crate::blocking::blocking;
use crate::record::{RecordVersion, WindowRecord};
use crate::records::{Met, NOWHERE, Swapped};
use crate::registry::Registry;
use crate::window::Window;
use hms_disk::crash;
use parking_lot::{Mutex, MutexGuard};
use std::pin::Pin;
use std::sync::atomic::{Ordering::AcqRel, Ordering::Release};
use std::sync::{Arc, Weak};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::{Instant, timeout_at};

/// The first pause before a failed write is retried. 1 s; it doubles with each failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest such pause. 30 s: how long an operator waits who has freed space.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Tries of one change to use the space that the reserve has freed, and the pause between them: a
/// store file that met a full disk is reopened a quarter of a second later at the earliest.
const RESERVE_TRIES: usize = 4;
const RESERVE_PAUSE: Duration = Duration::from_millis(300);

/// How long a change waits for the disk. After that, a change in force is answered and retried in
/// the background, and another one is refused. 5 s: longer than a working disk takes, and short
/// enough for people who wait.
pub(crate) const DISK_TIME: Duration = Duration::from_secs(5);

/// The removal of a window whose store is kept, or is already deleted.
const GONE: Closing = Closing::Remove {
    delete_store: false,
};

/// Compare-and-swaps in one write: the first finds the current version. 3: one more than needed.
const SWAPS: usize = 3;

/// A pending compare-and-swap.
type Write = Pin<Box<dyn Future<Output = Result<Swapped, ChangeError>> + Send>>;

/// What this host knows about the record on disk. Used by the holder of the [`Change`].
pub(super) struct OnDisk(Mutex<DiskState>);

struct DiskState {
    /// The version of the record on disk, as confirmed; None if there is none.
    version: Option<RecordVersion>,
    /// A deletion of the record is pending.
    may_be_deleted: bool,
    /// The write that the disk has not answered in time. No other is started before it is answered.
    slow: Option<Write>,
}

impl OnDisk {
    pub(super) fn new(record: &WindowRecord) -> Self {
        OnDisk(Mutex::new(DiskState {
            version: (!record.is_vacant()).then_some(record.version),
            may_be_deleted: false,
            slow: None,
        }))
    }

    /// The disk has confirmed this version.
    pub(super) fn confirmed(&self, version: Option<RecordVersion>) {
        let mut state = self.lock();
        (state.version, state.may_be_deleted) = (version, false);
    }

    fn lock(&self) -> MutexGuard<'_, DiskState> {
        self.0.lock()
    }
}

/// Why a record was not written.
enum WriteError {
    Failed(ChangeError),
    /// Another host has changed it meanwhile to this, or removed it.
    Overtaken(Option<Met>),
}

impl From<ChangeError> for WriteError {
    fn from(error: ChangeError) -> Self {
        WriteError::Failed(error)
    }
}

/// Whether the record in force is on disk.
pub(super) enum Saved {
    Yes,
    No,
    /// Another host has changed the record meanwhile, and that is now in force.
    Overtaken,
}

/// A change that holds, and that the disk has not taken yet. A restart before it does brings back
/// what was before.
#[derive(Debug, Clone)]
pub(crate) struct Unsaved {
    /// What operators see of it.
    pub(crate) shown: hms_api::Unsaved,
    /// What of it closes the window: that holds also where another host changes the record.
    pub(super) shuts: Option<Closing>,
}

impl Unsaved {
    pub(super) fn now(why: &str, enforced: bool) -> Self {
        Unsaved {
            shown: hms_api::Unsaved {
                since: OffsetDateTime::now_utc(),
                why: why.to_owned(),
                enforced,
            },
            shuts: None,
        }
    }
}

impl Change {
    /// Makes a prepared record durable, which is not in force yet.
    ///
    /// # Errors
    ///
    /// If the disk does not confirm it in time. [`ChangeError::Overtaken`] if another host has
    /// changed the record meanwhile: that is then in force.
    pub(crate) async fn put(&mut self, next: &Prepared) -> Result<(), ChangeError> {
        self.in_doubt = true;
        let deadline = Instant::now() + self.registry.config.disk_time;
        let written = self.write(&next.record, deadline).await;
        self.in_doubt = false;
        match written {
            Ok(()) => Ok(()),
            Err(WriteError::Failed(error)) => {
                if error.leaves_the_disk_in_doubt() {
                    self.doubt(&error.to_string());
                }
                Err(error)
            }
            Err(WriteError::Overtaken(by)) => {
                self.take_over(by).await;
                Err(ChangeError::Overtaken(self.window.name.clone()))
            }
        }
    }

    /// Does what is left to do. Returns whether nothing is left.
    pub(crate) async fn finish(&mut self) -> bool {
        while self.finish_known().await {
            let record = self.record();
            if !record.removing && !record.is_vacant() {
                return true;
            }
            if self.window.recorded.closings.end() {
                // Last, and still in turn: a change that waits finds the window gone, and a deploy
                // creates it again.
                self.registry.forget(&self.window);
                return true;
            }
            // It must be removed with its store after all.
            self.take_left();
        }
        false
    }

    async fn finish_known(&mut self) -> bool {
        if self.unsaved().is_some() && !self.is_saved().await {
            return false;
        }
        let record = self.record();
        if !record.removing && !record.is_vacant() {
            return true;
        }
        self.window.drained().await;
        let (stores, owner) = (self.registry.stores.clone(), self.window.name.to_string());
        // The caller may stop waiting. The work is then done all the same, and no other window of
        // its name is created before.
        let turn = self.turn.clone();
        if !record.removing {
            let closed = self.in_time(blocking(move || {
                stores.close(&owner);
                drop(turn);
                Ok(())
            }));
            if let Err(error) = closed.await {
                tracing::warn!(window = %self.window.name, %error, "cannot close the store");
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
            if let Some(outboxes) = &self.registry.config.outboxes {
                outboxes.store_deleted(self.window.name.as_str());
            }
            crash::point("store-deleted");
            self.hold_to_shut(WindowRecord::default(), GONE);
            if !self.is_saved().await {
                return false;
            }
        }
        true
    }

    async fn is_saved(&mut self) -> bool {
        matches!(self.save().await, Saved::Yes)
    }

    /// Writes the record in memory to disk.
    pub(super) async fn save(&mut self) -> Saved {
        let known = self.window.recorded.known();
        let deadline = Instant::now() + self.registry.config.disk_time;
        let mut written = self.write(&known.record, deadline).await;
        let is_full = |written: &Result<(), WriteError>| matches!(written, Err(WriteError::Failed(error)) if error.is_full_disk());
        let may_use_reserve = known.unsaved.as_ref().is_some_and(|u| u.shown.enforced);
        if may_use_reserve
            && is_full(&written)
            && timeout_at(deadline, self.reserve_given_up()).await == Ok(true)
        {
            for attempt in 0..RESERVE_TRIES {
                if attempt > 0 {
                    tokio::time::sleep(RESERVE_PAUSE).await;
                }
                written = self.write(&known.record, deadline).await;
                if !is_full(&written) {
                    break;
                }
            }
        }
        match written {
            Ok(()) => {
                if known
                    .unsaved
                    .as_ref()
                    .is_some_and(|u| !u.shown.why.is_empty())
                {
                    tracing::info!(window = %self.window.name, "the record is on disk again");
                }
                self.set(known.record.clone(), None);
                Saved::Yes
            }
            Err(WriteError::Failed(error)) => {
                self.failed(&error.to_string());
                Saved::No
            }
            Err(WriteError::Overtaken(by)) => {
                self.take_over(by).await;
                Saved::Overtaken
            }
        }
    }

    /// Writes `record`, by compare-and-swap with the last version of this host on disk. If the disk
    /// does not answer in time, the write may still happen, and no other is started until then: so
    /// a disk that hangs has only one write of a window pending, however often it is retried.
    async fn write(&self, record: &WindowRecord, deadline: Instant) -> Result<(), WriteError> {
        let (records, on_disk) = (&self.registry.records, &self.window.recorded.on_disk);
        // The first swap finds the current version. It is a write, not a read: only a write reopens
        // a store that has to be reopened.
        let mut place = on_disk.lock().version.map(|_| NOWHERE);
        for _ in 0..SWAPS {
            let (records, name) = (records.clone(), self.window.name.clone());
            let swap = Box::pin(records.swap(name, record.clone(), place));
            if record.is_vacant() {
                on_disk.lock().may_be_deleted = true;
            }
            match self.answer(swap, deadline).await? {
                Swapped::Done => {
                    on_disk.confirmed((!record.is_vacant()).then_some(record.version));
                    return Ok(());
                }
                Swapped::Met(met) if self.is_ours(met.as_ref()) => place = met.map(|met| met.place),
                Swapped::Met(met) => return Err(WriteError::Overtaken(met)),
            }
        }
        Err(ChangeError::Overtaken(self.window.name.clone()).into())
    }

    /// Waits for the disk's answer, in time, and before that for the previous write.
    async fn answer(&self, mut write: Write, deadline: Instant) -> Result<Swapped, ChangeError> {
        let on_disk = &self.window.recorded.on_disk;
        let earlier = on_disk.lock().slow.take();
        if let Some(mut earlier) = earlier
            && timeout_at(deadline, &mut earlier).await.is_err()
        {
            on_disk.lock().slow = Some(earlier);
            return Err(self.no_answer());
        }
        match timeout_at(deadline, &mut write).await {
            Ok(answer) => answer,
            Err(_) => {
                on_disk.lock().slow = Some(write);
                Err(self.no_answer())
            }
        }
    }

    /// Whether the record on disk is known to this host, or written by it since; or gives way to
    /// what this host knows, because no other host can have written it.
    fn is_ours(&self, met: Option<&Met>) -> bool {
        if !self.registry.records.is_shared() {
            return true;
        }
        let state = self.window.recorded.on_disk.lock();
        match met.map(Met::version) {
            None => state.version.is_none() || state.may_be_deleted,
            Some(version) => {
                state.version == Some(version) || self.registry.records.gave(version, state.version)
            }
        }
    }

    /// Applies the record as another host has written it, or its removal for None. What this host
    /// has shut stays shut, and must be saved.
    async fn take_over(&mut self, by: Option<Met>) {
        let (window, known) = (self.window.clone(), self.window.recorded.known());
        let shuts = known.unsaved.as_ref().and_then(|unsaved| unsaved.shuts);
        tracing::warn!(
            window = %window.name, stays_shut = shuts.is_some(),
            "another host has changed the window meanwhile, and its change stays"
        );
        let Some(met) = by else {
            window.recorded.on_disk.confirmed(None);
            // The rest is done in the background.
            let (closing, mut gone) = (shuts.unwrap_or(GONE).max(GONE), WindowRecord::default());
            closing.edit(&mut gone);
            return self.hold_to_shut(gone, closing);
        };
        let record = match met.record {
            Ok(record) => record,
            Err(error) => {
                self.set(known.record.clone(), None);
                window.recorded.set_unreadable(&error.to_string());
                return tracing::error!(window = %window.name, "{error}");
            }
        };
        let mut closed = record.clone();
        if let Some(closing) = shuts
            && closing.edit(&mut closed)
        {
            window.recorded.on_disk.confirmed(Some(record.version));
            self.set(record, None);
            return self.hold_to_shut(closed, closing);
        }
        if let Err(error) = self.settle(record).await {
            tracing::error!(window = %window.name, "what served before still does: {error}");
        }
    }

    /// Blocking work for the disk, as long as anybody waits.
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

    /// Records why the record in force is not on disk.
    fn failed(&self, why: &str) {
        let known = self.window.recorded.known();
        let mut unsaved = known
            .unsaved
            .clone()
            .unwrap_or_else(|| Unsaved::now("", true));
        if unsaved.shown.why != why {
            let window = &self.window.name;
            tracing::warn!(%window, "a change is in effect but not on disk yet: {why}");
            unsaved.shown.why = why.to_owned();
        }
        self.set(known.record.clone(), Some(unsaved));
    }

    /// The disk may have a record that is not in force.
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
        if recorded.known().is_finished() || recorded.finishing.swap(true, AcqRel) {
            return;
        }
        let finishing = finish(Arc::downgrade(&self.registry), Arc::downgrade(&self.window));
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(finishing)),
            // The host is ending.
            Err(_) => recorded.finishing.store(false, Release),
        }
    }
}

/// Tries once more, for at most `time`, to write what is in force. For the end of the host.
pub(crate) async fn save_all(registry: &Arc<Registry>, time: Duration) {
    let saving = registry.all().into_iter().map(|window| async move {
        let recorded = &window.recorded;
        let finished = recorded.known().is_finished() && recorded.closing().is_none();
        if !finished && let Some(mut change) = Change::of_window(registry, &window).await {
            change.finish().await;
        }
    });
    let _ = tokio::time::timeout(time, futures_util::future::join_all(saving)).await;
}

/// Does what is left to do for a window, until nothing is left.
async fn finish(registry: Weak<Registry>, window: Weak<Window>) {
    let mut pause = FIRST_PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        let (Some(registry), Some(window)) = (registry.upgrade(), window.upgrade()) else {
            return;
        };
        let Some(mut change) = Change::of_window(&registry, &window).await else {
            return;
        };
        if change.finish().await {
            // Before the change is dropped, so that later changes start another task.
            window.recorded.finishing.store(false, Release);
            return;
        }
        pause = (pause * 2).min(MAX_PAUSE);
    }
}
