//! Where stores are kept.

use super::{Store, StoreError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

/// The longest name: that of a DNS label, because a window's name is part of its internal host
/// name.
const MAX_NAME_BYTES: usize = 63;

/// A place that keeps stores, each under a name.
///
/// It need not remember what it opened: [`Stores`](super::Stores) opens each store once at a time,
/// closes it before it has it removed, and asks for names only that [`check_name`] lets through.
///
/// Its calls may block. They are made on threads on which that is no harm.
pub trait Backend: Send + Sync + 'static {
    /// Opens the store of `name`. Where there is none, it is made with `create`, and the answer is
    /// None without. Never does it make a new one in the place of one that cannot be used.
    ///
    /// # Errors
    /// Why it cannot be opened. Where that is a fault ([`StoreError::is_fault`]) its window is
    /// closed, and opening it is tried again later.
    fn open(&self, name: &str, create: bool) -> Result<Option<Arc<dyn Store>>, StoreError>;

    /// Removes the store of `name` with all it holds, and what half-done work left of it. That
    /// there is none is no error. Done and durable when it returns; after an error it can be called
    /// again.
    ///
    /// # Errors
    /// Why it may still be there.
    fn remove(&self, name: &str) -> Result<(), StoreError>;

    /// The names under which there is a store, each with what tells the store from a later one of
    /// that name.
    ///
    /// # Errors
    /// When they cannot be listed; never a part of them instead.
    fn list(&self) -> Result<BTreeMap<String, StoreId>, StoreError>;
}

/// Tells a store from one that comes after it under the same name. The default one says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreId {
    number: u64,
    made: Option<SystemTime>,
}

impl StoreId {
    /// Of the store with `number`, which may be given again to one that was made later.
    pub fn new(number: u64, made: Option<SystemTime>) -> Self {
        StoreId { number, made }
    }
}

/// Refuses what is no name for a store: it has 1 to 63 of `a-z`, `0-9` and `-`, and so is safe in a
/// path.
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
