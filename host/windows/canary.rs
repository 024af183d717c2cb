//! A canary: a candidate that gets a share of the requests beside the live release, until it is promoted or aborted, or
//! ends by itself because it is clearly worse.

use super::front::{Canary, Front};
use super::record::{CanaryRecord, WindowRecord};
use super::registry::Registry;
use super::release::Release;
use super::trial::Trial;
use super::window::Window;
use super::{ChangeError, Share, WindowName, WindowStatus};
use std::sync::Arc;
use tokio::sync::mpsc;

impl Registry {
    /// Makes the candidate, and watches what its trial shows.
    pub(super) fn canary(
        self: &Arc<Self>,
        window: &Arc<Window>,
        release: Arc<Release>,
        running: &CanaryRecord,
    ) -> Canary {
        let (verdict, mut verdicts) = mpsc::channel(1);
        let number = release.record.number;
        let (registry, name) = (Arc::downgrade(self), window.name.clone());
        // Ends with the canary: the last sender goes with its last request.
        tokio::spawn(async move {
            let Some(why) = verdicts.recv().await else {
                return;
            };
            let Some(registry) = registry.upgrade() else {
                return;
            };
            match registry
                .end_canary(&name, Some(number), &format!("aborted: {why}"))
                .await
            {
                Ok(_) => {
                    tracing::warn!(window = %name, release = number, "the canary was aborted: {why}")
                }
                // Somebody ended it first.
                Err(ChangeError::NoCanary(_) | ChangeError::NoWindow(_)) => {}
                Err(error) => {
                    tracing::error!(window = %name, release = number, %error, "the canary could not be aborted")
                }
            }
        });
        Canary {
            release,
            salt: running.salt,
            trial: Arc::new(Trial::new(running.share.steps(), running.salt)),
            verdict,
        }
    }

    /// Gives the canary another share of the requests. Callers that it had it keeps, unless the share shrinks.
    ///
    /// # Errors
    /// When no canary is running.
    pub async fn share(
        &self,
        name: &WindowName,
        share: Share,
    ) -> Result<WindowStatus, ChangeError> {
        let window = self.window(name)?;
        let mut record = window.record.lock().await;
        let running = record
            .canary
            .ok_or_else(|| ChangeError::NoCanary(name.clone()))?;
        let next = WindowRecord {
            canary: Some(CanaryRecord { share, ..running }),
            ..record.clone()
        };
        self.records.put(name, &next).await?;
        *record = next;
        if let Front::Open {
            canary: Some(canary),
            ..
        } = &*window.front()
        {
            canary.trial.set_share(share.steps());
        }
        Ok(window.status(&record))
    }

    /// Gives the candidate all requests.
    ///
    /// # Errors
    /// When no canary is running.
    pub async fn promote(&self, name: &WindowName) -> Result<WindowStatus, ChangeError> {
        let window = self.window(name)?;
        let mut record = window.record.lock().await;
        let running = record
            .canary
            .ok_or_else(|| ChangeError::NoCanary(name.clone()))?;
        let next = WindowRecord {
            live: running.number,
            canary: None,
            ..record.clone()
        };
        self.records.put(name, &next).await?;
        *record = next;
        if let Front::Open {
            canary: Some(canary),
            ..
        } = &*window.front()
        {
            let front = Front::Open {
                live: canary.release.clone(),
                canary: None,
            };
            window.turn(front, self.config.drain_deadline);
        }
        tracing::info!(window = %name, release = running.number, "the canary was promoted");
        Ok(window.status(&record))
    }

    /// Ends the canary; the live release gets all requests again.
    ///
    /// # Errors
    /// When no canary is running.
    pub async fn abort(&self, name: &WindowName) -> Result<WindowStatus, ChangeError> {
        self.end_canary(name, None, "aborted by an operator").await
    }

    /// Ends the canary if it is the one meant, and notes its fate.
    async fn end_canary(
        &self,
        name: &WindowName,
        meant: Option<u64>,
        fate: &str,
    ) -> Result<WindowStatus, ChangeError> {
        let window = self.window(name)?;
        let mut record = window.record.lock().await;
        let running = record
            .canary
            .filter(|running| meant.is_none_or(|number| number == running.number));
        let running = running.ok_or_else(|| ChangeError::NoCanary(name.clone()))?;
        let mut next = WindowRecord {
            canary: None,
            ..record.clone()
        };
        for release in &mut next.releases {
            if release.number == running.number {
                release.fate = Some(fate.to_owned());
            }
        }
        self.records.put(name, &next).await?;
        *record = next;
        if let Front::Open { live, .. } = &*window.front() {
            let front = Front::Open {
                live: live.clone(),
                canary: None,
            };
            window.turn(front, self.config.drain_deadline);
        }
        Ok(window.status(&record))
    }
}
