//! Why a change to the windows was not made.

use super::WindowName;
use hms_core::error::RequestError;
use hms_runtime::Refusal;
use hms_runtime::compile::CompileError;
use hms_store::StoreError;
use http::StatusCode;
use std::time::Duration;

/// A deploy, start, stop, rollback or removal that did not happen. Whatever was live is still live.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The window's name breaks the rules for names.
    #[error("{0}")]
    Name(String),
    /// No window has this name.
    #[error("there is no window '{0}'; `hms windows` lists the windows")]
    NoWindow(WindowName),
    /// The release is not among those kept.
    #[error("window '{window}' has no release {number} to roll back to; available: {kept}")]
    NoRelease {
        /// The window asked for.
        window: WindowName,
        /// The release asked for.
        number: u64,
        /// The numbers of the releases that are kept, for people.
        kept: String,
    },
    /// A rollback without a number, and no release precedes the live one.
    #[error(
        "no release of window '{0}' was live before the live one; `hms history {0}` lists those that \
         are kept, and `hms rollback {0} --to N` takes one of them"
    )]
    NothingBefore(WindowName),
    /// The file is not a component that a window may be.
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    /// The upload exceeds `--max-upload`.
    #[error("refused: the file is larger than {limit} bytes; `hms serve --max-upload` raises that")]
    TooLarge {
        /// Bytes allowed.
        limit: u64,
    },
    /// The client broke off, or its body is malformed.
    #[error("the upload ended early: {0}")]
    Upload(String),
    /// The compiler rejected the component, or exceeded its limits.
    #[error("refused: it does not compile: {0}")]
    Compile(String),
    /// The component's imports do not match what the host provides.
    #[error("refused: it does not link: {0}")]
    Link(String),
    /// A test instance did not start, or there was no room for one.
    #[error("refused: an instance of it does not start: {}", .0.in_full())]
    Try(RequestError),
    /// The probe request got no answer, or one that the deploy does not accept.
    #[error("refused: the probe failed: {0}")]
    Probe(String),
    /// A release could do more than before, and nobody has consented to that. Holds what, as a
    /// sentence.
    #[error("{0}; to allow this, repeat with --yes (yes=true in the admin API)")]
    NeedsConsent(String),
    /// The limit is set by the window's grants file.
    #[error("{limit}: set in {place}: change it there")]
    LimitOfTheFile {
        /// Its name in the admin API.
        limit: String,
        /// File and line.
        place: String,
    },
    /// The store holds events that are not delivered. Says whose, as a sentence.
    #[error(
        "{0}; they would be lost with the store: wait until they are delivered \
        (`hms subscriptions` shows how far they are), or take the subscription out of its file"
    )]
    Undelivered(String),
    /// The change is not possible while a canary runs.
    #[error(
        "window '{0}' has a canary running: end it first with `hms promote {0}` or `hms abort {0}`"
    )]
    CanaryRunning(WindowName),
    /// There is no canary to promote or abort.
    #[error("window '{0}' has no canary running")]
    NoCanary(WindowName),
    /// A canary needs a live release to compare with.
    #[error("window '{0}' has no open release to compare a canary with: deploy without a canary")]
    NothingLive(WindowName),
    /// A parameter of the change is invalid.
    #[error("{0}")]
    BadOption(String),
    /// The queue for deploys is full. Names what they wait for.
    #[error("too many deploys are waiting {0}: try again in a while")]
    Busy(&'static str),
    /// The window's record cannot be parsed.
    #[error(
        "the record of window '{window}' in host.redb is unreadable: {why}. A newer hms may have written it. \
        `hms remove {window}` removes the record and keeps the store"
    )]
    Record {
        /// The name under which the record is kept.
        window: String,
        /// The error of the parser.
        why: String,
    },
    /// A removal has begun and must complete first.
    #[error(
        "window '{window}' is being removed, but the removal is not complete: {why}; the host retries"
    )]
    Removing {
        /// The window being removed.
        window: WindowName,
        /// What the removal is waiting for.
        why: String,
    },
    /// Another host changed the record between our read and our write.
    #[error(
        "window '{0}' was changed by another host meanwhile: check its current state, and retry \
         if the change still applies"
    )]
    Overtaken(WindowName),
    /// A file in the data folder cannot be written.
    #[error("cannot write to the data folder: {0}")]
    Disk(String),
    /// A file operation exceeded its time limit.
    #[error("the disk of the data folder has not answered for {0:?}")]
    DiskTimeout(Duration),
    /// The window's store cannot be opened or removed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A fault of the host itself.
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
    /// Whether a release could not be loaded because of a fault of its own, which persists. Faults
    /// of the host, such as a full disk, pass, so nothing lasting is decided because of them.
    pub(super) fn is_of_the_release(&self) -> bool {
        use ChangeError::{Compile, Link, NoRelease};
        matches!(self, Compile(_) | Link(_) | NoRelease { .. })
    }

    /// Whether a write failed because the disk is full.
    pub(super) fn is_full_disk(&self) -> bool {
        matches!(self, ChangeError::Store(StoreError::DiskFull { .. }))
    }

    /// Whether a write failed in such a way that the disk may or may not have it.
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
            ChangeError::LimitOfTheFile { .. } => (StatusCode::CONFLICT, "limit-in-grants"),
            ChangeError::Undelivered(_) => (StatusCode::CONFLICT, "undelivered-events"),
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
