//! The sandbox: the only place that names wasmtime.
//!
//! In the order in which a component passes through it:
//!
//! - [`inspect`] parses the bytes and decides whether they are a window; [`anatomy`] says what they
//!   consist of.
//! - [`compile`] turns them into [`native`] code in a child process.
//! - [`engine`] and [`linker`] define what code may do and reach; [`code`] is what is loaded.
//! - [`factory`] creates instances and hands them requests; [`instance`] is one instance with its
//!   limits, which [`meter`] counts.
//! - [`cpu_share`] divides processor time; [`placement`] decides between a lane and the
//!   [`slow_pool`].
//! - [`in_flight_set`] holds an instance's requests, each an [`in_flight`], which measures the time
//!   spent waiting for the client (`client_time`), and the spans that guests name ([`own_spans`]);
//!   [`waiters`] bounds the instances that wait for slow clients.
//! - [`error`] is why an instance failed, which [`failure`] reads from wasmtime's errors and
//!   [`failures`] counts and [`trap`] tells authors; [`log`] keeps what instances write, without
//!   the secrets that [`mask`](hms_grants::mask) knows.
//! - [`interfaces`] is what a guest may import beside WASI's own: its store, its configuration.
//! - [`host_memory`] is what the host keeps for an instance; [`http_types`] declares it for
//!   wasmtime's own types.
//! - [`outgoing`] sends requests: along a chain ([`middleware`]), to other windows, to services;
//!   [`requests`] determines for which request.
//! - [`reuse`] tests whether an instance can serve more than one request.

// For maintainers: the documentation is built with private items.
#![allow(rustdoc::private_intra_doc_links)]

pub mod anatomy;
mod bodies;
mod client_time;
mod code;
pub mod compile;
mod cpu_share;
mod deadline;
pub mod engine;
mod error;
mod error_text;
mod factory;
mod failure;
pub mod failures;
mod host_memory;
mod http_types;
mod in_flight;
mod in_flight_set;
pub mod inspect;
pub mod instance;
#[expect(
    unreachable_pub,
    reason = "the bindings name these types in code that is public"
)]
mod interfaces;
mod linker;
pub mod log;
mod meter;
mod middleware;
pub mod native;
mod outgoing;
mod own_spans;
mod placement;
mod requests;
mod reuse;
mod shortage;
mod slow_pool;

mod trap;
mod usage;
mod waiters;
mod wasi;

pub use code::{Code, LoadError};
pub use compile::{CompileLimits, Compiler};
pub use cpu_share::CpuShares;
pub use engine::{EngineConfig, Runtime};
pub use factory::CancelHandle;
pub use failures::Failures;
pub use hms_core::limits::{Limit, LimitsChange, LimitsSet, LiveLimits, WindowLimits};
pub use in_flight::InFlight;
pub use inspect::{Inspection, Refusal};
pub use instance::{InstanceAtWork, InstanceContext, Instances};
pub use linker::Experimental;
pub use log::WindowLog;
pub use reuse::ReuseOff;
pub use shortage::{Short, Shortage};
pub use usage::Usage;
pub use waiters::Waiters;
