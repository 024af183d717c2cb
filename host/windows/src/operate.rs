//! The operators' verbs besides deploying. Each is an edit of the window's record;
//! [`mod@super::change`] does the rest.

use super::change::{Change, Closed, Closing, Load};
use super::registry::Registry;
use super::status::limit_values;
use super::traffic::serving::Serving;
use super::watch::leave_in_folder;
use super::{ChangeError, Consent, TrafficShare, WindowName, canary};
use hms_api::{LeftFile, Limits, Unsaved, WindowStatus};
use hms_runtime::{Limit, LimitsChange};
use std::sync::Arc;

/// A removal in force.
#[derive(Debug)]
pub struct Removed {
    /// Whether the store is deleted. True also if an earlier removal, still incomplete, was to
    /// delete it.
    pub delete_store: bool,
    /// What is not on disk yet.
    pub unsaved: Option<Unsaved>,
    /// The window's component that is still in the watched folder.
    pub left: Option<LeftFile>,
}

impl Registry {
    /// Makes release `to`, or the one before the live one, live again. Compiles nothing if the
    /// native code still exists. `consent` is to what it can do more than the live one.
    ///
    /// # Errors
    ///
    /// If there is no such release, a canary is running, or an operator has to agree first.
    pub async fn rollback(
        self: &Arc<Self>,
        name: &WindowName,
        to: Option<u64>,
        consent: impl Into<Consent>,
    ) -> Result<WindowStatus, ChangeError> {
        let consent = consent.into();
        let mut change = Change::of(self, name).await?;
        let edit = change.enforce(&Load::Tried, |record| {
            if record.canary.is_some() {
                return Err(ChangeError::CanaryRunning(name.clone()));
            }
            let number = to.or_else(|| record.before_live());
            let number = number.ok_or_else(|| ChangeError::NothingBefore(name.clone()))?;
            let asks = self.asks_of_return(name.as_str(), record, number);
            consent.check(asks.as_ref())?;
            record.return_to(number);
            record.stopped = false;
            Ok(())
        });
        edit.await?;
        tracing::info!(window = %name, release = change.record().live, "live");
        Ok(change.status())
    }

    /// Opens a stopped window, or one whose release could not be loaded. No effect on an open one.
    ///
    /// # Errors
    ///
    /// If there is no such window, its release cannot be loaded, or the change cannot be made
    /// durable.
    pub async fn start(self: &Arc<Self>, name: &WindowName) -> Result<WindowStatus, ChangeError> {
        let mut change = Change::of(self, name).await?;
        let was_open = matches!(&*change.window().serving(), Serving::Open { .. });
        let edit = change.commit(&Load::Tried, |record| {
            record.stopped = false;
            Ok(())
        });
        edit.await?;
        if !was_open {
            tracing::info!(window = %name, release = change.record().live, "live");
        }
        Ok(change.status())
    }

    /// Closes a window: no new requests, and those in flight complete. Closes at once, even if
    /// another change has the window. The window stays closed over a restart, once that is on disk.
    ///
    /// # Errors
    ///
    /// If there is no such window.
    pub async fn stop(self: &Arc<Self>, name: &WindowName) -> Result<WindowStatus, ChangeError> {
        let (mut change, asking) = match Closing::Stop.ask(self, name).await? {
            Closed::Turn(change, asking) => (change, asking),
            Closed::Left(window, _) => return Ok(window.status()),
        };
        let edit = change.enforce(&Load::Nothing, |record| match Closing::Stop.edit(record) {
            true => Ok(()),
            false => Err(ChangeError::NoWindow(name.clone())),
        });
        edit.await?;
        drop(asking);
        tracing::info!(window = %name, "stopped");
        Ok(change.status())
    }

    /// Removes a window: closes and drains it, forgets its releases, and with `delete_store`
    /// deletes its store. A store that is kept serves again when a window of that name is deployed.
    /// Returns what is not on disk yet; at once if another change has the window.
    ///
    /// # Errors
    ///
    /// If there is no such window, or its store is to be deleted with events that another window
    /// has not got yet.
    pub async fn remove(
        self: &Arc<Self>,
        name: &WindowName,
        delete_store: bool,
    ) -> Result<Removed, ChangeError> {
        // One whose removal has begun has no way back.
        let begun = self.window(name)?.recorded.known().record.removing;
        if let Some(outboxes) = &self.config.outboxes
            && delete_store
            && !begun
            && let Some(lacking) = outboxes.undelivered(name.as_str()).await
        {
            return Err(ChangeError::Undelivered(lacking));
        }
        let closing = Closing::Remove { delete_store };
        let (mut change, asking) = match closing.ask(self, name).await? {
            Closed::Turn(change, asking) => (change, asking),
            Closed::Left(window, unsaved) => {
                let removing = window.recorded.known().record.removing;
                return Ok(Removed {
                    delete_store: delete_store || removing,
                    unsaved: Some(unsaved),
                    left: leave_in_folder(self, name).await,
                });
            }
        };
        // First: a host that ends in between must not deploy the window again.
        let left = leave_in_folder(self, name).await;
        // Once the data has been given up for deletion, there is no way back.
        let delete_store = delete_store || change.record().removing;
        change.remove(delete_store).await;
        let unsaved = change.unsaved();
        drop(asking);
        drop(change);
        tracing::info!(window = %name, delete_store, "removed");
        self.clear_unused().await;
        Ok(Removed {
            delete_store,
            unsaved,
            left,
        })
    }

    /// Changes the canary's share of the requests. Callers on the candidate stay there, unless the
    /// share shrinks.
    ///
    /// # Errors
    ///
    /// If no canary is running.
    pub async fn share(
        self: &Arc<Self>,
        name: &WindowName,
        share: TrafficShare,
    ) -> Result<WindowStatus, ChangeError> {
        let mut change = Change::of(self, name).await?;
        let edit = change.enforce(&Load::Nothing, |record| {
            let running = record.canary.as_mut();
            running
                .ok_or_else(|| ChangeError::NoCanary(name.clone()))?
                .share = share;
            Ok(())
        });
        edit.await?;
        Ok(change.status())
    }

    /// Makes the candidate the live release.
    ///
    /// # Errors
    ///
    /// If no canary is running, or the change cannot be made durable.
    pub async fn promote(self: &Arc<Self>, name: &WindowName) -> Result<WindowStatus, ChangeError> {
        let mut change = Change::of(self, name).await?;
        // Loads the candidate, if it could not be loaded when the window was opened.
        let edit = change.commit(&Load::Tried, |record| {
            let running = record.canary.take();
            let running = running.ok_or_else(|| ChangeError::NoCanary(name.clone()))?;
            record.live = running.number;
            Ok(())
        });
        edit.await?;
        tracing::info!(window = %name, release = change.record().live, "the canary was promoted");
        Ok(change.status())
    }

    /// Ends the canary; the live release gets all requests again.
    ///
    /// # Errors
    /// If no canary is running.
    pub async fn abort(self: &Arc<Self>, name: &WindowName) -> Result<WindowStatus, ChangeError> {
        let mut change = Change::of(self, name).await?;
        canary::end(&mut change, None, "aborted by an operator").await?;
        Ok(change.status())
    }

    /// Changes the window's limits. They apply from the next request, and survive a restart once
    /// they are on disk. The third result says if they are not yet.
    ///
    /// # Errors
    ///
    /// If there is no such window, a value is out of bounds, or the grants file sets the limit.
    pub async fn set_limits(
        self: &Arc<Self>,
        name: &WindowName,
        limits: &LimitsChange,
    ) -> Result<(Limits, Option<Unsaved>), ChangeError> {
        let mut change = Change::of_any(self, name).await?;
        if change.window().recorded.known().is_going() {
            return Err(ChangeError::NoWindow(name.clone()));
        }
        self.check_not_of_the_file(name, limits)?;
        let most = self.config.engine.max_memory_bytes as u64;
        let edit = change.enforce(&Load::Nothing, |record| {
            let set = record.limits.with(limits).map_err(ChangeError::BadOption)?;
            if self.config.limits.with(&set).get(Limit::MemoryBytes) > most {
                return Err(ChangeError::BadOption(format!(
                    "memory_bytes: the pool of this host gives an instance at most {most}; start it with a larger --instance-memory"
                )));
            }
            record.limits = set;
            Ok(())
        });
        edit.await?;
        self.ask_for_reuse_again(change.window(), limits.0.contains_key(&Limit::Reuse));
        let set = change.record().limits;
        tracing::info!(window = %name, set = %set, "limits");
        let limits = Limits {
            limits: limit_values(self.effective(name.as_str(), &set).named()),
            set: limit_values(set.named()),
            sources: self.limit_sources(name.as_str()),
        };
        Ok((limits, change.unsaved()))
    }
}
