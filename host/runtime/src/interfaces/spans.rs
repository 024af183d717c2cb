//! `hms:telemetry/spans`: parts of a guest's own work, in the trace of its request.

use crate::instance::InstanceState;
use hms_grants::{WindowGrants, mask};
use std::sync::Arc;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

const SPANS: &str = "hms:telemetry/spans@0.1.0";

/// Bytes of a name that are looked at. More than a record keeps, so that a secret that is cut in
/// two is masked all the same.
const MAX_NAME: usize = 4 << 10;

/// A name as a record may have it.
pub(super) fn masked_name(granted: &WindowGrants, name: &str) -> Arc<str> {
    let kept = name.get(..name.floor_char_boundary(MAX_NAME));
    mask::masked(granted, kept.unwrap_or_default()).into()
}

pub(super) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    let mut spans = linker.instance(SPANS)?;
    spans.func_wrap(
        "begin",
        |store: StoreContextMut<'_, InstanceState>, (name,): (String,)| {
            let context = &store.data().context;
            let name = || masked_name(&context.grants.load(), &name);
            let requests = context.at_work.requests();
            Ok((requests.map_or(0, |requests| requests.begin_own(name)),))
        },
    )?;
    spans.func_wrap(
        "end",
        |store: StoreContextMut<'_, InstanceState>, (number, failed): (u32, bool)| {
            if let Some(requests) = store.data().context.at_work.requests() {
                requests.end_own(number, failed);
            }
            Ok(())
        },
    )
}
