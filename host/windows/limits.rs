//! The limits of a window, changed while it serves.

use super::admission::Terms;
use super::record::WindowRecord;
use super::registry::Registry;
use super::window::Window;
use super::{ChangeError, WindowName};
use crate::runtime::{Limit, LimitsChange, LimitsSet, WindowLimits};
use std::sync::Arc;

impl Registry {
    /// The window's limits as they hold, and what of them is set for it.
    ///
    /// # Errors
    /// When there is no such window.
    pub async fn limits(
        &self,
        name: &WindowName,
    ) -> Result<(WindowLimits, LimitsSet), ChangeError> {
        let window = self.window(name)?;
        let record = self.records.get(name).await?.unwrap_or_default();
        Ok((**window.limits.load(), record.limits))
    }

    /// Changes them. They hold from the next request on, and over a restart.
    ///
    /// # Errors
    /// When there is no such window, or a value is out of bounds.
    pub async fn set_limits(
        &self,
        name: &WindowName,
        change: &LimitsChange,
    ) -> Result<(WindowLimits, LimitsSet), ChangeError> {
        let window = self.window(name)?;
        let mut record = window.record.lock().await;
        let set = record.limits.with(change).map_err(ChangeError::BadOption)?;
        let limits = self.config.limits.with(&set);
        let most = self.config.engine.max_memory_bytes as u64;
        if limits.get(Limit::MemoryBytes) > most {
            return Err(ChangeError::BadOption(format!(
                "memory_bytes: the pool of this host gives a clerk at most {most}; start it with a larger --clerk-memory"
            )));
        }
        let next = WindowRecord {
            limits: set.clone(),
            ..record.clone()
        };
        self.records.put(name, &next).await?;
        *record = next;
        self.hold(&window, limits);
        tracing::info!(window = %name, set = ?set, "limits");
        Ok((limits, set))
    }

    /// Holds the window to `limits` from now on.
    pub(super) fn hold(&self, window: &Window, limits: WindowLimits) {
        window.limits.store(Arc::new(limits));
        window.desk.set_terms(Terms::of(&limits));
        let bytes = limits.get(Limit::StoreBytes);
        self.cabinet
            .set_max_store_bytes(window.name.as_str(), bytes);
    }
}
