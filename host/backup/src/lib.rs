//! Backups: what is in one, how it is read and checked, and how a data folder is made of it.
//!
//! A backup is a set of [`Member`]s, as a folder or as one tar stream, with a [`Manifest`] of their
//! hashes, which comes last. Taking one is the admin API's (`admin/backup/`), because only the host
//! itself can look into its open stores. [`source`] reads one, wherever it is, and holds it to its
//! manifest, [`stream`] where it is a tar; [`save`] makes a folder of a stream, and [`restore`] a
//! data folder. [`place`] says where these may be.

// For maintainers: the documentation is built with private items.
#![allow(rustdoc::private_intra_doc_links)]

mod manifest;
mod member;
pub mod place;
pub mod restore;
pub mod save;
pub mod source;
pub mod stream;
#[cfg(test)]
mod tests;

pub use manifest::{FORMAT, FileEntry, Head, Manifest, Missing, sum_of};
pub use member::Member;

/// Members of one backup. 200,000: a store and ten components for each of more windows than a host
/// has.
pub const MAX_MEMBERS: usize = 200_000;
