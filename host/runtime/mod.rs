//! The sandbox: the only place that names wasmtime.
//!
//! In the order in which a component meets it: [`inspect`] reads the bytes and says whether they are a window;
//! [`compile`] turns them into native code in a child process; [`engine`] and [`linker`] say what code may do
//! and reach; [`clerk`] is one instance at work with its [`limits`] and its [`errand`], the request it serves;
//! [`keyvalue`] is the window's store as the guest sees it, [`log`] is where its words go.

pub mod clerk;
pub mod compile;
mod deadline;
pub mod engine;
mod errand;
mod failure;
pub mod inspect;
mod keyvalue;
pub mod limits;
mod linker;
pub mod log;

pub use clerk::{Clerks, Cutter, Post};
pub use compile::{CompileLimits, Compiler};
pub use engine::{EngineConfig, Runtime};
pub use inspect::{Inspection, Refusal};
pub use limits::Limits;
pub use log::WindowLog;
