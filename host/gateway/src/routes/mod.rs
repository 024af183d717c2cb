//! The routes: a watched folder of manifests, and the immutable table that requests are matched
//! with.
//!
//! hms-manifest reads the files and decides what is live: a bad or conflicting file keeps its last
//! good route. `manifest` is what a file says -> `active` puts the live state of its upstream
//! beside each -> `table` answers lookups; `set` holds it together.

mod active;
pub mod manifest;
mod set;
mod status;
mod table;

pub use active::ActiveRoute;
pub use set::RouteSet;
pub use status::route_status;
pub use table::{RouteMatch, Table};

#[cfg(test)]
mod tests;
