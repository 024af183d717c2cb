//! Imports that no window is given, linked for operators who know that they are never called: each
//! function ends the request that calls it.
//!
//! wasmtime's own `define_unknown_imports_as_traps` is not used: in 48.0.8 it also stubs aliases of
//! resources in instances that are linked, such as `wasi:http/types#headers`, and so refuses good
//! components. Here only instances are stubbed of which nothing is linked.

use crate::failure::UnknownImportCalled;
use crate::inspect;
use crate::instance::InstanceState;
use crate::linker::Experimental;
use std::sync::Arc;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, LinkerInstance, ResourceType};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, IoError};

/// Any resource of an instance that is not there. Nobody can make one.
enum Nothing {}

/// The resources that `component` has from instances that are linked, as it knows them, and what
/// they are on the host.
type Known = Vec<(ResourceType, ResourceType)>;

/// Adds to `linker` what `component` imports and no window is given.
pub(crate) fn trap(
    linker: &mut Linker<InstanceState>,
    component: &Component,
    experimental: Experimental,
) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    let mut known = Known::new();
    // An interface comes behind those whose resources it uses.
    for (name, import) in component.component_type().imports(&engine) {
        let linked = inspect::is_linked(name, experimental);
        match import.ty {
            ComponentItem::ComponentInstance(instance) if linked => {
                for (inner, item) in instance.exports(&engine) {
                    if let ComponentItem::Resource(its) = item.ty
                        && let Some(host) = host_resource(name, inner)
                    {
                        known.push((its, host));
                    }
                }
            }
            ComponentItem::ComponentInstance(instance) => {
                let mut to = linker.instance(name)?;
                for (inner, item) in instance.exports(&engine) {
                    stub(&mut to, inner, &format!("{name}#{inner}"), item.ty, &known)?;
                }
            }
            item if !linked => stub(&mut linker.root(), name, name, item, &known)?,
            _ => {}
        }
    }
    Ok(())
}

fn stub(
    to: &mut LinkerInstance<'_, InstanceState>,
    name: &str,
    whole: &str,
    item: ComponentItem,
    known: &Known,
) -> wasmtime::Result<()> {
    match item {
        ComponentItem::ComponentFunc(function) => {
            let called = UnknownImportCalled(Arc::from(whole));
            if function.async_() {
                to.func_new_concurrent(name, move |_, _, _, _| {
                    let called = called.clone();
                    Box::pin(async move { Err(called.into()) })
                })
            } else {
                to.func_new(name, move |_, _, _, _| Err(called.clone().into()))
            }
        }
        ComponentItem::Resource(its) => {
            let host = known.iter().find(|(known, _)| *known == its);
            let host = host.map_or_else(ResourceType::host::<Nothing>, |(_, host)| *host);
            to.resource(name, host, |_, _| Ok(()))
        }
        // Types need no definition. Whatever else is not there, linking says.
        _ => Ok(()),
    }
}

/// The resources of linked interfaces that interfaces of others use: streams, as blob stores and
/// TLS do.
fn host_resource(interface: &str, resource: &str) -> Option<ResourceType> {
    let (interface, _) = interface.split_once('@')?;
    match (interface, resource) {
        ("wasi:io/error", "error") => Some(ResourceType::host::<IoError>()),
        ("wasi:io/poll", "pollable") => Some(ResourceType::host::<DynPollable>()),
        ("wasi:io/streams", "input-stream") => Some(ResourceType::host::<DynInputStream>()),
        ("wasi:io/streams", "output-stream") => Some(ResourceType::host::<DynOutputStream>()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linker;
    use wasmtime::{Config, Engine};

    fn linked(text: &str) -> Result<(), String> {
        let mut config = Config::new();
        config.wasm_component_model_async(true);
        let engine = Engine::new(&config).unwrap();
        let component = Component::new(&engine, wat::parse_str(text).unwrap()).unwrap();
        let mut linker = linker::build(&engine, Experimental::default()).unwrap();
        assert!(linker.instantiate_pre(&component).is_err());
        trap(&mut linker, &component, Experimental::default()).unwrap();
        let linked = linker.instantiate_pre(&component);
        linked.map(drop).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn unknown_instance_is_linked_with_its_functions_and_resources() {
        let text = r#"(component
            (import "acme:vault/types@1.0.0" (instance $types
                (export "box" (type (sub resource)))))
            (alias export $types "box" (type $box))
            (import "acme:vault/store@1.0.0" (instance
                (export "box" (type $own (eq $box)))
                (export "open" (func async (param "name" string) (result (own $own))))
                (export "close" (func (param "box" (borrow $own))))))
            (import "plain" (func (param "a" u32))))"#;
        assert_eq!(linked(text), Ok(()));
    }

    #[test]
    fn unknown_instance_may_use_streams_of_a_known_one() {
        let text = r#"(component
            (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
            (alias export $error "error" (type $e))
            (import "wasi:io/streams@0.2.0" (instance $streams
                (export "error" (type (eq $e)))
                (export "input-stream" (type (sub resource)))))
            (alias export $streams "input-stream" (type $in))
            (import "wasi:blobstore/types@0.2.0-draft" (instance
                (export "input-stream" (type $own (eq $in)))
                (export "consume" (func (result (own $own)))))))"#;
        assert_eq!(linked(text), Ok(()));
    }

    #[test]
    fn known_instance_without_a_function_that_is_imported_stays_refused() {
        let text = r#"(component
            (import "acme:vault/store@1.0.0" (instance (export "open" (func))))
            (import "wasi:cli/environment@0.2.0" (instance (export "erase" (func)))))"#;
        let refused = linked(text).unwrap_err();
        assert!(refused.contains("erase"), "{refused}");
    }
}
