//! Back to the release before, by itself, when the live one keeps failing and was deployed to be given up so.

use super::ChangeError;
use super::registry::Registry;
use super::window::Window;
use std::sync::Arc;
use tokio::sync::mpsc;

/// A release of a window tripped its breaker.
pub(super) struct Tripped {
    /// That very window, and not another that came to have its name.
    pub window: Arc<Window>,
    pub number: u64,
    pub why: String,
}

impl Registry {
    /// Watches over a window, as long as somebody can tell of it.
    pub(super) fn watch_breaker(self: &Arc<Self>) -> mpsc::Sender<Tripped> {
        let (sender, mut trips) = mpsc::channel::<Tripped>(1);
        let registry = Arc::downgrade(self);
        tokio::spawn(async move {
            while let Some(tripped) = trips.recv().await {
                let Some(registry) = registry.upgrade() else {
                    return;
                };
                if let Err(error) = registry.fall_back(&tripped).await {
                    let window = &tripped.window.name;
                    tracing::error!(%window, release = tripped.number, %error, "it could not fall back");
                }
            }
        });
        sender
    }

    async fn fall_back(self: &Arc<Self>, tripped: &Tripped) -> Result<(), ChangeError> {
        let window = &tripped.window;
        let Some(mut change) = self.change_of(window).await else {
            return Ok(());
        };
        let record = change.record();
        let wished = record.release(tripped.number).is_some_and(|r| r.fallback);
        // Somebody may have changed the window meanwhile.
        if !wished || record.live != tripped.number || record.canary.is_some() || record.stopped {
            return Ok(());
        }
        let mut next = record;
        let mut why = tripped.why.clone();
        let mut outcome = Ok(());
        let (before, serving) = loop {
            let Some(before) = next.before_live() else {
                return outcome;
            };
            next.fall_back_to(before, &why);
            match self.tried_serving(window, &mut next).await {
                Ok(serving) => break (before, serving),
                // The one before that may do.
                Err(error) => (why, outcome) = (error.to_string(), Err(error)),
            }
        };
        change.enforce(next, Some(serving)).await;
        let why = &tripped.why;
        window
            .log
            .line(&format!("fell back to release {before}: {why}"));
        tracing::warn!(window = %window.name, from = tripped.number, to = before, "fell back: {why}");
        Ok(())
    }
}
