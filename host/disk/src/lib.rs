//! Files and folders.
//!
//! [`files`] writes a file whole or not at all, and reads at most so much of one. [`data`] is the
//! data folder, which one host has at a time; [`permissions`] keeps others out of it; [`reserve`]
//! is space for the host's own records on a full disk. [`changes`] is the one watcher of folders,
//! and [`stamp`] tells a changed file from an unchanged one. [`crash`] is for tests of what a crash
//! leaves.

// For maintainers: the documentation is built with private items.
#![allow(rustdoc::private_intra_doc_links)]

pub mod changes;
pub mod crash;
pub mod data;
pub mod files;
pub mod permissions;
pub mod reserve;
pub mod stamp;
