//! The limits of a window, changed while it serves.

use super::admission::Terms;
use super::record::WindowRecord;
use super::registry::Registry;
use super::window::Window;
use super::{ChangeError, Unsaved, WindowName};
use crate::runtime::{Limit, LimitsChange, LimitsSet, WindowLimits};
use std::sync::Arc;

impl Registry {
    /// The window's limits as they hold, and what of them is set for it.
    ///
    /// # Errors
    /// When there is no such window.
    pub fn limits(&self, name: &WindowName) -> Result<(WindowLimits, LimitsSet), ChangeError> {
        let window = self.window(name)?;
        let known = window.recorded.known();
        known.check_readable(name)?;
        let set = known.record.limits.clone();
        Ok((**window.limits.load(), set))
    }

    /// Why the window's `reuse` is not in effect, where it is not, and when it is tried again.
    pub fn reuse_off(&self, name: &WindowName) -> Option<String> {
        self.window(name).ok()?.reuse_off()
    }

    /// Changes them. They hold from the next request on, and over a restart once the disk has them,
    /// which the third of what is returned says where it is not so yet.
    ///
    /// # Errors
    /// When there is no such window, or a value is out of bounds.
    pub async fn set_limits(
        self: &Arc<Self>,
        name: &WindowName,
        limits: &LimitsChange,
    ) -> Result<(WindowLimits, LimitsSet, Option<Unsaved>), ChangeError> {
        let mut change = self.change_any(name).await?;
        if change.window().recorded.known().is_going() {
            return Err(ChangeError::NoWindow(name.clone()));
        }
        let record = change.record();
        let limits_asked = &limits.0;
        let set = record.limits.with(limits).map_err(ChangeError::BadOption)?;
        let limits = self.config.limits.with(&set);
        let most = self.config.engine.max_memory_bytes as u64;
        if limits.get(Limit::MemoryBytes) > most {
            return Err(ChangeError::BadOption(format!(
                "memory_bytes: the pool of this host gives an instance at most {most}; start it with a larger --instance-memory"
            )));
        }
        let next = WindowRecord {
            limits: set.clone(),
            ..record
        };
        change.enforce(next, None).await;
        if limits_asked.contains_key(&Limit::Reuse) {
            for release in change.window().serving().releases() {
                release.instances.reuse().ask_again();
            }
        }
        tracing::info!(window = %name, set = ?set, "limits");
        Ok((limits, set, change.unsaved()))
    }

    /// Holds the window to `limits` from now on.
    pub(super) fn hold(&self, window: &Window, limits: WindowLimits) {
        window.limits.store(Arc::new(limits));
        window.queue.set_terms(Terms::of(&limits));
        let bytes = limits.get(Limit::StoreBytes);
        self.stores.set_max_store_bytes(window.name.as_str(), bytes);
    }
}
