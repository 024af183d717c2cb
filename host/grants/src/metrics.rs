//! What is counted of the grants.

use hms_manifest::ManifestMetrics;
use prometheus_client::metrics::gauge::Gauge;

/// The state of the grants folder and of the secrets that its files name. Whoever owns the folder
/// gives these their names.
#[derive(Debug, Clone, Default)]
pub struct GrantsMetrics {
    /// Of the folder.
    pub manifests: ManifestMetrics,
    /// Secrets whose values cannot be read as their files are now.
    pub secrets_unreadable: Gauge,
}
