//! Folders of YAML files that an operator writes: watched, checked, and each serves as it was when
//! it was good last.
//!
//! `document` reads one text, with every fault in its place. A [`Manifest`] says what a kind of
//! files holds. Of a folder of them, `folder` reads the files -> `files` keeps what each asks for
//! (`entry`) and what of it is live: a bad file keeps its last good manifest, `last_good` over a
//! restart too, and of those that claim the same `settle` has one serve -> `set` holds it all
//! together, `also` adds the folders of authors' projects, `watch` has it look again whenever a
//! file has changed, and `edit` changes files for the admin API. What must hold for every kind is
//! in `conformance`, as tests that are generic over it.

mod also;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod document;
mod edit;
mod entry;
mod files;
mod folder;
mod last_good;
mod manifest;
mod metrics;
mod set;
mod settle;
mod watch;

pub use document::{Fault, Field, Kind, Map, Node, Tree, line_of, object, read_document, unknown};
pub use edit::{EditError, in_time};
pub use entry::FileStatus;
pub use files::{Saved, check_file};
pub use folder::MAX_MANIFEST_BYTES;
pub use manifest::{Manifest, Words};
pub use metrics::ManifestMetrics;
pub use set::{LOOK_TIME, ManifestSet};

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
