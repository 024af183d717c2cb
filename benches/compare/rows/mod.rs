//! The rows, in the order of the table.

pub mod docs;
pub mod hello;
pub mod outgoing;
pub mod payments;
pub mod plugins;
pub mod proxy;
pub mod site;
pub mod windows;

use std::time::Duration;

/// How long, how often, and with what.
pub struct Settings {
    pub time: Duration,
    pub pairs: usize,
    /// The wasmtime program.
    pub wasmtime: String,
    /// Payments stored for the look-up among many.
    pub payments: u32,
    pub windows: u32,
}

/// A route through all of the gateway: a token that is checked, and a limit that nobody reaches.
pub fn guarded(uri: &str, upstream: &str) -> String {
    format!(
        "uri: {uri}\nupstream: {upstream}\nplugins:\n  - auth\n  - rate-limit: {{limit: 1000000, window: 1}}\n"
    )
}
