//! Files and sockets: interfaces of WASI behind which no window has anything.
//!
//! No folder is pre-opened, and no address is granted. So nobody can get a descriptor or a socket,
//! and of all their functions only those can be called that make or list one: they say that there
//! is none, or that access is denied. Those of wasmtime-wasi would say the same, but each of its
//! 150 functions is compiled for our type of instance, which took two fifths of the time that this
//! crate takes to build.

use crate::instance::InstanceState;
use anyhow::anyhow;
use std::sync::Arc;
use wasmtime::StoreContextMut;
use wasmtime::component::types::ComponentFunc;
use wasmtime::component::{LinkerInstance, Resource, ResourceType, Type, Val};

const PACKAGES: [&str; 2] = ["wasi:filesystem/", "wasi:sockets/"];

/// What both versions of `wasi:sockets` call it.
const DENIED: &str = "access-denied";

/// A resource of such an interface.
struct Nothing;

/// Whether `interface` is one of them, in whichever version.
pub(super) fn is_it(interface: &str) -> bool {
    PACKAGES.iter().any(|it| interface.starts_with(it))
}

/// Defines a resource of such an interface. Only the network of `wasi:sockets/instance-network` is
/// ever made.
pub(super) fn define_resource(
    to: &mut LinkerInstance<'_, InstanceState>,
    name: &str,
) -> wasmtime::Result<()> {
    let its = ResourceType::host::<Nothing>();
    to.resource(name, its, |mut store, number| {
        let resource = Resource::<Nothing>::new_own(number);
        store.data_mut().table.delete(resource)?;
        Ok(())
    })
}

/// Defines the function `name` by its type. `whole` is its name for people.
pub(super) fn define(
    to: &mut LinkerInstance<'_, InstanceState>,
    name: &str,
    whole: &str,
    function: &ComponentFunc,
) -> wasmtime::Result<()> {
    let whole: Arc<str> = Arc::from(whole);
    if function.async_() {
        to.func_new_concurrent(name, move |_, function, _, results| {
            let answered = answer(None, &function, results, &whole);
            Box::pin(async move { answered })
        })
    } else {
        to.func_new(name, move |store, function, _, results| {
            answer(Some(store), &function, results, &whole)
        })
    }
}

fn answer(
    mut store: Option<StoreContextMut<'_, InstanceState>>,
    function: &ComponentFunc,
    results: &mut [Val],
    whole: &str,
) -> wasmtime::Result<()> {
    for (result, its) in results.iter_mut().zip(function.results()) {
        *result = match (its, &mut store) {
            (Type::List(_), _) => Val::List(Vec::new()),
            (Type::Option(_), _) => Val::Option(None),
            (Type::Result(its), _) => {
                let denied = its.err().and_then(|its| denied(&its));
                let denied = denied.ok_or_else(|| unreachable(whole))?;
                Val::Result(Err(Some(Box::new(denied))))
            }
            // In the table, whose limit holds for it.
            (Type::Own(_), Some(store)) => {
                let resource = store.data_mut().table.push(Nothing)?;
                Val::Resource(resource.try_into_resource_any(store)?)
            }
            _ => return Err(unreachable(whole)),
        };
    }
    Ok(())
}

fn denied(error: &Type) -> Option<Val> {
    match error {
        Type::Enum(its) => {
            let has_it = its.names().any(|name| name == DENIED);
            has_it.then(|| Val::Enum(DENIED.to_owned()))
        }
        Type::Variant(its) => {
            let has_it = its
                .cases()
                .any(|case| case.name == DENIED && case.ty.is_none());
            has_it.then(|| Val::Variant(DENIED.to_owned(), None))
        }
        _ => None,
    }
}

/// Of a function that needs a resource which nobody can have.
fn unreachable(whole: &str) -> wasmtime::Error {
    wasmtime::Error::from_anyhow(anyhow!(
        "{whole} was called, but this host does not implement it"
    ))
}
