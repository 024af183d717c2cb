//! `wasi:logging/logging@0.1.0-draft`: a line of the window's log for each call, with its level.

use crate::instance::InstanceState;
use crate::log::Level;
use hms_core::trace::logged;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

const LOGGING: &str = "wasi:logging/logging@0.1.0-draft";

pub(super) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    linker.instance(LOGGING)?.func_wrap(
        "log",
        |store: StoreContextMut<'_, InstanceState>,
         (level, context, message): (Level, String, String)| {
            let of = &store.data().context;
            let say = || of.log.entry(level, &context, &message);
            logged::about(of.at_work.work(), say);
            Ok(())
        },
    )
}
