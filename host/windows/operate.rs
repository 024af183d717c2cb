//! What operators do with a window besides deploying: rollback, start, stop, remove.

use super::change::{Closed, Closing};
use super::record::WindowRecord;
use super::registry::Registry;
use super::release::Release;
use super::serving::Serving;
use super::watch::LeftFile;
use super::window::Window;
use super::{ChangeError, Unsaved, WindowName, WindowStatus};
use crate::error::Problem;
use std::collections::HashSet;
use std::sync::Arc;

/// A removal that holds.
#[derive(Debug)]
pub struct Removed {
    /// Whether what it has stored is deleted: also where an earlier removal, which is not done yet,
    /// was to do so.
    pub delete_store: bool,
    /// What of it the disk has not taken yet.
    pub unsaved: Option<Unsaved>,
    /// The component that still lies in the watched folder for it.
    pub left: Option<LeftFile>,
}

impl Registry {
    /// Makes release `to`, or the one before the live one, live again. Nothing is compiled where
    /// its native code is still there.
    ///
    /// # Errors
    /// When there is no such release, or a canary is running.
    pub async fn rollback(
        self: &Arc<Self>,
        name: &WindowName,
        to: Option<u64>,
    ) -> Result<WindowStatus, ChangeError> {
        let mut change = self.change(name).await?;
        let record = change.record();
        if record.canary.is_some() {
            return Err(ChangeError::CanaryRunning(name.clone()));
        }
        let number = match to {
            Some(number) => number,
            None => record
                .before_live()
                .ok_or_else(|| ChangeError::NothingBefore(name.clone()))?,
        };
        let mut next = WindowRecord {
            live: number,
            stopped: false,
            ..record
        };
        let serving = self.tried_serving(change.window(), &mut next).await?;
        change.enforce(next, Some(serving)).await;
        tracing::info!(window = %name, release = number, "live");
        Ok(change.status())
    }

    /// Opens a window that was stopped, or one whose release could not be loaded. Without effect on
    /// an open one.
    ///
    /// # Errors
    /// When there is no such window, its release cannot be loaded, or the change cannot be made
    /// durable.
    pub async fn start(self: &Arc<Self>, name: &WindowName) -> Result<WindowStatus, ChangeError> {
        let mut change = self.change(name).await?;
        if !matches!(&*change.window().serving(), Serving::Open { .. }) {
            let mut next = WindowRecord {
                stopped: false,
                ..change.record()
            };
            let serving = self.tried_serving(change.window(), &mut next).await?;
            let release = next.live;
            change.commit(next, Some(serving)).await?;
            tracing::info!(window = %name, release, "live");
        }
        Ok(change.status())
    }

    /// Closes a window: no new requests, and those it has are served to their end. It does so at
    /// once, also where another change has the window's turn. It stays closed over a restart, once
    /// the disk has taken that.
    ///
    /// # Errors
    /// When there is no such window.
    pub async fn stop(self: &Arc<Self>, name: &WindowName) -> Result<WindowStatus, ChangeError> {
        let (mut change, asking) = match self.close(name, Closing::Stop).await? {
            Closed::Turn(change, asking) => (change, asking),
            Closed::Left(window, _) => return Ok(window.status()),
        };
        let Some((next, serving)) = Closing::Stop.of(change.record()) else {
            return Err(ChangeError::NoWindow(name.clone()));
        };
        change.enforce(next, Some(serving)).await;
        drop(asking);
        tracing::info!(window = %name, "stopped");
        Ok(change.status())
    }

    /// Removes a window: closes and drains it, forgets its releases, and with `delete_store`
    /// deletes what it has stored. A store that is kept is there again when a window of that name
    /// is deployed. Gives what of that the disk has not taken yet, at once where another change has
    /// the window's turn.
    ///
    /// # Errors
    /// When there is no such window.
    pub async fn remove(
        self: &Arc<Self>,
        name: &WindowName,
        delete_store: bool,
    ) -> Result<Removed, ChangeError> {
        let (mut change, asking) = match self.close(name, Closing::Remove { delete_store }).await? {
            Closed::Turn(change, asking) => (change, asking),
            Closed::Left(window, unsaved) => {
                let removing = window.recorded.known().record.removing;
                return Ok(Removed {
                    delete_store: delete_store || removing,
                    unsaved: Some(unsaved),
                    left: self.leave_in_folder(name).await,
                });
            }
        };
        // First: a host that ends in between must not deploy the window again.
        let left = self.leave_in_folder(name).await;
        // Once the data is given up for deletion there is no way back.
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

    /// Loads what `next` says is open, and has one instance of each release start. A candidate that
    /// cannot be loaded or started loses its canary, and `next` says so afterwards.
    pub(super) async fn tried_serving(
        self: &Arc<Self>,
        window: &Arc<Window>,
        next: &mut WindowRecord,
    ) -> Result<Serving, ChangeError> {
        let mut serving = self.load_serving(window, next).await?;
        if let Serving::Open { live, canary } = &mut serving {
            try_instance(window, live).await?;
            if let Some(candidate) = canary
                && let Err(error) = try_instance(window, &candidate.release).await
            {
                if matches!(&error, ChangeError::Try(why) if why.is(Problem::InstanceLimit)) {
                    return Err(error);
                }
                next.end_canary(&format!("aborted: {error}"));
                *canary = None;
            }
        }
        Ok(serving)
    }

    /// Removes artifacts that no kept release refers to.
    pub(super) async fn clear_unused(self: &Arc<Self>) {
        let registry = self.clone();
        let _ = blocking(move || {
            registry.artifacts.clear_unused(|| registry.used().ok());
            Ok(())
        })
        .await;
    }

    /// The digests that a record refers to, be it in memory or on disk: the two may differ for a
    /// time.
    fn used(&self) -> Result<HashSet<String>, ChangeError> {
        // What a record needs that cannot be read is not known, so nothing is cleared then.
        let on_disk = self.records.all_blocking()?.into_iter();
        let on_disk: Vec<_> = on_disk
            .map(|(_, record)| record)
            .collect::<Result<_, _>>()?;
        let in_memory = self.all().into_iter().map(|window| {
            let known = window.recorded.known();
            known.record.clone()
        });
        let releases = on_disk
            .into_iter()
            .chain(in_memory)
            .flat_map(|record| record.releases);
        Ok(releases.map(|release| release.digest).collect())
    }
}

/// Has one instance of the release start.
async fn try_instance(window: &Window, release: &Release) -> Result<(), ChangeError> {
    let permit = window.queue.acquire(release.instances.weight()).await;
    let _permit = permit.map_err(|busy| ChangeError::Try(busy.into()))?;
    release
        .instances
        .try_start()
        .await
        .map_err(ChangeError::Try)
}

/// Runs what reads or writes the disk off the request threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ChangeError> + Send + 'static,
) -> Result<T, ChangeError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ChangeError::Internal(error.to_string()))?
}
