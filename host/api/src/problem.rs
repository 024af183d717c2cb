//! Refusals.

use crate::{Fault, Word};
use serde::{Deserialize, Serialize};

/// A refusal, as `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:hms:problem:CODE`. docs/operations.md lists the codes.
    #[serde(rename = "type")]
    pub kind: String,
    /// The name of the HTTP status.
    #[serde(default)]
    pub title: Word,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// What is wrong and what to do, as a sentence.
    pub detail: String,
    /// The faults of a refused manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// Of `needs-consent`: what `yes` has to be to agree to what `detail` says, and to that alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<String>,
}
