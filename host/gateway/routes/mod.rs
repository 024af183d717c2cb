//! The routes: a folder of manifests, watched, and the immutable table that requests are matched with.
//!
//! `folder` reads the files -> `set` decides what is live (a bad or conflicting file keeps its last good route) ->
//! `table` answers lookups; `watch` calls the set again whenever a file has changed.

mod folder;
mod set;
mod status;
mod table;
mod watch;

pub use set::RouteSet;
pub use status::{RouteState, RouteStatus};
pub use table::Table;

#[cfg(test)]
mod tests;
