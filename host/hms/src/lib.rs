//! HMS-SVC: a WebAssembly plugin host and API gateway. Each service window is a sandboxed component
//! with a private store. One process serves them all and replaces them without downtime.
//!
//! This crate puts the host together: [`cli`] and [`config`] start it. [`hms_gateway`] accepts a
//! request, [`hms_windows`] leases it the live release, [`hms_runtime`] has an instance serve it,
//! `hms-store` keeps what the instance writes. [`hms_admin`] is the operators' side, [`hms_backup`]
//! copies and restores a host. [`hms_core::error`] is the one map from failure to answer.

// For maintainers: the documentation is built with private items.
#![allow(rustdoc::private_intra_doc_links)]
// The futures of the command line hold those of a whole host.
#![recursion_limit = "256"]

pub mod children;
pub mod cli;
pub mod config;
pub mod descriptors;
#[cfg(test)]
mod documented;
pub mod signals;
