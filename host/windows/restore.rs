//! From a record to what it says is open: after a restart, a start, a rollback.

use super::front::Front;
use super::record::WindowRecord;
use super::registry::Registry;
use super::release::Release;
use super::state::State;
use super::window::Window;
use super::{ChangeError, ReleaseRecord};
use std::sync::Arc;

impl Registry {
    /// Brings every recorded window back. One that cannot be loaded is left unavailable, with the reason in the log, and
    /// does not keep the others from opening.
    ///
    /// # Errors
    /// When the records themselves cannot be read.
    pub async fn restore(self: &Arc<Self>) -> Result<(), ChangeError> {
        for (name, record) in self.records.all().await? {
            if record.removing {
                match self.delete_with_store(&name).await {
                    Ok(()) => tracing::info!(window = %name, "its removal is finished"),
                    Err(error) => tracing::error!(window = %name, "it cannot be removed: {error}"),
                }
                continue;
            }
            let window = self.window_or_new(&name, record.clone());
            let front = match record.stopped {
                true => Ok(Front::Stopped),
                false => self.load_front(&window, &record).await,
            };
            match front {
                Ok(front) => window.turn(front, self.config.drain_deadline),
                Err(error) => tracing::error!(
                    window = %name,
                    release = record.live,
                    "the window stays closed: {error}; deploy it again, or roll it back"
                ),
            }
        }
        self.clear_unused().await;
        Ok(())
    }

    /// Loads the live release of a record, and its candidate with a trial that begins anew.
    pub(super) async fn load_front(
        self: &Arc<Self>,
        window: &Arc<Window>,
        record: &WindowRecord,
    ) -> Result<Front, ChangeError> {
        let live = self.load(window, record, record.live).await?;
        let canary = match record.canary {
            None => None,
            Some(running) => {
                let release = self.load(window, record, running.number).await?;
                Some(self.canary(window, release, &running))
            }
        };
        Ok(Front::Open { live, canary })
    }

    async fn load(
        &self,
        window: &Window,
        record: &WindowRecord,
        number: u64,
    ) -> Result<Arc<Release>, ChangeError> {
        let Some(release) = record.release(number).cloned() else {
            let kept: Vec<String> = record
                .releases
                .iter()
                .map(|release| release.number.to_string())
                .collect();
            return Err(ChangeError::NoRelease {
                window: window.name.clone(),
                number,
                kept: kept.join(", "),
            });
        };
        self.load_release(window, release).await
    }

    /// Native code that does not load (a half-written disk, another engine) is compiled anew, once.
    async fn load_release(
        &self,
        window: &Window,
        release: ReleaseRecord,
    ) -> Result<Arc<Release>, ChangeError> {
        let digest = &release.digest;
        let compiled = self.artifacts.compiled(digest, &self.compatibility).await?;
        let clerks = match self.clerks(window, &compiled) {
            Err(error) => {
                tracing::warn!(window = %window.name, %error, "compiling anew");
                self.artifacts.discard(&compiled);
                let compiled = self.artifacts.compiled(digest, &self.compatibility).await?;
                self.clerks(window, &compiled)?
            }
            Ok(clerks) => clerks,
        };
        Ok(Release::new(release, clerks, State::Recorded))
    }
}
