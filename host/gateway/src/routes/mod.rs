//! The routes: a watched folder of manifests, and the immutable table that requests are matched
//! with.
//!
//! `folder` reads the files -> `files` decides what is live (a bad or conflicting file keeps its
//! last good route; `last_good` keeps it over a restart too) -> `active` puts the live state of its
//! upstream beside each (`health`) -> `table` answers lookups. `set` holds it all together, `watch`
//! triggers a reload whenever a file has changed, and `edit` changes files for the admin API.

mod active;
mod health;
pub mod manifest;
mod set;
mod status;
mod table;

pub use active::ActiveRoute;
pub use health::Health;
pub use set::RouteSet;
pub use status::route_status;
pub use table::{RouteMatch, Table};

#[cfg(test)]
mod tests;
