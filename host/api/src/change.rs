//! What the answers to all changes have in common.

use serde::{Deserialize, Serialize};

/// The answer to a change that is in effect: 200 if it is on disk, 202 if it is not yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Changed<T> {
    /// What the change made.
    #[serde(flatten)]
    pub what: T,
    /// Whether the change is on disk.
    pub durable: bool,
    /// Why it is not on disk, and what follows from that. None if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}
