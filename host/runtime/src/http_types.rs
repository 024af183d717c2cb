//! The functions of `wasi:http/types` by which a guest makes the host keep something, in both
//! generations. Each first declares how much that is at most (see [`super::host_memory`]), then
//! calls wasmtime's own.

use super::error_text::shortened;
use super::host_memory::{FIELD_BYTES, MANY_VALUES, fields_bytes};
use super::instance::InstanceState;
use hms_core::limits::Limit;
use wasmtime::StoreContextMut;
use wasmtime::component::{Access, FutureReader, Linker, LinkerInstance, Resource, StreamReader};
use wasmtime_wasi_http::p2::bindings::http::types as p2;
use wasmtime_wasi_http::p2::body::HostOutgoingBody;
use wasmtime_wasi_http::p2::types::{HostOutgoingRequest, HostOutgoingResponse};
use wasmtime_wasi_http::p3::bindings::http::types as p3;
use wasmtime_wasi_http::p3::{Request, Response};
use wasmtime_wasi_http::{FieldMap, WasiHttp, WasiHttpView};

/// The names in wasmtime-wasi-http 48. Under other names nothing would be charged:
/// `tests/measured/hostile.rs` checks that it is.
const TYPES_2: &str = "wasi:http/types@0.2.12";
const TYPES_3: &str = "wasi:http/types@0.3.0";

/// Replaces the functions in `linker` by these.
pub(super) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES_2)?;
    fields_2(&mut types)?;
    messages_2(&mut types)?;
    let mut types = linker.instance(TYPES_3)?;
    fields_3(&mut types)?;
    messages_3(&mut types)?;
    linker.allow_shadowing(false);
    Ok(())
}

type Store<'a> = StoreContextMut<'a, InstanceState>;
type Fields = Resource<FieldMap>;

/// The bytes of a name and its values.
fn pair_bytes<'a>(name: &str, values: impl IntoIterator<Item = &'a Vec<u8>>) -> usize {
    let values = values.into_iter();
    let bytes = values.map(|value| name.len() + value.len() + FIELD_BYTES);
    bytes.fold(0, usize::saturating_add)
}

fn pairs_bytes(pairs: &[(String, Vec<u8>)]) -> usize {
    let bytes = pairs.iter().map(|(name, value)| pair_bytes(name, [value]));
    bytes.fold(0, usize::saturating_add)
}

/// Makes `fields` own its memory, of exactly the size that it needs.
fn own(instance: &mut InstanceState, fields: &Fields) -> wasmtime::Result<()> {
    let limit = instance
        .context
        .limits
        .load()
        .size(Limit::ResponseHeaderBytes);
    let place = instance.table.get_mut(fields)?;
    let mut fresh = FieldMap::new_mutable(usize::MAX);
    for (name, value) in place.iter() {
        fresh.append_raw(name.clone(), value.clone())?;
    }
    fresh.set_mutable(limit);
    *place = fresh;
    Ok(())
}

/// Does something that may remove some of `fields`, and returns the space of many.
fn removing<T, E>(
    instance: &mut InstanceState,
    fields: Fields,
    remove: impl FnOnce(&mut InstanceState, Fields) -> Result<T, E>,
) -> wasmtime::Result<Result<T, E>> {
    let again = Fields::new_borrow(fields.rep());
    let many = instance.table.get(&again)?.len() >= MANY_VALUES;
    let removed = remove(instance, fields);
    if many && removed.is_ok() {
        own(instance, &again)?;
    }
    Ok(removed)
}

/// `fields` of the generation `$types`; only the types differ.
macro_rules! fields {
    ($add:ident, $types:ident) => {
        fn $add(types: &mut LinkerInstance<'_, InstanceState>) -> wasmtime::Result<()> {
            /// The result for the guest.
            macro_rules! told {
                ($instance:expr, $result:expr) => {
                    match $result {
                        Ok(done) => Ok(done),
                        Err(error) => Err($types::Host::convert_header_error(
                            &mut $instance.http(),
                            error,
                        )?),
                    }
                };
            }
            types.func_wrap(
                "[static]fields.from-list",
                |mut store: Store, (pairs,): (Vec<(String, Vec<u8>)>,)| {
                    let instance = store.data_mut();
                    instance.keep(pairs_bytes(&pairs))?;
                    let made = $types::HostFields::from_list(&mut instance.http(), pairs);
                    Ok((told!(instance, made),))
                },
            )?;
            types.func_wrap(
                "[method]fields.set",
                |mut store: Store, (fields, name, values): (Fields, String, Vec<Vec<u8>>)| {
                    let instance = store.data_mut();
                    instance.keep(pair_bytes(&name, &values))?;
                    let set = removing(instance, fields, |instance, fields| {
                        $types::HostFields::set(&mut instance.http(), fields, name, values)
                    })?;
                    Ok((told!(instance, set),))
                },
            )?;
            types.func_wrap(
                "[method]fields.append",
                |mut store: Store, (fields, name, value): (Fields, String, Vec<u8>)| {
                    let instance = store.data_mut();
                    instance.keep(pair_bytes(&name, [&value]))?;
                    let http = &mut instance.http();
                    let added = $types::HostFields::append(http, fields, name, value);
                    Ok((told!(instance, added),))
                },
            )?;
            types.func_wrap(
                "[method]fields.delete",
                |mut store: Store, (fields, name): (Fields, String)| {
                    let instance = store.data_mut();
                    let deleted = removing(instance, fields, |instance, fields| {
                        $types::HostFields::delete(&mut instance.http(), fields, name)
                    })?;
                    Ok((told!(instance, deleted),))
                },
            )?;
            // Copied at once: if the memory were shared until it is changed, it would then be
            // charged to nobody.
            types.func_wrap("[method]fields.clone", |mut store: Store, (fields,)| {
                let instance = store.data_mut();
                let bytes = fields_bytes(instance.table.get::<FieldMap>(&fields)?);
                instance.keep(bytes)?;
                let copy = $types::HostFields::clone(&mut instance.http(), fields)?;
                own(instance, &copy)?;
                Ok((copy,))
            })
        }
    };
}

fields!(fields_2, p2);
fields!(fields_3_as_2, p3);

fn fields_3(types: &mut LinkerInstance<'_, InstanceState>) -> wasmtime::Result<()> {
    fields_3_as_2(types)?;
    types.func_wrap(
        "[method]fields.get-and-delete",
        |mut store: Store, (fields, name): (Fields, String)| {
            let instance = store.data_mut();
            let deleted = removing(instance, fields, |instance, fields| {
                p3::HostFields::get_and_delete(&mut instance.http(), fields, name)
            })?;
            let told = match deleted {
                Ok(values) => Ok(values),
                Err(error) => Err(p3::Host::convert_header_error(&mut instance.http(), error)?),
            };
            Ok((told,))
        },
    )
}

/// The bytes of an optional text.
fn text_bytes(text: &Option<String>) -> usize {
    text.as_ref().map_or(0, String::len)
}

/// Requests, responses and bodies of WASI 0.2.
fn messages_2(types: &mut LinkerInstance<'_, InstanceState>) -> wasmtime::Result<()> {
    type Sent = Resource<HostOutgoingRequest>;
    types.func_wrap(
        "[method]outgoing-request.set-method",
        |mut store: Store, (request, method): (Sent, p2::Method)| {
            let instance = store.data_mut();
            if let p2::Method::Other(method) = &method {
                instance.keep(method.len())?;
            }
            let http = &mut instance.http();
            Ok((p2::HostOutgoingRequest::set_method(http, request, method)?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-path-with-query",
        |mut store: Store, (request, path): (Sent, Option<String>)| {
            let instance = store.data_mut();
            instance.keep(text_bytes(&path))?;
            let http = &mut instance.http();
            let set = p2::HostOutgoingRequest::set_path_with_query(http, request, path)?;
            Ok((set,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        |mut store: Store, (request, authority): (Sent, Option<String>)| {
            let instance = store.data_mut();
            instance.keep(text_bytes(&authority))?;
            let http = &mut instance.http();
            let set = p2::HostOutgoingRequest::set_authority(http, request, authority)?;
            Ok((set,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.body",
        |mut store: Store, (request,): (Sent,)| {
            let instance = store.data_mut();
            instance.keep(instance.meter.body_bytes())?;
            Ok((p2::HostOutgoingRequest::body(
                &mut instance.http(),
                request,
            )?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-response.body",
        |mut store: Store, (response,): (Resource<HostOutgoingResponse>,)| {
            let instance = store.data_mut();
            instance.keep(instance.meter.body_bytes())?;
            let http = &mut instance.http();
            Ok((p2::HostOutgoingResponse::body(http, response)?,))
        },
    )?;
    types.func_wrap(
        "[static]outgoing-body.finish",
        |mut store: Store, (body, trailers): (Resource<HostOutgoingBody>, Option<Fields>)| {
            let instance = store.data_mut();
            if let Some(trailers) = &trailers {
                let bytes = fields_bytes(instance.table.get(trailers)?);
                instance.meter.trailers(bytes);
            }
            let http = &mut instance.http();
            let told = match p2::HostOutgoingBody::finish(http, body, trailers) {
                Ok(()) => Ok(()),
                Err(error) => Err(p2::Host::convert_error_code(http, error)?),
            };
            Ok((told,))
        },
    )
}

/// Trailers that nobody reads.
fn drop_fields(instance: &mut InstanceState, fields: Option<Fields>) {
    if let Some(fields) = fields {
        let _ = instance.table.delete(fields);
    }
}

type End = FutureReader<Result<(), p3::ErrorCode>>;
type Trailers = FutureReader<Result<Option<Fields>, p3::ErrorCode>>;

/// What a guest reports about a body that it has taken. The first of an instance is passed on
/// unchanged: most take only one, and it costs nothing.
fn taken_end(store: &mut Store, end: End) -> wasmtime::Result<End> {
    if !std::mem::replace(&mut store.data_mut().has_taken_a_body, true) {
        return Ok(end);
    }
    shortened(store, end, |_, ()| ())
}

/// Requests and responses of WASI 0.3.
fn messages_3(types: &mut LinkerInstance<'_, InstanceState>) -> wasmtime::Result<()> {
    type Sent = Resource<Request>;
    types.func_wrap(
        "[method]request.set-method",
        |mut store: Store, (request, method): (Sent, p3::Method)| {
            let instance = store.data_mut();
            if let p3::Method::Other(method) = &method {
                instance.keep(method.len())?;
            }
            let http = &mut instance.http();
            Ok((p3::HostRequest::set_method(http, request, method)?,))
        },
    )?;
    types.func_wrap(
        "[method]request.set-path-with-query",
        |mut store: Store, (request, path): (Sent, Option<String>)| {
            let instance = store.data_mut();
            instance.keep(text_bytes(&path))?;
            let http = &mut instance.http();
            Ok((p3::HostRequest::set_path_with_query(http, request, path)?,))
        },
    )?;
    types.func_wrap(
        "[method]request.set-authority",
        |mut store: Store, (request, authority): (Sent, Option<String>)| {
            let instance = store.data_mut();
            instance.keep(text_bytes(&authority))?;
            let http = &mut instance.http();
            Ok((p3::HostRequest::set_authority(http, request, authority)?,))
        },
    )?;
    types.func_wrap(
        "[static]request.new",
        |mut store: Store,
         (headers, contents, trailers, options): (
            Fields,
            Option<StreamReader<u8>>,
            Trailers,
            Option<Resource<p3::RequestOptions>>,
        )| {
            let trailers = shortened(&mut store, trailers, drop_fields)?;
            let access = Access::<_, WasiHttp>::new(store, InstanceState::http);
            let made = p3::HostRequestWithStore::new(access, headers, contents, trailers, options)?;
            Ok((made,))
        },
    )?;
    types.func_wrap(
        "[static]request.consume-body",
        |mut store: Store, (request, end): (Sent, End)| {
            let end = taken_end(&mut store, end)?;
            let access = Access::<_, WasiHttp>::new(store, InstanceState::http);
            let taken = p3::HostRequestWithStore::consume_body(access, request, end)?;
            Ok((taken,))
        },
    )?;
    types.func_wrap(
        "[static]response.consume-body",
        |mut store: Store, (response, end): (Resource<Response>, End)| {
            let end = taken_end(&mut store, end)?;
            let access = Access::<_, WasiHttp>::new(store, InstanceState::http);
            let taken = p3::HostResponseWithStore::consume_body(access, response, end)?;
            Ok((taken,))
        },
    )
}
