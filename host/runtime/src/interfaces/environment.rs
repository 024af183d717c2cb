//! `wasi:cli/environment`: the variables that the window's grants have, as they were when the
//! instance started. Programs read them once, and are told the same each time.

use crate::instance::InstanceState;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

/// As wasmtime-wasi 48 names them. Under another name guests would find no variables:
/// `tests/interfaces.rs` shows that they do.
const ENVIRONMENTS: [&str; 2] = ["wasi:cli/environment@0.2.12", "wasi:cli/environment@0.3.0"];

/// Puts it in the place of what is in `linker`: that would have a copy of all variables made for
/// each instance, whether it reads them or not.
pub(super) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    for name in ENVIRONMENTS {
        linker.instance(name)?.func_wrap(
            "get-environment",
            |store: StoreContextMut<'_, InstanceState>, (): ()| Ok((variables(store.data()),)),
        )?;
    }
    linker.allow_shadowing(false);
    Ok(())
}

fn variables(instance: &InstanceState) -> Vec<(String, String)> {
    let granted = instance.started_with.as_ref();
    let variables = granted.map(|granted| granted.grants.env.iter());
    variables
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
