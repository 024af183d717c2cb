//! What a window may import beside WASI's own command and HTTP interfaces.
//!
//! - [`keyvalue`] is the window's store as the guest sees it.

pub(crate) mod keyvalue;

use super::instance::InstanceState;
use wasmtime::component::Linker;

/// Puts all of them into `linker`.
pub(super) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    keyvalue::add_to_linker(linker)
}
