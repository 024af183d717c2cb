//! Makes what serves match a record.
//!
//! [`Change::settle`] is for a durable record: after a restart, and when another host has written
//! it. A verb does the same in two steps, with the write before, between or after them.
//! [`Change::prepare`] compares what serves with the record, and loads what is missing. It may
//! fail, and changes nothing. [`Change::open`] then applies the difference, and cannot fail: a
//! loaded release stays, a canary that continues keeps its analysis, and draining releases keep
//! their deadline.

use super::{Change, Closing, Unsaved};
use crate::record::{CanaryRecord, WindowRecord};
use crate::release::Release;
use crate::release::load;
use crate::traffic::serving::{Canary, Serving};
use crate::{ChangeError, canary};
use hms_core::error::Problem;
use std::sync::Arc;

/// What to load for a record, besides what serves.
pub(crate) enum Load {
    /// Nothing: the change opens nothing new.
    Nothing,
    /// Nothing: this is the new release, loaded and tested.
    Ready(Arc<Release>),
    /// What is missing; one instance of each must start.
    Tried,
    /// What is missing. It was tested when it was deployed.
    Untried,
}

/// A record, and what must be done for it.
pub(crate) struct Prepared {
    pub(super) record: WindowRecord,
    /// Whether the record differs from the one before.
    pub(super) is_changed: bool,
    /// What must serve; None if what serves matches.
    serving: Option<Serving>,
}

impl Prepared {
    /// Whether what serves matches the record.
    pub(super) fn is_served(&self) -> bool {
        self.serving.is_none()
    }
}

impl Change {
    /// Adopts a record that is on disk, and makes what serves match it. If that ends a canary,
    /// because its candidate cannot be loaded, [`Change::unsaved`] is the record that says so.
    ///
    /// # Errors
    ///
    /// Why the live release cannot be loaded. What served before still does.
    pub(crate) async fn settle(&mut self, record: WindowRecord) -> Result<(), ChangeError> {
        let mut next = record.clone();
        let serving = self.serving(&mut next, &Load::Untried).await;
        let version = (!record.is_vacant()).then_some(record.version);
        self.window.recorded.on_disk.confirmed(version);
        self.set(record, None);
        let next = self.prepared(next, serving?);
        match next.is_changed {
            true => self.hold_to(next),
            false => self.open(next),
        }
        Ok(())
    }

    /// Edits the record, and prepares what it says must serve. A candidate that cannot be loaded
    /// does not close the window: its canary ends in the record. If the cause is a fault of the
    /// host, which may pass, the canary stays in the record, and its candidate gets no requests.
    ///
    /// # Errors
    ///
    /// Those of `edit`; why the live release cannot be loaded, or does not start.
    pub(crate) async fn prepare(
        &self,
        load: &Load,
        edit: impl Fn(&mut WindowRecord) -> Result<(), ChangeError>,
    ) -> Result<Prepared, ChangeError> {
        let mut next = self.record();
        edit(&mut next)?;
        let serving = self.serving(&mut next, load).await?;
        Ok(self.prepared(next, serving))
    }

    fn prepared(&self, mut record: WindowRecord, serving: Option<Serving>) -> Prepared {
        let known = self.window.recorded.known();
        record.version = known.record.version;
        let is_changed = record != known.record || known.unreadable.is_some();
        if is_changed {
            record.version = self.registry.records.version_after(record.version);
        }
        let now = self.window.serving();
        Prepared {
            record,
            is_changed,
            serving: serving.filter(|serving| !serving.is_same(&now)),
        }
    }

    /// Adopts a durable record, and makes what serves match it.
    pub(crate) fn open(&self, next: Prepared) {
        self.follow(next, None);
    }

    /// The same with a record that is not on disk yet.
    pub(super) fn hold_to(&self, next: Prepared) {
        let known = self.window.recorded.known();
        let before = known.unsaved.as_ref().and_then(|unsaved| unsaved.shuts);
        let closing = Closing::of(&next.record);
        let shuts = closing.filter(|_| before.is_some() || closing != Closing::of(&known.record));
        let unsaved = Unsaved::now("", true);
        self.follow(next, Some(Unsaved { shuts, ..unsaved }));
    }

    /// The same with a record that admits no requests, because of `closing`: that needs no
    /// preparation.
    pub(super) fn hold_to_shut(&self, record: WindowRecord, closing: Closing) {
        let serving = shut(&record);
        let (next, shuts) = (self.prepared(record, serving), Some(closing));
        let unsaved = Unsaved::now("", true);
        self.follow(next, Some(Unsaved { shuts, ..unsaved }));
    }

    fn follow(&self, next: Prepared, unsaved: Option<Unsaved>) {
        let running = next.record.canary;
        self.set(next.record, unsaved);
        if let Some(serving) = next.serving {
            let deadline = self.registry.config.drain_deadline;
            self.window.switch(serving, deadline);
        }
        if let (Some(running), Some(canary)) = (running, self.window.serving().canary())
            && canary.is_of(&running)
        {
            canary.analysis.set_share(running.share.steps());
        }
    }

    /// What a window with that record serves. None if that requires loading, and nothing may be
    /// loaded.
    async fn serving(
        &self,
        record: &mut WindowRecord,
        load: &Load,
    ) -> Result<Option<Serving>, ChangeError> {
        if let Some(shut) = shut(record) {
            return Ok(Some(shut));
        }
        let now = self.window.serving();
        let Some(live) = self.release(record, record.live, &now, load).await? else {
            return Ok(None);
        };
        let canary = match record.canary {
            None => None,
            Some(running) => match self.candidate(record, &running, &now, load).await {
                Ok(canary) => canary,
                // Too few instances is a matter of the host's load, and passes.
                Err(ChangeError::Try(why)) if why.is(Problem::InstanceLimit) => {
                    return Err(ChangeError::Try(why));
                }
                Err(error) => {
                    record.end_canary(&self.canary_ends(running.number, &error));
                    None
                }
            },
        };
        Ok(Some(Serving::Open { live, canary }))
    }

    /// The candidate, with its analysis if its canary continues, else with a new one.
    async fn candidate(
        &self,
        record: &WindowRecord,
        running: &CanaryRecord,
        now: &Serving,
        load: &Load,
    ) -> Result<Option<Canary>, ChangeError> {
        let release = match self.release(record, running.number, now, load).await {
            Ok(Some(release)) => release,
            Ok(None) => return Ok(None),
            Err(error) if error.is_of_the_release() || matches!(error, ChangeError::Try(_)) => {
                return Err(error);
            }
            Err(error) => {
                tracing::error!(
                    window = %self.window.name,
                    release = running.number,
                    "the live release serves all requests: {error}; a restart of the host tries the canary again, \
                     `hms abort {}` ends it",
                    self.window.name
                );
                return Ok(None);
            }
        };
        let goes_on = now
            .canary()
            .filter(|canary| canary.is_of(running) && Arc::ptr_eq(&canary.release, &release));
        Ok(Some(match goes_on {
            Some(canary) => canary.clone(),
            None => canary::begin(&self.registry, &self.window, release, running),
        }))
    }

    /// A release of the record: the loaded one if it serves or is ready, else loaded now.
    async fn release(
        &self,
        record: &WindowRecord,
        number: u64,
        now: &Serving,
        load: &Load,
    ) -> Result<Option<Arc<Release>>, ChangeError> {
        let ready = match load {
            Load::Ready(release) => Some(release),
            _ => None,
        };
        // By its digest too: another host may have removed the window and created one of its name.
        let digest = record.release(number).map(|release| &release.digest);
        let is_it = |release: &&Arc<Release>| {
            release.record.number == number && Some(&release.record.digest) == digest
        };
        if let Some(loaded) = now.releases().chain(ready).find(is_it) {
            return Ok(Some(loaded.clone()));
        }
        match load {
            Load::Nothing | Load::Ready(_) => Ok(None),
            Load::Untried => load::release(&self.registry, &self.window, record, number)
                .await
                .map(Some),
            Load::Tried => {
                let release = load::release(&self.registry, &self.window, record, number).await?;
                load::try_start(&self.window, &release.instances).await?;
                Ok(Some(release))
            }
        }
    }

    /// Logs that the canary ends because of its candidate. Returns how it ended.
    fn canary_ends(&self, candidate: u64, error: &ChangeError) -> String {
        tracing::error!(
            window = %self.window.name,
            release = candidate,
            "the canary ends, the live release serves: {error}"
        );
        match error {
            ChangeError::Try(_) => format!("aborted: {error}"),
            _ => format!("aborted: it could not be loaded: {error}"),
        }
    }
}

/// What a window serves whose record admits no requests.
fn shut(record: &WindowRecord) -> Option<Serving> {
    match record.is_deployed() {
        false => Some(Serving::Empty),
        true => record.stopped.then_some(Serving::Stopped),
    }
}
