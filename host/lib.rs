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
// `windows/swap_cell.rs` is compiled a second time in its tests, over other locks.
#![cfg_attr(test, allow(clippy::duplicate_mod))]

pub mod admin;
pub mod backup;
pub mod body;
#[cfg(test)]
mod boundaries;
pub mod call;
pub mod changes;
pub mod children;
pub mod cli;
pub mod config;
pub mod connection_limit;
pub mod data;
mod delegate;
pub mod descriptors;
#[cfg(test)]
mod documented;
pub mod error;
pub mod files;
mod framing;
pub mod gateway;
pub mod lanes;
pub mod linger;
pub mod next;
pub mod pace;
pub mod permissions;
pub mod printable;
pub mod reload;
pub mod reserve;
pub mod runtime;
pub mod signals;
pub mod stamp;
pub mod stopwatch;
pub mod store;
pub mod stream_idle;
pub mod telemetry;
pub mod units;
pub mod windows;
