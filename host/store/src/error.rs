//! The errors of stores, as messages that say what to do.

use std::path::PathBuf;

/// Why a store refused or failed. The messages are for logs and operators; those with a path must
/// not be shown to a guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    // The caller asked for more than it may.
    /// Keys have at least 1 byte.
    #[error("a key cannot be empty: use a key of at least 1 byte")]
    KeyEmpty,
    /// The key exceeds [`crate::StoreLimits::max_key_bytes`].
    #[error("a key of {len} bytes is over the limit of {limit}: use a shorter key")]
    KeyTooLong {
        /// Bytes of the key.
        len: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The bucket's name exceeds [`crate::StoreLimits::max_bucket_bytes`].
    #[error("a bucket name of {len} bytes is over the limit of {limit}: use a shorter name")]
    BucketTooLong {
        /// Bytes of the name.
        len: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The value exceeds [`crate::StoreLimits::max_value_bytes`].
    #[error("a value of {len} bytes is over the limit of {limit}: store it in several parts")]
    ValueTooLarge {
        /// Bytes of the value.
        len: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The call names more keys than [`crate::StoreLimits::max_batch_ops`].
    #[error("{count} keys in one call are over the limit of {limit}: use several calls")]
    TooMany {
        /// Keys in the call.
        count: usize,
        /// Keys allowed.
        limit: usize,
    },
    /// The keys and values of the call exceed [`crate::StoreLimits::max_batch_bytes`].
    #[error("one call would move more than {limit} bytes: use several calls")]
    BatchTooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// The write would exceed [`crate::StoreLimits::max_store_bytes`].
    #[error(
        "the store has reached its limit of {limit} bytes: delete something, or raise the limit"
    )]
    StoreFull {
        /// Bytes allowed.
        limit: u64,
    },
    /// The transaction has more of something than it may.
    #[error(
        "{count} {what} in one transaction are over the limit of {limit}: use several transactions"
    )]
    TransactionTooLong {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// The `once` key is empty, or exceeds [`crate::StoreLimits::max_once_bytes`].
    #[error("a once key of {len} bytes is refused: use one of 1 to {limit} bytes")]
    BadOnceKey {
        /// Bytes of the key.
        len: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The data of an event exceed [`crate::StoreLimits::max_event_bytes`].
    #[error(
        "an event with {len} bytes of data is over the limit of {limit}: store the data, and emit where they are"
    )]
    EventTooLarge {
        /// Bytes of the data.
        len: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A text of an event, or all of its attributes, are too long.
    #[error("the {what} of an event, {len} bytes, is over the limit of {limit}: use a shorter one")]
    EventTextTooLong {
        /// Which text.
        what: &'static str,
        /// Bytes of it.
        len: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// An event has more attributes than [`crate::StoreLimits::max_attributes`].
    #[error(
        "an event with {count} attributes is over the limit of {limit}: put some into its data"
    )]
    TooManyAttributes {
        /// Attributes of the event.
        count: usize,
        /// Attributes allowed.
        limit: usize,
    },
    /// An event has an empty type.
    #[error("an event has no type: give it one, such as 'gov.payment.paid.v1'")]
    EventWithoutType,
    /// An event has a name, which is for replacing it while it waits, and does not wait.
    #[error("the event named {name:?} has no time to wait for: give it one, or no name")]
    NameWithoutTime {
        /// Its name.
        name: String,
    },
    /// The events would exceed [`crate::LogBounds::max_bytes`], and older ones are still needed.
    #[error(
        "the outbox has reached its limit of {limit} bytes, and its events are still needed: see that they are delivered, or raise the limit"
    )]
    OutboxFull {
        /// Bytes allowed.
        limit: u64,
    },
    /// An increment of a value that is not the decimal text of an `i64`.
    #[error("the value of {key:?} is not a 64-bit integer: increment only counters")]
    NotANumber {
        /// The key that holds it.
        key: String,
    },
    /// The sum does not fit into an `i64`.
    #[error("the counter {key:?} would leave the range of 64 bits: nothing was added")]
    Overflow {
        /// The key of the counter.
        key: String,
    },
    /// The write queue is full.
    #[error("the store's write queue is full ({limit} writes or bytes): try again shortly")]
    Busy {
        /// Writes, or bytes of them, that may wait.
        limit: usize,
    },
    /// The store no longer serves: its window or the host closed it.
    #[error("the store is closed, with its window or with the host: try again when it is open")]
    Closed,
    /// The receiver of a copy stopped the copy.
    #[error("the copy of the store was abandoned before it was complete")]
    GivenUp,
    /// The temporary file for a copy cannot be made or written.
    #[error("cannot copy the store: {reason}")]
    Scratch {
        /// The error of the file system.
        reason: String,
    },
    /// An immediate read found a page that is not in memory.
    #[error("this read would have to wait for the disk: repeat it on a thread that may wait")]
    WouldWait,

    // The file.
    /// The name is not one that a window may have.
    #[error("'{name}' is not a valid store name: use 1 to 63 of a-z, 0-9 and '-'")]
    BadName {
        /// The name asked for.
        name: String,
    },
    /// The folder of the stores cannot be read.
    #[error("the stores cannot be listed ({reason}): check the disk and the permissions")]
    Unlisted {
        /// The error of the file system.
        reason: String,
    },
    /// The file is not a store, or its content does not pass the checks.
    #[error("the store file {} is damaged ({reason}): put a good copy back, or move the file away and restart the host to start with an empty store", .path.display())]
    Corrupt {
        /// The store file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file was made for another window.
    #[error("the store file {} belongs to '{owner}', not to '{expected}': put each store back into its own folder", .path.display())]
    WrongOwner {
        /// The store file.
        path: PathBuf,
        /// The window that the file names.
        owner: String,
        /// The window that opened it.
        expected: String,
    },
    /// Another process holds the lock of the file.
    #[error("the store file {} is open elsewhere: stop the other host that uses this data folder", .path.display())]
    InUse {
        /// The store file.
        path: PathBuf,
    },
    /// A write found no space on the disk.
    #[error("the disk of the store file {} is full: free some space, and the store recovers by itself", .path.display())]
    DiskFull {
        /// The store file.
        path: PathBuf,
    },
    /// Any other error of the file system.
    #[error("the store file {} is unusable ({reason}): check the disk and the permissions, and the store recovers by itself", .path.display())]
    Io {
        /// The store file.
        path: PathBuf,
        /// The error of the file system.
        reason: String,
    },
}

impl StoreError {
    /// Whether the file or the host is at fault, and not the call.
    pub fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::Unlisted { .. }
                | Self::Corrupt { .. }
                | Self::WrongOwner { .. }
                | Self::InUse { .. }
                | Self::DiskFull { .. }
                | Self::Io { .. }
        )
    }
}
