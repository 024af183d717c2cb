//! A canary: a candidate that gets a share of the requests beside the live release, until it is
//! promoted or aborted, or ends by itself because it is clearly worse.

use super::analysis::Analysis;
use super::change::Change;
use super::record::{CanaryRecord, WindowRecord};
use super::registry::Registry;
use super::release::Release;
use super::serving::{Canary, Serving};
use super::window::Window;
use super::{ChangeError, TrafficShare, WindowName, WindowStatus};
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
        // Not by its name: by then another window may have that, with a release of that number.
        let window = Arc::downgrade(window);
        // Ends with the canary: the last sender goes with its last request.
        tokio::spawn(async move {
            let Some(why) = verdicts.recv().await else {
                return;
            };
            let (Some(registry), Some(window)) = (registry.upgrade(), window.upgrade()) else {
                return;
            };
            let Some(change) = registry.change_of(&window).await else {
                return;
            };
            match end(change, Some(number), &format!("aborted: {why}")).await {
                Ok(_) => {
                    tracing::warn!(window = %name, release = number, "the canary was aborted: {why}")
                }
                // Somebody ended it first.
                Err(ChangeError::NoCanary(_)) => {}
                Err(error) => {
                    tracing::error!(window = %name, release = number, %error, "the canary could not be aborted")
                }
            }
        });
        Canary {
            release,
            salt: running.salt,
            analysis: Arc::new(Analysis::new(running.share.steps(), running.salt)),
            verdict,
        }
    }

    /// Gives the canary another share of the requests. Callers that it had it keeps, unless the
    /// share shrinks.
    ///
    /// # Errors
    /// When no canary is running.
    pub async fn share(
        self: &Arc<Self>,
        name: &WindowName,
        share: TrafficShare,
    ) -> Result<WindowStatus, ChangeError> {
        let mut change = self.change(name).await?;
        let record = change.record();
        let running = record
            .canary
            .ok_or_else(|| ChangeError::NoCanary(name.clone()))?;
        let next = WindowRecord {
            canary: Some(CanaryRecord { share, ..running }),
            ..record
        };
        if let Serving::Open {
            canary: Some(canary),
            ..
        } = &*change.window().serving()
        {
            canary.analysis.set_share(share.steps());
        }
        change.enforce(next, None).await;
        Ok(change.status())
    }

    /// Gives the candidate all requests.
    ///
    /// # Errors
    /// When no canary is running, or the change cannot be made durable.
    pub async fn promote(self: &Arc<Self>, name: &WindowName) -> Result<WindowStatus, ChangeError> {
        let mut change = self.change(name).await?;
        let record = change.record();
        let running = record
            .canary
            .ok_or_else(|| ChangeError::NoCanary(name.clone()))?;
        let mut next = WindowRecord {
            live: running.number,
            canary: None,
            ..record
        };
        let serving = match &*change.window().serving() {
            Serving::Open {
                canary: Some(canary),
                ..
            } => Some(Serving::Open {
                live: canary.release.clone(),
                canary: None,
            }),
            // It could not be loaded when the window was opened.
            Serving::Open { canary: None, .. } => {
                Some(self.tried_serving(change.window(), &mut next).await?)
            }
            _ => None,
        };
        change.commit(next, serving).await?;
        tracing::info!(window = %name, release = running.number, "the canary was promoted");
        Ok(change.status())
    }

    /// Ends the canary; the live release gets all requests again.
    ///
    /// # Errors
    /// When no canary is running.
    pub async fn abort(self: &Arc<Self>, name: &WindowName) -> Result<WindowStatus, ChangeError> {
        let change = self.change(name).await?;
        end(change, None, "aborted by an operator").await
    }
}

/// Ends the canary if it is the one meant, and notes its fate.
async fn end(
    mut change: Change,
    meant: Option<u64>,
    fate: &str,
) -> Result<WindowStatus, ChangeError> {
    let mut next = change.record();
    if next
        .canary
        .is_none_or(|running| meant.is_some_and(|number| number != running.number))
    {
        return Err(ChangeError::NoCanary(change.window().name.clone()));
    }
    next.end_canary(fate);
    let serving = match &*change.window().serving() {
        Serving::Open { live, .. } => Some(Serving::Open {
            live: live.clone(),
            canary: None,
        }),
        _ => None,
    };
    change.enforce(next, serving).await;
    Ok(change.status())
}
