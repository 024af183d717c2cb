//! Spin's variables: what the window's grants configure and reveal.
//!
//! Spin's names are in lower case with underscores. Names in a grants file often have hyphens, so
//! `card_key` finds `card_key`, or else `card-key`.

use crate::error_text::{ERROR_BYTES, cut};
use crate::instance::InstanceState;
use crate::interfaces::settings::setting;
use hms_grants::WindowGrants;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, Lower};

const VARIABLES_2: &str = "fermyon:spin/variables@2.0.0";
const VARIABLES_3: &str = "spin:variables/variables@3.0.0";

/// `variables.error`, the same in both generations.
#[derive(Debug, PartialEq, ComponentType, Lower)]
#[component(variant)]
#[expect(
    dead_code,
    reason = "the interface has a case that does not arise here"
)]
enum Error {
    #[component(name = "invalid-name")]
    InvalidName(String),
    #[component(name = "undefined")]
    Undefined(String),
    #[component(name = "provider")]
    Provider(String),
    #[component(name = "other")]
    Other(String),
}

pub(super) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    linker.instance(VARIABLES_2)?.func_wrap(
        "get",
        |store: StoreContextMut<'_, InstanceState>, (name,): (String,)| {
            Ok((get(&store.data().context.grants.load(), &name),))
        },
    )?;
    linker
        .instance(VARIABLES_3)?
        .func_wrap_concurrent("get", |instance, (name,): (String,)| {
            Box::pin(async move {
                let got = instance.with(|mut access| {
                    let granted = access.get().context.grants.load();
                    get(&granted, &name)
                });
                Ok((got,))
            })
        })
}

fn get(granted: &WindowGrants, name: &str) -> Result<String, Error> {
    if !is_valid(name) {
        let why = format_args!("'{name}' is not a variable name: use a-z, 0-9 and _");
        return Err(Error::InvalidName(cut(ERROR_BYTES, why)));
    }
    let found = setting(granted, name).or_else(|| setting(granted, &name.replace('_', "-")));
    match found {
        Some(found) => found.text().map_err(Error::Provider),
        None => {
            let why =
                format_args!("the window's grants have no config or revealed secret '{name}'");
            Err(Error::Undefined(cut(ERROR_BYTES, why)))
        }
    }
}

/// As Spin has it: begins with a letter, then letters, digits and underscores.
fn is_valid(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interfaces::settings::tests::granted;

    #[test]
    fn underscore_in_a_name_stands_for_a_hyphen_too() {
        let mut granted = granted();
        assert_eq!(
            get(&granted, "filled_in"),
            Ok("hms-secret:filled-in".into())
        );
        let config = &mut granted.grants.config;
        config.insert("filled_in".into(), "exact".into());
        assert_eq!(get(&granted, "filled_in"), Ok("exact".into()));
        assert_eq!(get(&granted, "currency"), Ok("EUR".into()));
    }

    #[test]
    fn each_refusal_is_told_apart() {
        let get = |name: &str| get(&granted(), name);
        assert!(matches!(get("hidden"), Err(Error::Undefined(_))));
        assert!(matches!(get("binary"), Err(Error::Provider(_))));
        for name in ["", "Key", "filled-in", "1st", "_x", &"é".repeat(5000)] {
            let refused = get(name);
            assert!(
                matches!(&refused, Err(Error::InvalidName(why)) if why.len() <= ERROR_BYTES + 4),
                "{refused:?}"
            );
        }
    }
}
