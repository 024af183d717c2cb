//! What is counted of a folder.

use super::Manifest;
use super::files::Files;
use prometheus_client::metrics::gauge::Gauge;

/// The state of a folder at its last look. Whoever owns the folder gives these their names.
#[derive(Debug, Clone, Default)]
pub struct ManifestMetrics {
    /// Files whose present text is refused.
    pub files_refused: Gauge,
    /// Files beyond the number that the host follows; they are not read.
    pub files_over_limit: Gauge,
    /// 1 where the folder cannot be read or lost all its manifests.
    pub folder_unreadable: Gauge,
}

impl ManifestMetrics {
    pub(super) fn count<M: Manifest>(&self, files: &Files<M>) {
        self.files_refused.set(files.refused() as i64);
        self.files_over_limit.set(files.over_limit() as i64);
        let unreadable = files.folder_fault.is_some();
        self.folder_unreadable.set(i64::from(unreadable));
    }
}
