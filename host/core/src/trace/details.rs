//! What a guest says of a part of its work beside its name, in the terms of OpenTelemetry. Most
//! records have nothing of it, and then no room for it either.

use super::record::MAX_SPANS;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

/// Bytes of the details of all spans of one record. 16 KiB: a dozen attributes for each of a dozen
/// spans. Further ones are counted.
const MAX_DETAIL_BYTES: usize = 16 << 10;

/// What a guest says of one span.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SpanDetails {
    /// The span's kind in OpenTelemetry.
    pub role: Role,
    /// The guest says that the work went well.
    pub succeeded: bool,
    /// What it says of a failure.
    pub failure: Option<Box<str>>,
    /// Each with its name.
    pub attributes: Vec<(Box<str>, Attribute)>,
    /// Attributes that are not kept.
    pub dropped_attributes: u32,
    /// Events, none of which is kept.
    pub dropped_events: u32,
    /// Links, none of which is kept.
    pub dropped_links: u32,
}

/// For whom a span's work is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// Inside.
    #[default]
    Internal,
    /// It answers somebody.
    Server,
    /// It asks somebody.
    Client,
    /// It has something done later.
    Producer,
    /// It does what somebody has left for it.
    Consumer,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Attribute {
    Text(Box<str>),
    Int(i64),
    Double(f64),
    Bool(bool),
}

/// What is said of all spans of one record.
#[derive(Default)]
pub(super) struct AllDetails {
    places: OnceLock<Box<[OnceLock<Arc<SpanDetails>>; MAX_SPANS]>>,
    bytes: AtomicU32,
}

impl AllDetails {
    /// Whether there is room for so many more bytes, which is then taken.
    pub(super) fn takes(&self, bytes: usize) -> bool {
        let more = |taken: u32| {
            let all = bytes.checked_add(usize::try_from(taken).ok()?)?;
            u32::try_from(all).ok().filter(|_| all <= MAX_DETAIL_BYTES)
        };
        self.bytes.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    /// Of the span at `index`. The first one counts.
    pub(super) fn describe(&self, index: u8, details: SpanDetails) {
        let places = self
            .places
            .get_or_init(|| Box::new(std::array::from_fn(|_| OnceLock::new())));
        if let Some(place) = places.get(usize::from(index)) {
            place.get_or_init(|| Arc::new(details));
        }
    }

    pub(super) fn of(&self, index: usize) -> Option<Arc<SpanDetails>> {
        self.places.get()?.get(index)?.get().cloned()
    }
}
