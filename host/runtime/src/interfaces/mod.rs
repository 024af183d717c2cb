//! What a window may import beside WASI's own command and HTTP interfaces.
//!
//! - [`keyvalue`] is the window's store as the guest sees it, and [`transactions`] are changes of
//!   it together with events.
//! - [`settings`] is what a guest may read of its window's grants. [`config`] and [`secrets`]
//!   answer from it, and so do Spin's variables; [`environment`] is the grants' `env`.
//! - [`logging`] writes into the window's log.
//! - [`spans`] are parts of the guest's own work, in the trace of its request.
//! - [`otel`] are such parts and lines of the log by `wasi:otel`, where the operator has switched
//!   it on.
//! - [`spin`] is what Spin's components import: key-value stores and variables.
//! - [`stubs`] links what is there in name alone: files and sockets ([`empty`]), and what no window
//!   is given.

mod config;
mod empty;
mod environment;
pub(crate) mod keyvalue;
mod logging;
pub(crate) mod otel;
pub(crate) mod secrets;
mod settings;
mod spans;
mod spin;
pub(crate) mod stubs;
pub(crate) mod transactions;

use super::instance::InstanceState;
use wasmtime::component::Linker;

/// Puts into `linker`, in which WASI's own are, all of them that are always there.
pub(super) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    keyvalue::add_to_linker(linker)?;
    transactions::add_to_linker(linker)?;
    config::add_to_linker(linker)?;
    environment::add_to_linker(linker)?;
    logging::add_to_linker(linker)?;
    secrets::add_to_linker(linker)?;
    spans::add_to_linker(linker)?;
    spin::add_to_linker(linker)
}
