//! Disk I/O outside of the request threads.

use super::ChangeError;

/// Runs what reads or writes the disk on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ChangeError> + Send + 'static,
) -> Result<T, ChangeError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ChangeError::Internal(error.to_string()))?
}
