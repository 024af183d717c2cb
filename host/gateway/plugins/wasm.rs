//! `wasm`: a window that stands in the chain, as `wasi:http/middleware@0.3` says: it sees the request, and calls on or
//! answers itself. Sandboxed, limited and swapped live like any window.

use crate::gateway::manifest::{Field, Kind, Map, is_window_name};

pub const FIELDS: &[Field] = &[Field {
    name: "window",
    kind: Kind::Text("audit"),
    doc: "The window that the request visits. The plugin may be listed more than once; they run in the order of the list.",
}];

/// The name of the window.
pub fn read(map: &Map<'_>) -> Option<String> {
    map.require("window")?;
    map.parsed("window", |name| {
        if is_window_name(name) {
            return Ok(name.to_string());
        }
        Err(format!(
            "'{name}' is no window name: small letters, digits and inner hyphens, at most 55"
        ))
    })
}
