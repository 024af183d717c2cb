//! Why a change to the windows was not made.

use super::WindowName;
use hms_api::Difference;
use hms_core::error::RequestError;
use hms_runtime::Refusal;
use hms_runtime::compile::CompileError;
use hms_store::StoreError;
use http::StatusCode;
use std::time::Duration;

/// A deploy, start, stop, rollback or removal that did not happen. Whatever was live is still live.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("{0}")]
    Name(String),
    #[error("there is no window '{0}'; `hms windows` lists the windows")]
    NoWindow(WindowName),
    #[error("window '{window}' has no release {number} to roll back to; available: {kept}")]
    NoRelease {
        window: WindowName,
        number: u64,
        kept: String,
    },
    #[error("window '{0}' has no release before the live one")]
    NothingBefore(WindowName),
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    #[error("refused: the file is larger than {limit} bytes; `hms serve --max-upload` raises that")]
    TooLarge { limit: u64 },
    #[error("the upload ended early: {0}")]
    Upload(String),
    #[error("refused: it does not compile: {0}")]
    Compile(String),
    #[error("refused: it does not link: {0}")]
    Link(String),
    #[error("refused: an instance of it does not start: {}", .0.in_full())]
    Try(RequestError),
    #[error("refused: the probe failed: {0}")]
    Probe(String),
    #[error(
        "it needs more capabilities than release {}: {}; to allow them, repeat with --yes (yes=true in the admin API)",
        .0.live, .0.capabilities.gained.join(", ")
    )]
    NeedsConsent(Box<Difference>),
    #[error(
        "window '{0}' has a canary running: end it first with `hms promote {0}` or `hms abort {0}`"
    )]
    CanaryRunning(WindowName),
    #[error("window '{0}' has no canary running")]
    NoCanary(WindowName),
    #[error("window '{0}' has no open release to compare a canary with: deploy without a canary")]
    NothingLive(WindowName),
    #[error("{0}")]
    BadOption(String),
    #[error("too many deploys are waiting {0}: try again in a while")]
    Busy(&'static str),
    #[error(
        "the record of window '{window}' in host.redb is unreadable: {why}. A newer hms may have written it. \
        `hms remove {window}` removes the record and keeps the store"
    )]
    Record { window: String, why: String },
    #[error(
        "window '{window}' is being removed, but the removal is not complete: {why}; the host retries"
    )]
    Removing { window: WindowName, why: String },
    #[error(
        "window '{0}' was changed by another host meanwhile: look at what it is now, and repeat the change if it is still meant"
    )]
    Overtaken(WindowName),
    #[error("cannot write to the data folder: {0}")]
    Disk(String),
    #[error("the disk of the data folder has not answered for {0:?}")]
    DiskTimeout(Duration),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Internal(String),
}

impl From<CompileError> for ChangeError {
    fn from(error: CompileError) -> Self {
        match error {
            CompileError::Component(why) => ChangeError::Compile(why),
            CompileError::Disk(why) => ChangeError::Disk(why),
            CompileError::Host(why) => ChangeError::Internal(why),
        }
    }
}

impl ChangeError {
    /// Whether a release could not be loaded for a fault of its own, which it still has at another
    /// time. The host's faults, such as a full disk, pass: nothing lasting is decided for them.
    pub(super) fn is_of_the_release(&self) -> bool {
        use ChangeError::{Compile, Link, NoRelease};
        matches!(self, Compile(_) | Link(_) | NoRelease { .. })
    }

    /// Whether a write failed because the disk is full.
    pub(super) fn is_full_disk(&self) -> bool {
        matches!(self, ChangeError::Store(StoreError::DiskFull { .. }))
    }

    /// Whether a write failed such that the disk may have it or not.
    pub(super) fn leaves_the_disk_in_doubt(&self) -> bool {
        match self {
            ChangeError::DiskTimeout(_) => true,
            ChangeError::Store(error) => error.is_fault() || *error == StoreError::Closed,
            _ => false,
        }
    }

    /// The status and the stable name for the admin API.
    pub fn parts(&self) -> (StatusCode, &'static str) {
        match self {
            ChangeError::Name(_) => (StatusCode::BAD_REQUEST, "bad-name"),
            ChangeError::NoWindow(_) => (StatusCode::NOT_FOUND, "no-window"),
            ChangeError::NoRelease { .. } => (StatusCode::NOT_FOUND, "no-release"),
            ChangeError::NothingBefore(_) => (StatusCode::CONFLICT, "no-release"),
            ChangeError::Refused(refusal) => (StatusCode::UNPROCESSABLE_ENTITY, refusal.code()),
            ChangeError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
            ChangeError::Upload(_) => (StatusCode::BAD_REQUEST, "upload-broken"),
            ChangeError::Compile(_) => (StatusCode::UNPROCESSABLE_ENTITY, "does-not-compile"),
            ChangeError::Link(_) => (StatusCode::UNPROCESSABLE_ENTITY, "does-not-link"),
            ChangeError::Try(_) => (StatusCode::UNPROCESSABLE_ENTITY, "does-not-start"),
            ChangeError::Probe(_) => (StatusCode::UNPROCESSABLE_ENTITY, "probe-failed"),
            ChangeError::NeedsConsent(_) => (StatusCode::CONFLICT, "needs-consent"),
            ChangeError::CanaryRunning(_) => (StatusCode::CONFLICT, "canary-running"),
            ChangeError::NoCanary(_) => (StatusCode::CONFLICT, "no-canary"),
            ChangeError::NothingLive(_) => (StatusCode::CONFLICT, "nothing-live"),
            ChangeError::BadOption(_) => (StatusCode::BAD_REQUEST, "bad-request"),
            ChangeError::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "deploys-busy"),
            ChangeError::Record { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "record-unreadable"),
            ChangeError::Removing { .. } => (StatusCode::CONFLICT, "window-removing"),
            ChangeError::Overtaken(_) => (StatusCode::CONFLICT, "changed-meanwhile"),
            ChangeError::Disk(_) => (StatusCode::INSUFFICIENT_STORAGE, "disk"),
            ChangeError::DiskTimeout(_) => (StatusCode::SERVICE_UNAVAILABLE, "disk-timeout"),
            ChangeError::Store(StoreError::DiskFull { .. }) => {
                (StatusCode::INSUFFICIENT_STORAGE, "disk")
            }
            ChangeError::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, "store-unavailable"),
            ChangeError::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}
