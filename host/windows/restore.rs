//! After a restart: every window as it was.

use super::record::WindowRecord;
use super::registry::Registry;
use super::release::Release;
use super::window::{Live, Window};
use super::{ChangeError, ReleaseRecord};
use std::sync::Arc;

impl Registry {
    /// Brings every recorded window back. One that cannot be loaded is left unavailable, with the reason in the log, and
    /// does not keep the others from opening.
    ///
    /// # Errors
    /// When the records themselves cannot be read.
    pub async fn restore(self: &Arc<Self>) -> Result<(), ChangeError> {
        for (name, record) in self.records.all()? {
            let window = self.window_or_new(&name, record.clone());
            if record.stopped {
                window.swap(Live::Stopped, self.config.drain_deadline);
                continue;
            }
            match self.restore_live(&window, &record).await {
                Ok(release) => window.swap(Live::Open(release), self.config.drain_deadline),
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

    async fn restore_live(
        &self,
        window: &Window,
        record: &WindowRecord,
    ) -> Result<Arc<Release>, ChangeError> {
        let release = record.release(record.live).cloned();
        let release = release.ok_or_else(|| ChangeError::NoWindow(window.name.clone()))?;
        self.load(window, release).await
    }

    /// Loads a release from its artifact. Native code that does not load (a half-written disk, another engine) is
    /// compiled anew, once.
    pub(super) async fn load(
        &self,
        window: &Window,
        release: ReleaseRecord,
    ) -> Result<Arc<Release>, ChangeError> {
        let digest = release.digest.clone();
        let compiled = self
            .artifacts
            .compiled(&digest, &self.compatibility)
            .await?;
        match self.assemble(window, release.clone(), &compiled) {
            Err(error) => {
                tracing::warn!(window = %window.name, %error, "compiling anew");
                self.artifacts.discard(&compiled);
                let compiled = self
                    .artifacts
                    .compiled(&digest, &self.compatibility)
                    .await?;
                self.assemble(window, release, &compiled)
            }
            loaded => loaded,
        }
    }
}
