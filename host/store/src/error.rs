//! What can go wrong with a store, in sentences that say what to do.

use std::path::PathBuf;

/// Why a store refused or failed. The sentence of each is fit for a log and for an operator; those
/// with a path are not meant for a guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    // The caller asked for more than it may.
    #[error("a key cannot be empty: use a key of at least 1 byte")]
    KeyEmpty,
    #[error("a key of {len} bytes is over the limit of {limit}: use a shorter key")]
    KeyTooLong { len: usize, limit: usize },
    #[error("a bucket name of {len} bytes is over the limit of {limit}: use a shorter name")]
    BucketTooLong { len: usize, limit: usize },
    #[error("a value of {len} bytes is over the limit of {limit}: store it in several parts")]
    ValueTooLarge { len: usize, limit: usize },
    #[error("{count} keys in one call are over the limit of {limit}: use several calls")]
    TooMany { count: usize, limit: usize },
    #[error("one call would move more than {limit} bytes: use several calls")]
    BatchTooLarge { limit: usize },
    #[error(
        "the store has reached its limit of {limit} bytes: delete something, or raise the limit"
    )]
    StoreFull { limit: u64 },
    #[error("the value of {key:?} is not a 64-bit integer: increment only counters")]
    NotANumber { key: String },
    #[error("the counter {key:?} would leave the range of 64 bits: nothing was added")]
    Overflow { key: String },
    #[error("the store's write queue is full ({limit} writes or bytes): try again shortly")]
    Busy { limit: usize },
    #[error("the store is closed, with its window or with the host: try again when it is open")]
    Closed,
    #[error("the copy of the store was abandoned before it was complete")]
    GivenUp,
    #[error("cannot copy the store: {reason}")]
    Scratch { reason: String },
    #[error("this read would have to wait for the disk: repeat it on a thread that may wait")]
    WouldWait,

    // The file.
    #[error("'{name}' is not a valid store name: use 1 to 63 of a-z, 0-9 and '-'")]
    BadName { name: String },
    #[error("the stores cannot be listed ({reason}): check the disk and the permissions")]
    Unlisted { reason: String },
    #[error("the store file {} is damaged ({reason}): put a good copy back, or move the file away and restart the host to start with an empty store", .path.display())]
    Corrupt { path: PathBuf, reason: String },
    #[error("the store file {} belongs to '{owner}', not to '{expected}': put each store back into its own folder", .path.display())]
    WrongOwner {
        path: PathBuf,
        owner: String,
        expected: String,
    },
    #[error("the store file {} is open elsewhere: stop the other host that uses this data folder", .path.display())]
    InUse { path: PathBuf },
    #[error("the disk of the store file {} is full: free some space, and the store recovers by itself", .path.display())]
    DiskFull { path: PathBuf },
    #[error("the store file {} is unusable ({reason}): check the disk and the permissions, and the store recovers by itself", .path.display())]
    Io { path: PathBuf, reason: String },
}

impl StoreError {
    /// Whether the fault lies with the file or the host, and not with what the caller asked.
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
