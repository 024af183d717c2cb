//! The one path by which a window changes: deploy, rollback, start, stop, remove. Admin API, command line and folder
//! watch all end here.
//!
//! check -> compile -> try -> record -> swap -> drain. Every step before the swap may fail and leaves the old release
//! serving. The record is durable before the swap, so that whatever was ever live is live again after a crash.

use super::artifacts::Upload;
use super::record::WindowRecord;
use super::registry::Registry;
use super::window::{Live, Window};
use super::{ChangeError, ReleaseRecord, WindowName, WindowStatus};
use crate::runtime::inspect::{Inspection, inspect};
use serde::Serialize;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;
use time::OffsetDateTime;

/// A step of a deploy that is done, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    Check,
    Compile,
    Try,
    Record,
    Swap,
}

/// How a deploy is wished for.
#[derive(Debug, Clone, Default)]
pub struct DeployOptions {
    /// Who deploys, as they say.
    pub by: String,
}

/// A deploy that went through.
#[derive(Debug, Clone, Serialize)]
pub struct Deployed {
    /// The window.
    pub window: WindowName,
    /// The release that is live now.
    pub release: ReleaseRecord,
    /// The number of the release that was live before, if there was one.
    pub replaced: Option<u64>,
    /// Each step and how long it took, in milliseconds.
    pub steps: Vec<(Step, f64)>,
}

/// Times the steps and tells whoever watches.
struct Progress<'a> {
    since: Instant,
    steps: Vec<(Step, f64)>,
    tell: &'a (dyn Fn(Step, f64) + Send + Sync),
}

impl Progress<'_> {
    fn done(&mut self, step: Step) {
        let ms = self.since.elapsed().as_secs_f64() * 1000.0;
        self.since = Instant::now();
        self.steps.push((step, ms));
        (self.tell)(step, ms);
    }
}

impl Registry {
    /// Deploys an upload as the next release of window `name`, which is made where there is none. `tell` hears of
    /// each step as it is done.
    ///
    /// # Errors
    /// Why it is not live; the old release still is.
    pub async fn deploy(
        self: &Arc<Self>,
        name: WindowName,
        upload: Upload,
        options: DeployOptions,
        tell: &(dyn Fn(Step, f64) + Send + Sync),
    ) -> Result<Deployed, ChangeError> {
        let mut progress = Progress {
            since: Instant::now(),
            steps: Vec::new(),
            tell,
        };
        let _pin = self.artifacts.pin(&upload.digest);
        let (digest, size) = (upload.digest.clone(), upload.size);
        let inspection = self.check(upload).await?;
        progress.done(Step::Check);

        let compiled = self
            .artifacts
            .compiled(&digest, &self.compatibility)
            .await?;
        progress.done(Step::Compile);

        // From here to the swap one deploy of a window at a time, so that its history is one line.
        let window = self.window_or_new(&name, WindowRecord::default());
        let mut record = window.record.lock().await;
        let next = record.clone().with_release(ReleaseRecord {
            number: 0,
            digest,
            size,
            deployed_at: OffsetDateTime::now_utc(),
            by: options.by,
            imports: inspection.imports,
            exports: inspection.exports,
        });
        let Some(release) = next.release(next.live).cloned() else {
            return Err(ChangeError::Internal(
                "the new release is not in its record".into(),
            ));
        };
        let assembled = self.assemble(&window, release.clone(), &compiled)?;
        assembled
            .clerks
            .try_start()
            .await
            .map_err(ChangeError::Try)?;
        progress.done(Step::Try);

        let replaced = (record.live > 0).then_some(record.live);
        let next = WindowRecord {
            stopped: false,
            ..next
        };
        self.records.put(&name, &next).await?;
        *record = next;
        progress.done(Step::Record);

        window.swap(Live::Open(assembled), self.config.drain_deadline);
        progress.done(Step::Swap);
        drop(record);
        tracing::info!(window = %name, release = release.number, digest = release.digest, by = release.by, "deployed");
        self.clear_unused().await;
        Ok(Deployed {
            window: name,
            release,
            replaced,
            steps: progress.steps,
        })
    }

    async fn check(self: &Arc<Self>, upload: Upload) -> Result<Inspection, ChangeError> {
        let artifacts = self.artifacts.clone();
        blocking(move || {
            let inspection = inspect(&upload.read()?)?;
            artifacts.keep(&upload)?;
            Ok(inspection)
        })
        .await
    }

    /// Makes release `to`, or the one before the live one, live again. Nothing is compiled where its native code is
    /// still there.
    ///
    /// # Errors
    /// When there is no such release.
    pub async fn rollback(
        &self,
        name: &WindowName,
        to: Option<u64>,
    ) -> Result<WindowStatus, ChangeError> {
        let window = self.window(name)?;
        let mut record = window.record.lock().await;
        let number = match to {
            Some(number) => number,
            None => record
                .before_live()
                .ok_or_else(|| ChangeError::NothingBefore(name.clone()))?,
        };
        let next = WindowRecord {
            live: number,
            stopped: false,
            ..record.clone()
        };
        self.make_live(&window, &next).await?;
        *record = next;
        Ok(window.status(&record))
    }

    /// Opens a window that was stopped. Without effect on an open one.
    ///
    /// # Errors
    /// When there is no such window, or its release cannot be loaded.
    pub async fn start(&self, name: &WindowName) -> Result<WindowStatus, ChangeError> {
        let window = self.window(name)?;
        let mut record = window.record.lock().await;
        if record.stopped || window.lease().is_err() {
            let next = WindowRecord {
                stopped: false,
                ..record.clone()
            };
            self.make_live(&window, &next).await?;
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
        window.swap(Live::Stopped, self.config.drain_deadline);
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
        self.records.delete(name).await?;
        *record = WindowRecord::default();
        self.forget(name);
        window.swap(Live::Empty, self.config.drain_deadline);
        window.drained().await;
        let cabinet = self.cabinet.clone();
        let owner = name.to_string();
        blocking(move || {
            if delete_store {
                cabinet.remove(&owner)?;
            } else {
                cabinet.close(&owner);
            }
            Ok(())
        })
        .await?;
        tracing::info!(window = %name, delete_store, "removed");
        self.clear_unused().await;
        Ok(())
    }

    /// Loads the live release of `next`, makes the record durable, and swaps.
    async fn make_live(
        &self,
        window: &Arc<Window>,
        next: &WindowRecord,
    ) -> Result<(), ChangeError> {
        let Some(release) = next.release(next.live).cloned() else {
            let kept: Vec<String> = next
                .releases
                .iter()
                .map(|release| release.number.to_string())
                .collect();
            return Err(ChangeError::NoRelease {
                window: window.name.clone(),
                number: next.live,
                kept: kept.join(", "),
            });
        };
        let number = release.number;
        let assembled = self.load(window, release).await?;
        assembled
            .clerks
            .try_start()
            .await
            .map_err(ChangeError::Try)?;
        self.records.put(&window.name, next).await?;
        window.swap(Live::Open(assembled), self.config.drain_deadline);
        tracing::info!(window = %window.name, release = number, "live");
        Ok(())
    }

    /// Removes artifacts that no kept release refers to.
    pub(super) async fn clear_unused(&self) {
        let Ok(records) = self.records.all() else {
            return;
        };
        let used: HashSet<String> = records
            .into_iter()
            .flat_map(|(_, record)| record.releases)
            .map(|release| release.digest)
            .collect();
        let artifacts = self.artifacts.clone();
        let _ = blocking(move || {
            artifacts.clear_unused(&used);
            Ok(())
        })
        .await;
    }
}

/// Runs what reads or writes the disk off the request threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ChangeError> + Send + 'static,
) -> Result<T, ChangeError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ChangeError::Internal(error.to_string()))?
}
