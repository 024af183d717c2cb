//! The sandbox: the only place that names wasmtime.
//!
//! In the order in which a component meets it: [`inspect`] reads the bytes and says whether they
//! are a window; [`compile`] CPU shares them into [`native`] code in a child process; [`engine`] and
//! [`linker`] say what code may do and reach; [`code`] is what was loaded; [`instance`] is one
//! instance at work with its [`limits`], which a [`meter`] counts and [`cpu_share`] divide, on a lane
//! or in the [`slow_pool`] as the window's [`placement`] says, and its [`in_flight_set`]: each [`in_flight`] of
//! it one request, which knows the time that waited for the client (`client_time`), as [`waiters`]
//! does which instances wait for slow ones; [`factory`]
//! makes instances and gives them requests; [`error`] is why one failed, which [`failure`] reads
//! from wasmtime's errors, and [`failures`] counts it; [`keyvalue`] is the
//! window's store as the guest sees it, [`log`] is where its words go; [`host_memory`] is what the
//! host keeps for it, which [`http_types`] declares for wasmtime's own types; [`middleware`] passes
//! requests on, and [`requests`] says whose; [`reuse`] finds out whether an instance can serve more
//! than one request.

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
mod keyvalue;
pub mod limits;
mod linker;
pub mod log;
mod meter;
mod middleware;
pub mod native;
mod placement;
mod requests;
mod reuse;
mod shortage;
mod slow_pool;
mod waiters;

pub use code::{Code, LoadError};
pub use compile::{CompileLimits, Compiler};
pub use cpu_share::CpuShares;
pub use engine::{EngineConfig, Runtime};
pub use factory::CancelHandle;
pub use failures::Failures;
pub use in_flight::InFlight;
pub use inspect::{Inspection, Refusal};
pub use instance::{InstanceContext, Instances};
pub use limits::{Limit, LimitsChange, LimitsSet, LiveLimits, WindowLimits};
pub use log::WindowLog;
pub use reuse::ReuseOff;
pub use shortage::{Short, Shortage};
pub use waiters::Waiters;
