//! Failures below the tables, on their way to becoming a [`StoreError`].

use super::StoreError;
use super::waiting::WouldWait;
use std::any::Any;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Why an access to the file failed. After any of these except [`Fault::WouldWait`] the database
/// handle is not used again: redb refuses all work after an I/O error until the file is reopened.
#[derive(Debug)]
pub(super) enum Fault {
    Redb(redb::Error),
    /// The file is a database, but not a valid store.
    Damaged(String),
    /// redb reports damage as errors only where it checks the whole file; elsewhere it may panic.
    Panicked(String),
    /// The file is valid, but not ours to use.
    Refused(StoreError),
    /// Not a failure: the read must not wait for the disk, and would have to.
    WouldWait,
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Redb(error.into())
    }
}

impl Fault {
    /// Whether the content of the file is in doubt, so that reopening it must check all of it.
    pub(super) fn is_suspect(&self) -> bool {
        match self {
            Self::Damaged(_) | Self::Panicked(_) => true,
            Self::Refused(_) | Self::WouldWait => false,
            Self::Redb(error) => damage(error).is_some(),
        }
    }

    pub(super) fn into_error(self, path: &Path) -> StoreError {
        let path = path.to_path_buf();
        let error = match self {
            Self::Refused(error) => return error,
            Self::WouldWait => return StoreError::WouldWait,
            Self::Damaged(reason) | Self::Panicked(reason) => {
                return StoreError::Corrupt { path, reason };
            }
            Self::Redb(error) => error,
        };
        if let Some(reason) = damage(&error) {
            return StoreError::Corrupt { path, reason };
        }
        match error {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
                StoreError::InUse { path }
            }
            redb::Error::Io(error)
                if matches!(
                    error.kind(),
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded
                ) =>
            {
                StoreError::DiskFull { path }
            }
            other => StoreError::Io {
                path,
                reason: other.to_string(),
            },
        }
    }
}

/// What the error says about the content of the file, if that is what is wrong.
fn damage(error: &redb::Error) -> Option<String> {
    match error {
        redb::Error::Io(error) => match error.kind() {
            ErrorKind::UnexpectedEof => Some("it is shorter than it should be".into()),
            ErrorKind::InvalidData => Some(error.to_string()),
            _ => None,
        },
        redb::Error::Corrupted(reason) => Some(reason.clone()),
        redb::Error::UpgradeRequired(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TableIsNotMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::TableDoesNotExist(_) => Some(error.to_string()),
        _ => None,
    }
}

/// Runs `work` on the database. A panic in it is a [`Fault`], because it means a damaged file, or a
/// read that would have to wait.
///
/// Unwind safety: after a fault the caller drops the handle that `work` used, without looking at
/// it. A read that would have to wait unwinds inside the backend, at a point where redb holds no
/// lock that it could poison.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| match panic.is::<WouldWait>() {
        true => Err(Fault::WouldWait),
        false => Err(Fault::Panicked(panic_message(panic.as_ref()))),
    })
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("reading it failed: {}", text.unwrap_or("no reason given"))
}
