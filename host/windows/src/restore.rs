//! Restores the windows after a restart, from their records.

use super::change::{Change, Load};
use super::record::WindowRecord;
use super::registry::Registry;
use super::release::fallback::to_earlier;
use super::{ChangeError, WindowName};
use futures_util::{StreamExt, stream};
use std::sync::Arc;

/// Windows restored at once. 16: while some wait for a compiler, others that need none continue.
const AT_ONCE: usize = 16;

/// Restores every recorded window. One that cannot be loaded, or whose record cannot be read, stays
/// unavailable, with the reason in the log; the others still open.
///
/// # Errors
///
/// If the records cannot be listed.
pub(super) async fn restore(registry: &Arc<Registry>) -> Result<(), ChangeError> {
    let windows = stream::iter(registry.records.all().await?);
    windows
        .for_each_concurrent(AT_ONCE, |(name, record)| async move {
            match record {
                Ok(record) => restore_window(registry, &name, record).await,
                Err(error) => {
                    // So that `hms remove` finds it.
                    let window = registry.window_or_new(&name, WindowRecord::default());
                    if let ChangeError::Record { why, .. } = &error {
                        window.recorded.set_unreadable(why);
                    }
                    tracing::error!(window = %name, "the window stays closed: {error}");
                }
            }
        })
        .await;
    registry.clear_unused().await;
    Ok(())
}

async fn restore_window(registry: &Arc<Registry>, name: &WindowName, record: WindowRecord) {
    let window = registry.window_or_new(name, record.clone());
    let Some(mut change) = Change::of_window(registry, &window).await else {
        return;
    };
    let (from, removing) = (record.live, record.removing);
    let settled = change.settle(record).await;
    if !window.recorded.is_finished() {
        match change.finish().await {
            _ if !removing => {}
            true => tracing::info!(window = %name, "the removal is complete"),
            false => tracing::error!(window = %name, "the removal is not complete yet"),
        }
    }
    let Err(error) = settled else {
        return;
    };
    let why = error.to_string();
    if error.is_of_the_release() {
        let of_the_release = ChangeError::is_of_the_release;
        let fell = to_earlier(&mut change, &Load::Untried, from, &why, of_the_release);
        match fell.await {
            Ok(None) => {}
            Ok(Some(to)) => {
                return tracing::error!(window = %name, from, to, "falling back: {why}");
            }
            Err(error) => {
                tracing::error!(window = %name, "no earlier release can be loaded now: {error}");
            }
        }
    }
    let cure = match error.is_of_the_release() {
        true => "deploy it again, or roll it back".to_owned(),
        false => format!("`hms start {name}` tries again"),
    };
    tracing::error!(
        window = %name,
        release = from,
        "the window stays closed: {error}; {cure}"
    );
}
