//! What operators see of a window.

use super::{ReleaseRecord, WindowName};
use serde::Serialize;

/// A window as `hms windows` and `GET /windows` show it.
#[derive(Debug, Clone, Serialize)]
pub struct WindowStatus {
    /// Its name.
    pub name: WindowName,
    /// `open`, `stopped`, or `unavailable` where its live release could not be loaded.
    pub state: &'static str,
    /// The live release.
    pub live: Option<ReleaseRecord>,
    /// Requests at work on the live release.
    pub leases: usize,
    /// Old releases that still have requests.
    pub draining: Vec<ReleaseStatus>,
}

/// An old release that still has requests.
#[derive(Debug, Clone, Serialize)]
pub struct ReleaseStatus {
    /// Its number.
    pub number: u64,
    /// Requests that still run on it.
    pub leases: usize,
}
