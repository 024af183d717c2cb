//! `hms:telemetry/spans`: parts of a guest's own work, in the trace of its request.

use crate::instance::InstanceState;
use hms_grants::mask;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

const SPANS: &str = "hms:telemetry/spans@0.1.0";

/// Bytes of a name that are looked at. More than a record keeps, so that a secret that is cut in
/// two is masked all the same.
const MAX_NAME: usize = 4 << 10;

pub(super) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    let mut spans = linker.instance(SPANS)?;
    spans.func_wrap(
        "begin",
        |store: StoreContextMut<'_, InstanceState>, (name,): (String,)| {
            let context = &store.data().context;
            let number = context.at_work.begin_own(|| {
                let kept = name.get(..name.floor_char_boundary(MAX_NAME));
                mask::masked(&context.grants.load(), kept.unwrap_or_default()).into()
            });
            Ok((number,))
        },
    )?;
    spans.func_wrap(
        "end",
        |store: StoreContextMut<'_, InstanceState>, (number, failed): (u32, bool)| {
            store.data().context.at_work.end_own(number, failed);
            Ok(())
        },
    )
}
