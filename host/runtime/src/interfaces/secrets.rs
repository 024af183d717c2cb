//! `wasmcloud:secrets@2.1.0`: the secrets that the window's grants reveal. A handle has the value
//! as it was when the handle was made.
//!
//! The third interface of the package, `secret`, is imported under a label of the component's own
//! and is not linked.

use super::settings;
use crate::instance::InstanceState;
use hms_grants::Secret;
use wasmtime::component::{ComponentType, Linker, Lower, Resource, ResourceType};

const STORE: &str = "wasmcloud:secrets/store@2.1.0";
const REVEAL: &str = "wasmcloud:secrets/reveal@2.1.0";

/// A secret that a guest has looked up.
pub(crate) struct FoundSecret(Secret);

impl FoundSecret {
    /// The bytes that it holds: its value may have been replaced in the grants meanwhile.
    pub(crate) fn bytes(&self) -> usize {
        self.0.expose().len()
    }
}

/// `wasmcloud:secrets/store.secrets-error`.
#[derive(ComponentType, Lower)]
#[component(variant)]
#[expect(dead_code, reason = "the interface has cases that do not arise here")]
enum Error {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
    #[component(name = "not-found")]
    NotFound,
}

/// `wasmcloud:secrets/store.secret-value`.
#[derive(Debug, PartialEq, ComponentType, Lower)]
#[component(variant)]
enum Value {
    #[component(name = "string")]
    Text(String),
    #[component(name = "bytes")]
    Bytes(Vec<u8>),
}

pub(super) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    let secret = ResourceType::host::<FoundSecret>();
    let mut store = linker.instance(STORE)?;
    store.resource("secret", secret, |mut store, rep| {
        let handle = Resource::<FoundSecret>::new_own(rep);
        store.data_mut().table.delete(handle)?;
        Ok(())
    })?;
    store.func_wrap_concurrent("get", |instance, (key,): (String,)| {
        Box::pin(async move { Ok((instance.with(|mut access| get(access.get(), &key))?,)) })
    })?;
    let mut reveal = linker.instance(REVEAL)?;
    reveal.resource("secret", secret, |_, _| Ok(()))?;
    reveal.func_wrap_concurrent("reveal", |instance, (handle,): (Resource<FoundSecret>,)| {
        Box::pin(async move {
            instance.with(|mut access| {
                let FoundSecret(secret) = access.get().table.get(&handle)?;
                Ok((value(secret.expose()),))
            })
        })
    })
}

fn get(
    instance: &mut InstanceState,
    key: &str,
) -> wasmtime::Result<Result<Resource<FoundSecret>, Error>> {
    let granted = instance.context.grants.current();
    let found = match settings::secret(&granted, key) {
        Some(settings::Setting::Revealed(secret)) => FoundSecret(secret.clone()),
        Some(other) => match other.text() {
            Ok(text) => FoundSecret(Secret::new(text.into_bytes())),
            Err(why) => return Ok(Err(Error::Upstream(why))),
        },
        None => return Ok(Err(Error::NotFound)),
    };
    instance.keep(found.bytes())?;
    Ok(Ok(instance.table.push(found)?))
}

fn value(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::Text(text.to_owned()),
        Err(_) => Value::Bytes(bytes.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_is_text_where_it_is_utf_8_and_bytes_otherwise() {
        assert_eq!(value(b"sk_live"), Value::Text("sk_live".into()));
        assert_eq!(value(b"\xff"), Value::Bytes(vec![0xff]));
    }
}
