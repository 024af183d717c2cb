//! The routes: a folder of manifests, watched, and the immutable table that requests are matched
//! with.
//!
//! `folder` reads the files -> `files` decides what is live (a bad or conflicting file keeps its
//! last good route, `last_good` over a restart too) -> `active` puts the live state of its upstream
//! beside each (`health`) -> `table` answers lookups; `set` holds it all
//! together, `watch` has it look again whenever a file has changed, and `edit` changes files for
//! the admin API.

mod active;
mod edit;
mod files;
mod folder;
mod health;
mod last_good;
pub mod manifest;
mod set;
mod status;
mod table;
mod watch;

pub use active::ActiveRoute;
pub use edit::EditError;
pub use files::{Saved, check_file};
pub use health::Health;
pub use set::{LOOK_TIME, RouteSet};
pub use status::{RouteState, RouteStatus};
pub use table::{RouteMatch, Table};

#[cfg(test)]
mod tests;
