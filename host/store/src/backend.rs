//! The place where stores are kept.

use super::{Store, StoreError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

/// Bytes of the longest name: a DNS label, because a window's name is part of its internal host
/// name.
const MAX_NAME_BYTES: usize = 63;

/// A place that keeps stores by name.
///
/// It need not remember which stores it opened: [`Stores`](super::Stores) opens each store only
/// once at a time, closes it before removing it, and uses only names that [`check_name`] accepts.
///
/// Its calls may block. They are made on threads that may block.
pub trait Backend: Send + Sync + 'static {
    /// Opens the store of `name`. If there is none, creates it if `create` is set, and otherwise
    /// returns None. Never creates a new one in place of one that cannot be used.
    ///
    /// # Errors
    ///
    /// Why it cannot be opened. If that is a fault ([`StoreError::is_fault`]), its window is
    /// closed, and opening it is retried later.
    fn open(&self, name: &str, create: bool) -> Result<Option<Arc<dyn Store>>, StoreError>;

    /// Removes the store of `name` with all its content, and what unfinished work left of it. A
    /// missing store is not an error. Durable when this returns; after an error it can be called
    /// again.
    ///
    /// # Errors
    ///
    /// Why it may still exist.
    fn remove(&self, name: &str) -> Result<(), StoreError>;

    /// The names of the existing stores, each with an identity that distinguishes the store from a
    /// later one of that name.
    ///
    /// # Errors
    ///
    /// If they cannot be listed; never returns only a part of them.
    fn list(&self) -> Result<BTreeMap<String, StoreId>, StoreError>;
}

/// Distinguishes a store from a later one of the same name. The default distinguishes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreId {
    number: u64,
    made: Option<SystemTime>,
}

impl StoreId {
    /// Of the store with `number`, which a later store may get again.
    pub fn new(number: u64, made: Option<SystemTime>) -> Self {
        StoreId { number, made }
    }
}

/// Refuses an invalid name for a store: valid names have 1 to 63 of `a-z`, `0-9` and `-`, and so
/// are safe in a path.
///
/// # Errors
/// [`StoreError::BadName`].
pub fn check_name(name: &str) -> Result<(), StoreError> {
    let fits = !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if fits {
        return Ok(());
    }
    let name = name.chars().take(MAX_NAME_BYTES).collect();
    Err(StoreError::BadName { name })
}
