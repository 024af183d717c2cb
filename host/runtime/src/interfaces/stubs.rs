//! Interfaces that are there in name alone, linked for one component by the types of its imports.
//!
//! - Files and sockets, of which no window has any: see [`empty`]. Standard toolchains import them
//!   unasked.
//! - What no window is given, for operators who know that it is never called: each function ends
//!   the request that calls it.
//!
//! wasmtime's own `define_unknown_imports_as_traps` is not used: in 48.0.8 it also stubs aliases of
//! resources in instances that are linked, such as `wasi:http/types#headers`, and so refuses good
//! components. Here only instances are stubbed of which nothing is linked.

use super::empty;
use crate::failure::UnknownImportCalled;
use crate::inspect;
use crate::instance::InstanceState;
use crate::linker::Experimental;
use std::sync::Arc;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, Linker, LinkerInstance, ResourceType};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, IoError};

/// The resources that `component` has from instances that are linked, as it knows them, and what
/// they are on the host.
type Known = Vec<(ResourceType, ResourceType)>;

/// What a stubbed function does.
#[derive(Clone, Copy)]
enum Stub {
    /// It finds nothing.
    Empty,
    /// It ends the request.
    Unknown,
}

/// Adds to `linker` what `component` imports of files and sockets, and with `trap_unknown` also
/// what it imports and no window is given.
pub(crate) fn add(
    linker: &mut Linker<InstanceState>,
    component: &Component,
    experimental: Experimental,
    trap_unknown: bool,
) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    let mut known = Known::new();
    // An interface comes behind those whose resources it uses.
    for (name, import) in component.component_type().imports(&engine) {
        let stub = match inspect::is_linked(name, experimental) {
            true if empty::is_it(name) => Some(Stub::Empty),
            false if trap_unknown => Some(Stub::Unknown),
            _ => None,
        };
        match (import.ty, stub) {
            (ComponentItem::ComponentInstance(instance), Some(stub)) => {
                let mut to = linker.instance(name)?;
                for (inner, item) in instance.exports(&engine) {
                    let whole = format!("{name}#{inner}");
                    define(&mut to, inner, &whole, item.ty, &known, stub)?;
                }
            }
            (ComponentItem::ComponentInstance(instance), None) => {
                for (inner, item) in instance.exports(&engine) {
                    if let ComponentItem::Resource(its) = item.ty
                        && let Some(host) = host_resource(name, inner)
                    {
                        known.push((its, host));
                    }
                }
            }
            (item, Some(stub)) => define(&mut linker.root(), name, name, item, &known, stub)?,
            (_, None) => {}
        }
    }
    Ok(())
}

fn define(
    to: &mut LinkerInstance<'_, InstanceState>,
    name: &str,
    whole: &str,
    item: ComponentItem,
    known: &Known,
    stub: Stub,
) -> wasmtime::Result<()> {
    match item {
        ComponentItem::ComponentFunc(function) => match stub {
            Stub::Empty => empty::define(to, name, whole, &function),
            Stub::Unknown => define_trap(to, name, whole, &function),
        },
        ComponentItem::Resource(its) => match known.iter().find(|(known, _)| *known == its) {
            Some((_, host)) => to.resource(name, *host, |_, _| Ok(())),
            None => empty::define_resource(to, name),
        },
        // Types need no definition. Whatever else is not there, linking says.
        _ => Ok(()),
    }
}

fn define_trap(
    to: &mut LinkerInstance<'_, InstanceState>,
    name: &str,
    whole: &str,
    function: &ComponentFunc,
) -> wasmtime::Result<()> {
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
        linked_with(text, true)
    }

    fn linked_with(text: &str, trap_unknown: bool) -> Result<(), String> {
        let mut config = Config::new();
        config.wasm_component_model_async(true);
        let engine = Engine::new(&config).unwrap();
        let component = Component::new(&engine, wat::parse_str(text).unwrap()).unwrap();
        let mut linker = linker::build(&engine, Experimental::default()).unwrap();
        assert!(linker.instantiate_pre(&component).is_err());
        add(
            &mut linker,
            &component,
            Experimental::default(),
            trap_unknown,
        )
        .unwrap();
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

    #[test]
    fn files_and_sockets_are_linked_in_every_version_and_what_is_unknown_is_not() {
        let text = r#"(component
            (import "wasi:io/poll@0.2.0" (instance $poll
                (export "pollable" (type (sub resource)))))
            (alias export $poll "pollable" (type $p))
            (import "wasi:sockets/network@0.2.99" (instance $network
                (export "network" (type (sub resource)))))
            (alias export $network "network" (type $n))
            (import "wasi:sockets/instance-network@0.2.99" (instance
                (export "network" (type $own (eq $n)))
                (export "instance-network" (func (result (own $own))))))
            (import "wasi:sockets/tcp@0.2.0" (instance
                (export "tcp-socket" (type $tcp (sub resource)))
                (export "pollable" (type $own (eq $p)))
                (export "[method]tcp-socket.subscribe"
                    (func (param "self" (borrow $tcp)) (result (own $own))))))
            (import "wasi:filesystem/types@0.3.0" (instance $types
                (export "descriptor" (type $file (sub resource)))
                (export "[method]descriptor.sync"
                    (func async (param "self" (borrow $file)) (result (result))))))
            (alias export $types "descriptor" (type $file))
            (import "wasi:filesystem/preopens@0.3.0" (instance
                (export "descriptor" (type $own (eq $file)))
                (export "get-directories"
                    (func (result (list (tuple (own $own) string)))))))
            MORE)"#;
        assert_eq!(linked_with(&text.replace("MORE", ""), false), Ok(()));
        let more = r#"(import "acme:vault/store@1.0.0" (instance (export "open" (func))))"#;
        let refused = linked_with(&text.replace("MORE", more), false).unwrap_err();
        assert!(refused.contains("acme:vault"), "{refused}");
    }
}
