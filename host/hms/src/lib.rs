//! HMS-SVC: a WebAssembly plugin host and API gateway. Each service window is a sandboxed component
//! with a private store. One process serves them all and replaces them without downtime.
//!
//! In reading order: [`cli`] and [`config`] start the host; [`gateway`] accepts a request,
//! [`windows`] leases it the live release, [`runtime`] has an instance serve it, [`store`] keeps
//! what the instance writes. [`admin`] is the operators' side, [`backup`] copies and restores a
//! host. Dependencies point that way only, from gateway and admin down to the store. [`error`] is
//! the one map from failure to answer.

// The documentation is for whoever carries on, and built with its private items.
#![allow(rustdoc::private_intra_doc_links)]
// The futures of the command line hold those of a whole host.
#![recursion_limit = "256"]

pub mod children;
#[expect(
    clippy::indexing_slicing,
    reason = "of JSON: what is not there reads as null"
)]
pub mod cli;
pub mod config;
pub mod descriptors;
#[cfg(test)]
mod documented;
pub mod signals;
