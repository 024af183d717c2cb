//! Back to the release before, by itself, when the live one keeps failing and was deployed to be given up so.

use super::registry::Registry;
use super::{ChangeError, WindowName};
use std::sync::Arc;
use tokio::sync::mpsc;

/// A release of a window tripped its breaker.
pub(super) struct Tripped {
    pub number: u64,
    pub why: String,
}

impl Registry {
    /// Watches over the window `name`, as long as somebody can tell of it.
    pub(super) fn watch_breaker(self: &Arc<Self>, name: WindowName) -> mpsc::Sender<Tripped> {
        let (sender, mut trips) = mpsc::channel::<Tripped>(1);
        let registry = Arc::downgrade(self);
        tokio::spawn(async move {
            while let Some(tripped) = trips.recv().await {
                let Some(registry) = registry.upgrade() else {
                    return;
                };
                if let Err(error) = registry.fall_back(&name, &tripped).await {
                    tracing::error!(window = %name, release = tripped.number, %error, "it could not fall back");
                }
            }
        });
        sender
    }

    async fn fall_back(
        self: &Arc<Self>,
        name: &WindowName,
        tripped: &Tripped,
    ) -> Result<(), ChangeError> {
        let window = self.window(name)?;
        let mut record = window.record.lock().await;
        let wished = record.release(tripped.number).is_some_and(|r| r.fallback);
        // Somebody may have changed the window meanwhile.
        if !wished || record.live != tripped.number || record.canary.is_some() || record.stopped {
            return Ok(());
        }
        let mut next = record.clone();
        let mut why = tripped.why.clone();
        let mut outcome = Ok(());
        let before = loop {
            let Some(before) = next.before_live() else {
                return outcome;
            };
            next.fall_back_to(before, &why);
            match self.reopen(&window, &mut next).await {
                Ok(()) => break before,
                // The one before that may do.
                Err(error) => (why, outcome) = (error.to_string(), Err(error)),
            }
        };
        *record = next;
        let why = &tripped.why;
        window
            .log
            .line(&format!("fell back to release {before}: {why}"));
        tracing::warn!(window = %name, from = tripped.number, to = before, "fell back: {why}");
        Ok(())
    }
}
