//! What Spin's components import, under the names of Spin 2 and later (`fermyon:spin@2.0.0`) and of
//! Spin 4 (`spin:…@3.0.0`): [`key_value`] over the window's own store, [`variables`] over its
//! grants.
//!
//! The two generations have the same functions, but those of the later are `async` in WIT, which
//! wasmtime links by other means.

mod key_value;
mod variables;

use crate::instance::InstanceState;
use wasmtime::component::Linker;

pub(super) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    key_value::add_to_linker(linker)?;
    variables::add_to_linker(linker)
}
