//! A canary: a candidate that gets a share of the requests beside the live release, until it is
//! promoted or aborted, or until [`analysis`] finds it clearly worse.

pub(super) mod analysis;
#[cfg(test)]
mod analysis_tests;

use super::ChangeError;
use super::change::{Change, Load};
use super::record::CanaryRecord;
use super::registry::Registry;
use super::release::Release;
use super::traffic::serving::Canary;
use super::window::Window;
use analysis::Analysis;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Creates the candidate, and watches its analysis.
pub(super) fn begin(
    registry: &Arc<Registry>,
    window: &Arc<Window>,
    release: Arc<Release>,
    running: &CanaryRecord,
) -> Canary {
    let (verdict, mut verdicts) = mpsc::channel(1);
    let number = release.record.number;
    let (registry, name) = (Arc::downgrade(registry), window.name.clone());
    // Not by its name: by then another window may have that name, with a release of that number.
    let window = Arc::downgrade(window);
    // Ends with the canary: the last sender is dropped with its last request.
    tokio::spawn(async move {
        let Some(why) = verdicts.recv().await else {
            return;
        };
        let (Some(registry), Some(window)) = (registry.upgrade(), window.upgrade()) else {
            return;
        };
        let Some(mut change) = Change::of_window(&registry, &window).await else {
            return;
        };
        match end(&mut change, Some(number), &format!("aborted: {why}")).await {
            Ok(_) => {
                tracing::warn!(window = %name, release = number, "the canary was aborted: {why}")
            }
            // Somebody else ended it first.
            Err(ChangeError::NoCanary(_)) => {}
            Err(error) => {
                tracing::error!(window = %name, release = number, %error, "cannot abort the canary")
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

/// Ends this canary, and records how it ended.
///
/// # Errors
///
/// If it is not running.
pub(super) async fn end(
    change: &mut Change,
    meant: Option<u64>,
    outcome: &str,
) -> Result<(), ChangeError> {
    let window = change.window().name.clone();
    let edit = change.enforce(&Load::Nothing, |record| {
        let running = record.canary.map(|running| running.number);
        if running.is_none() || meant.is_some() && meant != running {
            return Err(ChangeError::NoCanary(window.clone()));
        }
        record.end_canary(outcome);
        Ok(())
    });
    edit.await
}
