//! The sandbox: the only place that names wasmtime.
//!
//! In the order in which a component meets it: [`inspect`] reads the bytes and says whether they
//! are a window; [`compile`] turns them into [`native`] code in a child process; [`engine`] and
//! [`linker`] say what code may do and reach; [`code`] is what was loaded; [`clerk`] is one
//! instance at work with its [`limits`], which a [`meter`] counts and [`turns`] divide, on a lane
//! or in the [`workroom`] as the window's [`standing`] says, and its [`duty`]: each [`errand`] of
//! it one request, which knows the time that waited for the client (`client_time`), as [`waiters`]
//! does which clerks wait for slow ones; [`counter`]
//! makes clerks and gives them requests; [`tally`] counts why clerks failed; [`keyvalue`] is the
//! window's store as the guest sees it, [`log`] is where its words go; [`host_memory`] is what the
//! host keeps for it, which [`http_types`] declares for wasmtime's own types; [`middleware`] passes
//! requests on, and [`requests`] says whose; [`reuse`] finds out whether a clerk can serve more
//! than one request.

mod bodies;
pub mod clerk;
mod client_time;
mod code;
pub mod compile;
mod counter;
mod deadline;
mod duty;
pub mod engine;
mod errand;
mod error_text;
mod failure;
mod host_memory;
mod http_types;
pub mod inspect;
mod keyvalue;
pub mod limits;
mod linker;
pub mod log;
mod meter;
mod middleware;
pub mod native;
mod requests;
mod reuse;
mod shortage;
mod standing;
pub mod tally;
mod turns;
mod waiters;
mod workroom;

pub use clerk::{Clerks, Post};
pub use code::{Code, LoadError};
pub use compile::{CompileLimits, Compiler};
pub use counter::Cutter;
pub use engine::{EngineConfig, Runtime};
pub use errand::Errand;
pub use inspect::{Inspection, Refusal};
pub use limits::{Limit, LimitsChange, LimitsSet, LiveLimits, WindowLimits};
pub use log::WindowLog;
pub use reuse::ReuseOff;
pub use shortage::{Short, Shortage};
pub use tally::Failures;
pub use turns::Turns;
pub use waiters::Waiters;
