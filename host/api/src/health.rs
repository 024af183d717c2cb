//! `/healthz` and `/readyz`.

use crate::Word;
use crate::words::words;
use serde::{Deserialize, Serialize};

/// The answer to `GET /healthz` and `GET /readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Whether the host is alive or ready.
    pub status: HealthStatus,
    /// What must be read before the host is ready.
    #[serde(
        rename = "not-read-yet",
        default,
        skip_serializing_if = "Vec::is_empty"
    )]
    pub not_read_yet: Vec<Word>,
}

words! {
    /// Whether a host is alive or ready.
    pub enum HealthStatus {
        /// It is alive.
        Ok = "ok",
        /// It is ready for traffic.
        Ready = "ready",
        /// It is not ready for traffic; the status of the answer is 503.
        NotReady = "not ready",
    }
}
