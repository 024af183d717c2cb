//! The memory that the host keeps for one instance, besides the instance's own memories: what its
//! handles refer to.
//!
//! Most of it is in the instance's resource table, as wasmtime's own types, to which no guard of
//! ours can be attached. So it is not tracked piece by piece but estimated: each host call declares
//! the most that it adds. Only when the limit would be exceeded is the table walked and every
//! resource measured; what was dropped meanwhile is then no longer in it. A walk is charged to the
//! instance's CPU time.

use super::interfaces::keyvalue::{Bucket, Cas};
use super::interfaces::secrets::FoundSecret;
use http::{HeaderMap, HeaderValue};
use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use wasmtime::component::ResourceTable;
use wasmtime_wasi_http::FieldMap;
use wasmtime_wasi_http::p2::bindings::http::types::Method;
use wasmtime_wasi_http::p2::body::HostOutgoingBody;
use wasmtime_wasi_http::p2::types::{
    HostIncomingResponse, HostOutgoingRequest, HostOutgoingResponse,
};
use wasmtime_wasi_http::p3::{Request, Response};

/// Bytes charged for any handle: its entry in the tables, and the largest resource without what it
/// refers to.
pub(super) const HANDLE_BYTES: usize = 512;

/// Bytes copied from a guest per piece of a body. 64 KiB: larger pieces gain nothing on a socket
/// and cost memory for every transfer.
pub(super) const BODY_CHUNK_BYTES: usize = 64 << 10;

/// Bytes of one piece of an outgoing WASI 0.2 body, at most. 1 MiB, as in wasmtime: some toolchains
/// write a whole body before they answer, and nobody reads any of it until then.
const MAX_WRITE_BYTES: usize = 1 << 20;

/// The part of the memory limit that such a piece may take. The host keeps two for each body: an
/// eighth for both.
const WRITE_SHARE: usize = 16;

/// Bytes of one piece of an outgoing WASI 0.2 body, for an instance with so much memory.
pub(super) fn write_bytes(memory_limit: u64) -> usize {
    let share = usize::try_from(memory_limit).unwrap_or(usize::MAX) / WRITE_SHARE;
    share.clamp(BODY_CHUNK_BYTES, MAX_WRITE_BYTES)
}

/// Bytes that a request which a guest sends, or a middleware passes on, counts beside its header
/// fields, until its answer's body has ended: two pieces in each direction.
pub(super) const PASSED_ON_BYTES: usize = 4 * BODY_CHUNK_BYTES;

/// The number of values from which on a block of header fields is rebuilt when some are removed.
/// `HeaderMap` keeps the space of removed ones, which nothing could measure.
pub(super) const MANY_VALUES: usize = 32;

/// Bytes charged for one more value in a block of header fields, besides its name and value: its
/// part of the tables, as they double, and allocation overhead.
pub(super) const FIELD_BYTES: usize = 2 * (SLOT_BYTES + EXTRA_BYTES) + ALLOCATION_BYTES;

/// A name's slot in a `HeaderMap` of http 1: hash, name, value, links and index.
const SLOT_BYTES: usize = 112;

/// A further value of the same name: value and links.
const EXTRA_BYTES: usize = 72;

/// What the allocator and `Bytes` add to a name and its value.
const ALLOCATION_BYTES: usize = 80;

/// What the host keeps for one instance, in bytes.
#[derive(Default)]
pub(super) struct HostMemory {
    /// Bytes charged for an outgoing WASI 0.2 body: the two pieces that its channel holds.
    body_bytes: usize,
    /// What the table held when it was last walked.
    counted: usize,
    /// The most that was added since.
    since: usize,
    /// What other tasks report. None until there is something.
    shared: Option<Arc<Shared>>,
    /// The largest trailers ever passed to an outgoing WASI 0.2 body, where they cannot be
    /// measured.
    trailer_bytes: usize,
}

/// What is reported without access to the instance.
#[derive(Default)]
struct Shared {
    /// Outside of the table, each as long as its [`RetainedBytes`].
    beside: AtomicUsize,
    /// The most that bodies have added to the table since it was last walked.
    arrived: AtomicUsize,
}

impl HostMemory {
    /// For an instance with so much memory.
    pub(crate) fn new(memory_limit: u64) -> Self {
        HostMemory {
            body_bytes: 2 * write_bytes(memory_limit),
            ..HostMemory::default()
        }
    }

    /// Bytes charged for an outgoing WASI 0.2 body.
    pub(crate) fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    pub(crate) fn bytes(&self) -> usize {
        let shared = self.shared.as_ref().map_or(0, |shared| {
            let arrived = shared.arrived.load(Relaxed);
            shared.beside.load(Relaxed).saturating_add(arrived)
        });
        self.counted
            .saturating_add(self.since)
            .saturating_add(shared)
    }

    /// At most `bytes` were added.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.since = self.since.saturating_add(bytes);
    }

    /// Walks the table. What was declared and is not in it yet must be added again.
    pub(crate) fn count(&mut self, table: &mut ResourceTable) {
        self.counted = bytes_of(table, self.body_bytes, self.trailer_bytes);
        self.since = 0;
        if let Some(shared) = &self.shared {
            shared.arrived.store(0, Relaxed);
        }
    }

    /// Charges bytes outside of the table, until the result is dropped.
    pub(crate) fn beside(&mut self, bytes: usize) -> RetainedBytes {
        let shared = self.shared.get_or_insert_default().clone();
        shared.beside.fetch_add(bytes, Relaxed);
        RetainedBytes { bytes, shared }
    }

    /// Trailers of so many bytes go where they cannot be measured.
    pub(crate) fn trailers(&mut self, bytes: usize) {
        self.trailer_bytes = self.trailer_bytes.max(bytes);
    }
}

/// Bytes charged to an instance as long as this exists.
pub(super) struct RetainedBytes {
    bytes: usize,
    shared: Arc<Shared>,
}

impl RetainedBytes {
    /// At most `bytes` are added to the table. They are charged as declared until it is walked.
    pub(crate) fn arrives(&self, bytes: usize) {
        self.shared.arrived.fetch_add(bytes, Relaxed);
    }
}

impl Drop for RetainedBytes {
    fn drop(&mut self) {
        self.shared.beside.fetch_sub(self.bytes, Relaxed);
    }
}

/// The bytes that the resources of a table hold.
fn bytes_of(table: &mut ResourceTable, body_bytes: usize, trailer_bytes: usize) -> usize {
    let mut seen = Seen::default();
    let bodies = (body_bytes, trailer_bytes);
    let sizes = table
        .iter_mut()
        .map(|entry| HANDLE_BYTES + resource_bytes(entry, bodies, &mut seen));
    sizes.fold(0, usize::saturating_add)
}

/// Blocks of header fields that were measured already: repeated reads of a request's head share its
/// memory.
#[derive(Default)]
struct Seen(HashSet<*const HeaderMap>);

impl Seen {
    fn fields_bytes(&mut self, fields: &FieldMap) -> usize {
        let map: &HeaderMap = fields;
        if map.capacity() == 0 || !self.0.insert(map) {
            return 0;
        }
        fields_bytes(map)
    }
}

fn resource_bytes(
    entry: &mut (dyn Any + Send),
    (body_bytes, trailer_bytes): (usize, usize),
    seen: &mut Seen,
) -> usize {
    let body = |there: bool| if there { body_bytes + trailer_bytes } else { 0 };
    if let Some(fields) = entry.downcast_ref::<FieldMap>() {
        return seen.fields_bytes(fields);
    }
    if let Some(bucket) = entry.downcast_ref::<Bucket>() {
        return bucket.bytes();
    }
    if let Some(cas) = entry.downcast_ref::<Cas>() {
        return cas.bytes();
    }
    if let Some(secret) = entry.downcast_ref::<FoundSecret>() {
        return secret.bytes();
    }
    if let Some(request) = entry.downcast_ref::<Request>() {
        let authority = request.authority.as_ref().map_or(0, |a| a.as_str().len());
        let path = request
            .path_with_query
            .as_ref()
            .map_or(0, |p| p.as_str().len());
        let head = seen.fields_bytes(&request.headers);
        return request.method.as_str().len() + authority + path + head;
    }
    if let Some(response) = entry.downcast_ref::<Response>() {
        return seen.fields_bytes(&response.headers);
    }
    if let Some(response) = entry.downcast_ref::<HostIncomingResponse>() {
        return seen.fields_bytes(&response.headers);
    }
    if entry.is::<HostOutgoingBody>() {
        return body_bytes;
    }
    if let Some(response) = entry.downcast_ref::<HostOutgoingResponse>() {
        return seen.fields_bytes(&response.headers) + body(response.body.is_some());
    }
    if let Some(request) = entry.downcast_ref::<HostOutgoingRequest>() {
        let method = match &request.method {
            Method::Other(method) => method.capacity(),
            _ => 0,
        };
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::capacity);
        return seen.fields_bytes(&request.headers)
            + method
            + text(&request.authority)
            + text(&request.path_with_query)
            + body(request.body.is_some());
    }
    0
}

/// Copies each value. A value that came over a connection is a slice of up to 400 KiB that was read
/// with it, all of which it would keep alive.
pub(super) fn own_values(fields: &mut HeaderMap) {
    for value in fields.values_mut() {
        if let Ok(mut own) = HeaderValue::from_bytes(value.as_bytes()) {
            own.set_sensitive(value.is_sensitive());
            *value = own;
        }
    }
}

/// The bytes that a block of header fields takes.
pub(super) fn fields_bytes(map: &HeaderMap) -> usize {
    // Fewer removed values than that leave their space.
    let extra = map.len().saturating_sub(map.keys_len()).max(MANY_VALUES);
    let texts = map
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + ALLOCATION_BYTES);
    texts.sum::<usize>() + map.capacity() * SLOT_BYTES + 2 * extra * EXTRA_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::HeaderName;
    use wasmtime_wasi_http::p2::body::StreamContext;

    fn append(fields: &mut FieldMap, name: &str, bytes: usize) {
        let name = HeaderName::try_from(name).unwrap();
        let value = HeaderValue::try_from(vec![b'v'; bytes]).unwrap();
        fields.append_raw(name, value).unwrap();
    }

    fn fields(values: usize, bytes: usize) -> FieldMap {
        let mut fields = FieldMap::new_mutable(usize::MAX);
        (0..values).for_each(|number| append(&mut fields, &format!("x-{number}"), bytes));
        fields
    }

    #[test]
    fn dropped_resources_stop_counting_at_the_next_count() {
        let mut table = ResourceTable::new();
        let mut host = HostMemory::default();
        let handle = table.push(fields(1, 50_000)).unwrap();
        host.count(&mut table);
        assert!((50_000..60_000).contains(&host.bytes()), "{}", host.bytes());
        host.add(7_000);
        assert!(host.bytes() >= 57_000);
        table.delete(handle).unwrap();
        host.count(&mut table);
        assert_eq!(host.bytes(), 0);
    }

    #[test]
    fn shared_fields_count_once_and_their_handles_each() {
        let mut table = ResourceTable::new();
        let one = fields(1, 50_000);
        for _ in 0..10 {
            table.push(one.clone()).unwrap();
        }
        let mut host = HostMemory::default();
        host.count(&mut table);
        let expected = 50_000 + 10 * HANDLE_BYTES;
        assert!((expected..expected + 10_000).contains(&host.bytes()));
    }

    #[test]
    fn memory_outside_the_table_counts_while_it_is_kept() {
        let mut host = HostMemory::default();
        let kept = host.beside(100);
        let other = host.beside(11);
        assert_eq!(host.bytes(), 111);
        host.count(&mut ResourceTable::new());
        assert_eq!(host.bytes(), 111);
        drop(kept);
        assert_eq!(host.bytes(), 11);
        other.arrives(1000);
        assert_eq!(host.bytes(), 1011);
        host.count(&mut ResourceTable::new());
        assert_eq!(host.bytes(), 11);
        drop(other);
        assert_eq!(host.bytes(), 0);
    }

    #[test]
    fn wasi_0_2_body_counts_its_capacity_of_at_most_an_eighth_of_the_limit() {
        const MIB: usize = 1 << 20;
        for (limit, piece) in [(1, MIB / 16), (4, MIB / 4), (16, MIB), (4096, MIB)] {
            let limit = limit * MIB as u64;
            assert_eq!(write_bytes(limit), piece, "{limit}");
            let mut table = ResourceTable::new();
            let mut host = HostMemory::new(limit);
            let (body, _) = HostOutgoingBody::new(StreamContext::Response, None, 1, piece);
            table.push(body).unwrap();
            host.count(&mut table);
            assert_eq!(host.bytes(), HANDLE_BYTES + 2 * piece);
            assert!(2 * piece as u64 <= limit / 8);
        }
    }

    #[test]
    fn stored_value_does_not_retain_its_read_buffer() {
        let read = Bytes::from(vec![b'v'; 400_000]);
        let mut map = HeaderMap::new();
        for number in 0..3 {
            let value = HeaderValue::from_maybe_shared(read.slice(number..number + 2)).unwrap();
            map.append("x", value);
        }
        let before = map.clone();
        own_values(&mut map);
        assert_eq!(map, before);
        drop(before);
        assert!(read.is_unique());
    }

    #[test]
    fn many_small_fields_count_with_their_tables() {
        let names = fields(1000, 1);
        assert!(fields_bytes(&names) >= 1000 * (SLOT_BYTES + ALLOCATION_BYTES));
        let mut values = FieldMap::new_mutable(usize::MAX);
        (0..1000).for_each(|_| append(&mut values, "x", 1));
        assert!(fields_bytes(&values) >= 1000 * (EXTRA_BYTES + ALLOCATION_BYTES));
    }
}
