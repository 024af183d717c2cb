//! What the disk has not taken of a change: noted, and tried again until the disk has it.

use super::Change;
use crate::windows::operate::blocking;
use crate::windows::record::WindowRecord;
use crate::windows::registry::Registry;
use crate::windows::window::Window;
use crate::windows::{ChangeError, crash};
use serde::Serialize;
use std::sync::atomic::{Ordering::AcqRel, Ordering::Release};
use std::sync::{Arc, Weak};
use std::time::Duration;
use time::OffsetDateTime;

/// The first pause before what the disk did not take is tried again. 1 s; it doubles with each failure.
const SETTLE_PAUSE: Duration = Duration::from_secs(1);

/// The longest such pause. 30 s: how long an operator waits who has made space.
const MAX_SETTLE_PAUSE: Duration = Duration::from_secs(30);

/// Tries of one change to use the space that the reserve gave up, and the pause between them: a store file that met a
/// full disk is opened again a quarter of a second later at the earliest.
const RESERVE_TRIES: usize = 4;
const RESERVE_PAUSE: Duration = Duration::from_millis(300);

/// A change that holds, and that the disk has not taken yet. A restart before it does brings back what was before.
#[derive(Debug, Clone, Serialize)]
pub struct Unsaved {
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Why the disk did not take it, the last time; empty while it is being written for the first time.
    pub why: String,
    /// Whether it is in force already. Otherwise the change failed, and what was before is written once more, because
    /// the disk may have either.
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
        if self.unsaved().is_some() && !self.save().await {
            return false;
        }
        let record = self.record();
        if !record.removing && !record.is_vacant() {
            return true;
        }
        self.window.drained().await;
        let (cabinet, owner) = (self.registry.cabinet.clone(), self.window.name.to_string());
        if !record.removing {
            let closed = blocking(move || {
                cabinet.close(&owner);
                Ok(())
            });
            if let Err(error) = closed.await {
                tracing::warn!(window = %self.window.name, %error, "its store stays open");
            }
        } else {
            if let Err(error) = blocking(move || Ok(cabinet.remove(&owner)?)).await {
                self.failed(&error.to_string());
                return false;
            }
            crash::point("store-deleted");
            self.set(WindowRecord::default(), Some(Unsaved::now("", true)));
            if !self.save().await {
                return false;
            }
        }
        // Last, and still in turn: whoever waits to change it finds out that it is gone, and a deploy makes it anew.
        self.registry.forget(&self.window);
        true
    }

    /// Has the disk take the record as memory has it. Whether it did.
    pub(super) async fn save(&mut self) -> bool {
        let known = self.window.recorded.known();
        let registry = self.registry.clone();
        let mut written = registry
            .records
            .save(&self.window.name, &known.record)
            .await;
        let may_use_reserve = known.unsaved.as_ref().is_some_and(|u| u.enforced);
        if may_use_reserve
            && written.as_ref().is_err_and(ChangeError::is_full_disk)
            && self.reserve_given_up().await
        {
            for attempt in 0..RESERVE_TRIES {
                if attempt > 0 {
                    tokio::time::sleep(RESERVE_PAUSE).await;
                }
                written = registry
                    .records
                    .save(&self.window.name, &known.record)
                    .await;
                if written.is_ok() {
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
