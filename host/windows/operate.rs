//! What operators do with a window besides deploying: rollback, start, stop, remove.

use super::front::Front;
use super::record::WindowRecord;
use super::registry::Registry;
use super::release::Release;
use super::window::Window;
use super::{ChangeError, WindowName, WindowStatus, crash};
use crate::error::Error;
use std::collections::HashSet;
use std::sync::Arc;

impl Registry {
    /// Makes release `to`, or the one before the live one, live again. Nothing is compiled where its native code is
    /// still there.
    ///
    /// # Errors
    /// When there is no such release, or a canary is running.
    pub async fn rollback(
        self: &Arc<Self>,
        name: &WindowName,
        to: Option<u64>,
    ) -> Result<WindowStatus, ChangeError> {
        let window = self.window(name)?;
        let mut record = window.record.lock().await;
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
            removing: false,
            ..record.clone()
        };
        self.reopen(&window, &mut next).await?;
        *record = next;
        Ok(window.status(&record))
    }

    /// Opens a window that was stopped, or one whose release could not be loaded. Without effect on an open one.
    ///
    /// # Errors
    /// When there is no such window, or its release cannot be loaded.
    pub async fn start(self: &Arc<Self>, name: &WindowName) -> Result<WindowStatus, ChangeError> {
        let window = self.window(name)?;
        let mut record = window.record.lock().await;
        if !matches!(&*window.front(), Front::Open { .. }) {
            let mut next = WindowRecord {
                stopped: false,
                removing: false,
                ..record.clone()
            };
            self.reopen(&window, &mut next).await?;
            *record = next;
        }
        Ok(window.status(&record))
    }

    /// Closes a window: no new requests, and those it has are served to their end. It stays closed over a restart.
    ///
    /// # Errors
    /// When there is no such window, or the change cannot be made durable.
    pub async fn stop(&self, name: &WindowName) -> Result<WindowStatus, ChangeError> {
        let window = self.window(name)?;
        let mut record = window.record.lock().await;
        let next = WindowRecord {
            stopped: true,
            ..record.clone()
        };
        self.records.put(name, &next).await?;
        *record = next;
        window.turn(Front::Stopped, self.config.drain_deadline);
        tracing::info!(window = %name, "stopped");
        Ok(window.status(&record))
    }

    /// Removes a window: closes and drains it, forgets its releases, and with `delete_store` deletes what it has stored. A
    /// store that is kept is there again when a window of that name is deployed.
    ///
    /// # Errors
    /// When there is no such window, or the change cannot be made durable.
    pub async fn remove(&self, name: &WindowName, delete_store: bool) -> Result<(), ChangeError> {
        let window = self.window(name)?;
        let mut record = window.record.lock().await;
        if delete_store {
            let next = WindowRecord {
                stopped: true,
                removing: true,
                ..record.clone()
            };
            self.records.put(name, &next).await?;
            *record = next;
        } else {
            self.records.delete(name).await?;
        }
        window.turn(Front::Empty, self.config.drain_deadline);
        window.drained().await;
        if delete_store {
            self.delete_with_store(name).await?;
        } else {
            let (cabinet, owner) = (self.cabinet.clone(), name.to_string());
            blocking(move || {
                cabinet.close(&owner);
                Ok(())
            })
            .await?;
        }
        *record = WindowRecord::default();
        // Last, and with the record still locked: a deploy under this name meanwhile waits, and comes after.
        self.forget(name);
        drop(record);
        tracing::info!(window = %name, delete_store, "removed");
        self.clear_unused().await;
        Ok(())
    }

    /// Deletes the store of a window that serves nothing, and then its record, which says until then that this is to be done.
    pub(super) async fn delete_with_store(&self, name: &WindowName) -> Result<(), ChangeError> {
        let (cabinet, owner) = (self.cabinet.clone(), name.to_string());
        blocking(move || Ok(cabinet.remove(&owner)?)).await?;
        crash::point("store-deleted");
        self.records.delete(name).await
    }

    /// Loads what `next` says is open, makes the record durable, and turns the pointer to it. A candidate that cannot be loaded
    /// or started loses its canary, and `next` says so afterwards.
    pub(super) async fn reopen(
        self: &Arc<Self>,
        window: &Arc<Window>,
        next: &mut WindowRecord,
    ) -> Result<(), ChangeError> {
        let mut front = self.load_front(window, next).await?;
        if let Front::Open { live, canary } = &mut front {
            try_clerk(window, live).await?;
            if let Some(candidate) = canary
                && let Err(error) = try_clerk(window, &candidate.release).await
            {
                if matches!(error, ChangeError::Try(Error::ClerkLimit)) {
                    return Err(error);
                }
                next.end_canary(&format!("aborted: {error}"));
                *canary = None;
            }
        }
        self.records.put(&window.name, next).await?;
        window.turn(front, self.config.drain_deadline);
        tracing::info!(window = %window.name, release = next.live, "live");
        Ok(())
    }

    /// Removes artifacts that no kept release refers to.
    pub(super) async fn clear_unused(&self) {
        let Ok(records) = self.records.all().await else {
            return;
        };
        let records = records.into_iter().map(|(_, record)| record);
        // What a record needs that cannot be read is not known.
        let Ok(records) = records.collect::<Result<Vec<_>, _>>() else {
            return;
        };
        let releases = records.into_iter().flat_map(|record| record.releases);
        let used: HashSet<String> = releases.map(|release| release.digest).collect();
        let artifacts = self.artifacts.clone();
        let _ = blocking(move || {
            artifacts.clear_unused(&used);
            Ok(())
        })
        .await;
    }
}

/// Has one clerk of the release start.
async fn try_clerk(window: &Window, release: &Release) -> Result<(), ChangeError> {
    let place = window.desk.place(release.clerks.weight()).await;
    let _place = place.map_err(ChangeError::Try)?;
    release.clerks.try_start().await.map_err(ChangeError::Try)
}

/// Runs what reads or writes the disk off the request threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ChangeError> + Send + 'static,
) -> Result<T, ChangeError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ChangeError::Internal(error.to_string()))?
}
