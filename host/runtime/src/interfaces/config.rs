//! `wasi:config/store`: what the window's grants configure and reveal, as it is now.
//!
//! Three drafts are in use, with the same functions. Drafts match by exact name, so it is linked
//! under each: wasmtime and wasmCloud 2 import `0.2.0-rc.1`, older wasmCloud and Golem
//! `0.2.0-draft`, and Spin `0.2.0-draft-2024-09-27`.

use super::settings;
use crate::instance::InstanceState;
use hms_grants::WindowGrants;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, Lower};

const STORES: [&str; 3] = [
    "wasi:config/store@0.2.0-rc.1",
    "wasi:config/store@0.2.0-draft",
    "wasi:config/store@0.2.0-draft-2024-09-27",
];

/// `wasi:config/store.error`.
#[derive(Debug, PartialEq, ComponentType, Lower)]
#[component(variant)]
#[expect(
    dead_code,
    reason = "the interface has a case that does not arise here"
)]
enum Error {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}

type Store<'a> = StoreContextMut<'a, InstanceState>;

pub(super) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    for name in STORES {
        let mut store = linker.instance(name)?;
        store.func_wrap("get", |store: Store, (key,): (String,)| {
            Ok((get(&store.data().context.grants.load(), &key),))
        })?;
        store.func_wrap("get-all", |store: Store, (): ()| {
            Ok((get_all(&store.data().context.grants.load()),))
        })?;
    }
    Ok(())
}

fn get(granted: &WindowGrants, key: &str) -> Result<Option<String>, Error> {
    let text = settings::setting(granted, key).map(|setting| setting.text());
    text.transpose().map_err(Error::Upstream)
}

fn get_all(granted: &WindowGrants) -> Result<Vec<(String, String)>, Error> {
    let all = settings::all(granted).into_iter();
    all.map(|(name, setting)| match setting.text() {
        Ok(text) => Ok((name.to_owned(), text)),
        Err(why) => Err(Error::Upstream(format!("{name}: {why}"))),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::settings::tests::granted;
    use super::*;

    #[test]
    fn key_that_is_not_there_is_no_error() {
        assert_eq!(get(&granted(), "none"), Ok(None));
        assert_eq!(get(&granted(), "currency"), Ok(Some("EUR".into())));
    }

    #[test]
    fn list_names_the_secret_that_is_not_text() {
        let mut granted = granted();
        let refused = get_all(&granted).unwrap_err();
        assert!(matches!(refused, Error::Upstream(why) if why.starts_with("binary:")));
        granted.grants.reveal.remove("binary");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            get_all(&granted),
            Ok(vec![
                pair("currency", "EUR"),
                pair("filled-in", "hms-secret:filled-in"),
                pair("key", "sk_live_42"),
            ])
        );
    }
}
