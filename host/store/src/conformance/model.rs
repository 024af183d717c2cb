//! The reference: a store as a map, as simple as it can be said.

use super::super::{Applied, Entry, Op, Page, StoreError};
use std::collections::BTreeMap;
use std::ops::Bound;

/// All that a store holds.
#[derive(Debug, Clone)]
pub struct Model {
    /// By bucket and key.
    pub entries: BTreeMap<(String, String), Entry>,
    /// The version given last.
    pub version: u64,
    /// The bound of [`Model::bytes`].
    pub max_store_bytes: u64,
}

impl Model {
    /// An empty one.
    pub fn new(max_store_bytes: u64) -> Self {
        Model {
            entries: BTreeMap::new(),
            version: 0,
            max_store_bytes,
        }
    }

    /// What is under the key.
    pub fn get(&self, bucket: &str, key: &str) -> Option<Entry> {
        self.entries.get(&(bucket.into(), key.into())).cloned()
    }

    /// A part of the keys, in the order of their bytes.
    pub fn keys(&self, bucket: &str, after: Option<&str>, skip: u64, limit: usize) -> Page {
        let from = match after {
            Some(key) => Bound::Excluded((bucket.to_owned(), key.to_owned())),
            None => Bound::Included((bucket.to_owned(), String::new())),
        };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let behind = self.entries.range((from, Bound::Unbounded));
        let of_bucket = behind.take_while(|((of, _), _)| of == bucket);
        let mut keys: Vec<String> = of_bucket.skip(skip).map(|((_, k), _)| k.clone()).collect();
        let more = keys.len() > limit;
        keys.truncate(limit);
        Page { keys, more }
    }

    /// What counts against the bound.
    pub fn bytes(&self) -> u64 {
        let cost = |((bucket, key), entry): (&(String, String), &Entry)| {
            (bucket.len() + key.len() + entry.value.len() + 64) as u64
        };
        self.entries.iter().map(cost).sum()
    }

    /// Does what a store does, all of it or nothing.
    ///
    /// # Errors
    /// Those of a write that the limits of names and sizes let through.
    pub fn write(&mut self, ops: &[Op]) -> Result<Vec<Applied>, StoreError> {
        let mut next = self.clone();
        let mut applied = Vec::new();
        for op in ops {
            let (bucket, key) = op.place();
            let place = (bucket.to_owned(), key.to_owned());
            let key = place.1.clone();
            let now = next.entries.get(&place).cloned();
            let (value, done) = match op {
                Op::Delete { .. } => {
                    next.entries.remove(&place);
                    applied.push(Applied::Written);
                    continue;
                }
                Op::Set { value, .. } => (value.clone(), Applied::Written),
                Op::Swap {
                    expected, value, ..
                } => {
                    if now.as_ref().map(|entry| entry.version) != *expected {
                        let held = self.entries.get(&place).cloned();
                        return Ok(vec![Applied::Conflict(held)]);
                    }
                    (value.clone(), Applied::Written)
                }
                Op::Increment { delta, .. } => {
                    let number = match now {
                        None => 0_i64,
                        Some(entry) => String::from_utf8(entry.value)
                            .ok()
                            .and_then(|text| text.parse().ok())
                            .ok_or(StoreError::NotANumber { key: key.clone() })?,
                    };
                    let sum = number
                        .checked_add(*delta)
                        .ok_or(StoreError::Overflow { key })?;
                    (sum.to_string().into_bytes(), Applied::Counter(sum))
                }
            };
            next.version += 1;
            let version = next.version;
            next.entries.insert(place, Entry { value, version });
            applied.push(done);
        }
        let limit = self.max_store_bytes;
        if next.bytes() > limit && next.bytes() > self.bytes() {
            return Err(StoreError::StoreFull { limit });
        }
        *self = next;
        Ok(applied)
    }
}
