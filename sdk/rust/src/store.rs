//! The window's store, typed: values are serialised as JSON.

use crate::bindings::storage::wasi::keyvalue::{atomics, batch, store};
use crate::paging::{self, Page};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt;

/// How often [`Store::update`] and a transaction try. Each failure means that another instance has
/// succeeded, so this many in a row is a crowd at one key, and the caller is better told so.
pub(crate) const UPDATE_TRIES: usize = 64;

/// A named part of this window's store. The window's own: no other window reaches it, whatever
/// names it uses.
///
/// A part need not be created. Use as many as you like, for instance one per user: keys are listed
/// by part. A write is on disk when it returns. Values have up to 4 MiB, a batch up to 16 MiB and
/// 1,024 keys.
///
/// A key is any text of 1 byte to 1 KiB (less if the operator has set `--key`), compared and listed
/// by its bytes. A write with another key fails with [`StoreError::Invalid`]; a read finds nothing,
/// and [`Store::delete`] does nothing. You can thus look up a path segment as it is; it is checked
/// when something is written under it.
///
/// ```no_run
/// # use hms_window::{Store, StoreError};
/// # fn run() -> Result<(), StoreError> {
/// let fees = Store::open("fees")?;
/// fees.set("passport", &110)?;
/// let fee: Option<u32> = fees.get("passport")?;
/// # Ok(()) }
/// ```
pub struct Store {
    bucket: store::Bucket,
    name: String,
}

impl Store {
    /// Opens the part with this name: any text of up to 512 bytes.
    pub fn open(name: &str) -> Result<Self, StoreError> {
        Ok(Store {
            bucket: store::open(name)?,
            name: name.to_owned(),
        })
    }

    /// The name that it was opened with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value at `key`, if there is one.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StoreError> {
        self.get_bytes(key)?
            .map(|bytes| decode(key, &bytes))
            .transpose()
    }

    /// The values at `keys`, in their order, from one call.
    pub fn get_many<T: DeserializeOwned>(
        &self,
        keys: &[String],
    ) -> Result<Vec<Option<T>>, StoreError> {
        let found = batch::get_many(&self.bucket, keys)?;
        let decoded = |(key, bytes): (String, Option<Vec<u8>>)| {
            bytes.map(|bytes| decode(&key, &bytes)).transpose()
        };
        found.into_iter().map(decoded).collect()
    }

    /// Sets `key`, whether or not it existed.
    pub fn set<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<(), StoreError> {
        self.set_bytes(key, &encode(key, value)?)
    }

    /// The bytes at `key`, if there are any.
    pub fn get_bytes(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.bucket.get(key)?)
    }

    /// Sets `key` to raw bytes.
    pub fn set_bytes(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        Ok(self.bucket.set(key, value)?)
    }

    /// Sets several keys to bytes, all or none.
    pub fn set_many(&self, pairs: &[(String, Vec<u8>)]) -> Result<(), StoreError> {
        Ok(batch::set_many(&self.bucket, pairs)?)
    }

    /// Removes `key`, if it exists.
    pub fn delete(&self, key: &str) -> Result<(), StoreError> {
        Ok(self.bucket.delete(key)?)
    }

    /// Removes those of `keys` that exist, all or none.
    pub fn delete_many(&self, keys: &[String]) -> Result<(), StoreError> {
        Ok(batch::delete_many(&self.bucket, keys)?)
    }

    /// Whether `key` exists.
    pub fn exists(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.bucket.exists(key)?)
    }

    /// Up to `limit` keys, from the start or from the `next` of the previous page, in the order of
    /// their bytes. Keys added or removed between two pages do not affect the others.
    pub fn page(&self, cursor: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        paging::page(cursor, limit, |cursor| self.keys(cursor))
    }

    /// A page of as many keys as the host returns at once (1,000 by default), to iterate over all.
    pub fn keys(&self, cursor: Option<&str>) -> Result<Page, StoreError> {
        let store::KeyResponse { keys, cursor } = self.bucket.list_keys(cursor)?;
        Ok(Page { keys, next: cursor })
    }

    /// Adds `by` to the number at `key`, which is 0 if missing, and returns the sum.
    /// Concurrent calls all count.
    pub fn increment(&self, key: &str, by: i64) -> Result<i64, StoreError> {
        Ok(atomics::increment(&self.bucket, key, by)?)
    }

    /// Replaces the value at `key` with the result of `change`, and returns it.
    ///
    /// If another instance was faster, `change` is called again with the newer value, so it must
    /// not have side effects.
    ///
    /// ```no_run
    /// # use hms_window::{Store, StoreError};
    /// # fn enqueue(queue: Store) -> Result<(), StoreError> {
    /// queue.update("waiting", |old: Option<Vec<String>>| {
    ///     let mut waiting = old.unwrap_or_default();
    ///     waiting.push("alice".to_owned());
    ///     waiting
    /// })?;
    /// # Ok(()) }
    /// ```
    pub fn update<T, F>(&self, key: &str, mut change: F) -> Result<T, StoreError>
    where
        T: Serialize + DeserializeOwned,
        F: FnMut(Option<T>) -> T,
    {
        self.try_update(key, |old| Ok(change(old)))
    }

    /// The same, but `change` may fail: its error is returned, and nothing is written. The value it
    /// was given is still current when its result is written, so use this for conditional changes
    /// (see [`Request::conditional`](crate::Request::conditional)).
    ///
    /// ```no_run
    /// # use hms_window::{Problem, Store};
    /// # fn withdraw(accounts: Store) -> Result<(), Problem> {
    /// accounts.try_update("alice", |old: Option<u64>| {
    ///     let balance = old.ok_or_else(Problem::not_found)?;
    ///     let short = || Problem::new(409, "no-funds", "there is not enough in the account");
    ///     balance.checked_sub(10).ok_or_else(short)
    /// })?;
    /// # Ok(()) }
    /// ```
    pub fn try_update<T, E, F>(&self, key: &str, mut change: F) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<StoreError>,
        F: FnMut(Option<T>) -> Result<T, E>,
    {
        let failed = |error: store::Error| E::from(StoreError::from(error));
        let mut cas = atomics::Cas::new(&self.bucket, key).map_err(failed)?;
        for _ in 0..UPDATE_TRIES {
            let old = cas
                .current()
                .map_err(failed)?
                .map(|bytes| decode(key, &bytes))
                .transpose()?;
            let new = change(old)?;
            match atomics::swap(cas, &encode(key, &new)?) {
                Ok(()) => return Ok(new),
                Err(atomics::CasError::CasFailed(newer)) => cas = newer,
                Err(atomics::CasError::StoreError(error)) => return Err(failed(error)),
            }
        }
        Err(E::from(StoreError::Contended {
            key: key.to_owned(),
        }))
    }
}

/// Why a store operation failed. In a handler, `?` turns it into the right
/// [`Problem`](crate::Problem).
#[derive(Debug)]
pub enum StoreError {
    /// The store is full.
    Full(String),
    /// The store is unavailable now.
    Unavailable(String),
    /// Too many instances change this key at once.
    Contended {
        /// The key.
        key: String,
    },
    /// It violates a rule of the store and did nothing: an empty or too long key, a too large name,
    /// value or batch, a counter on something that is not a number or out of range.
    Invalid(String),
    /// A cursor that no listing has returned.
    InvalidCursor,
    /// The stored value, or the one to store, does not fit the type.
    NotAsExpected {
        /// The key.
        key: String,
        /// Serde's message.
        cause: serde_json::Error,
    },
    /// Anything else, with the host's message.
    Other(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Full(text)
            | StoreError::Unavailable(text)
            | StoreError::Invalid(text)
            | StoreError::Other(text) => write!(f, "the store: {text}"),
            StoreError::Contended { key } => write!(f, "too many instances change '{key}' at once"),
            StoreError::InvalidCursor => f.write_str("invalid cursor: use the 'next' of a listing"),
            StoreError::NotAsExpected { key, cause } => write!(f, "the value of '{key}': {cause}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<store::Error> for StoreError {
    /// The standard has one case for all errors.
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::NoSuchStore => StoreError::Unavailable("no such store".into()),
            store::Error::AccessDenied => StoreError::Other("access denied".into()),
            store::Error::Other(text) => StoreError::from_message(text),
        }
    }
}

impl StoreError {
    /// The host's text begins with a code.
    pub(crate) fn from_message(text: String) -> Self {
        match text.split_once(':').map_or(text.as_str(), |(code, _)| code) {
            "store-full" => StoreError::Full(text),
            "store-unavailable" => StoreError::Unavailable(text),
            "invalid" => StoreError::Invalid(text),
            "invalid-cursor" => StoreError::InvalidCursor,
            _ => StoreError::Other(text),
        }
    }
}

pub(crate) fn encode<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|cause| StoreError::NotAsExpected {
        key: key.to_owned(),
        cause,
    })
}

pub(crate) fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|cause| StoreError::NotAsExpected {
        key: key.to_owned(),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_error_code_selects_the_failure() {
        let told = |text: &str| StoreError::from(store::Error::Other(text.to_owned()));
        assert!(matches!(
            told("store-full: 1 GiB is used"),
            StoreError::Full(_)
        ));
        assert!(matches!(
            told("store-unavailable: repairing"),
            StoreError::Unavailable(_)
        ));
        assert!(matches!(told("invalid-cursor"), StoreError::InvalidCursor));
        assert!(matches!(
            told("invalid: a key cannot be empty"),
            StoreError::Invalid(_)
        ));
        assert!(matches!(told("disk on fire"), StoreError::Other(_)));
    }

    #[test]
    fn value_of_another_type_is_reported_by_its_key() {
        let error = decode::<u32>("fees", b"\"free\"").unwrap_err();
        assert!(error.to_string().contains("'fees'"), "{error}");
    }
}
