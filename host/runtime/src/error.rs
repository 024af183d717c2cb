//! Why an instance, or its request, failed.

use hms_core::error::{Cause, Problem, RequestError};
use std::time::Duration;

/// A failure in the runtime. The messages are for clients, so they repeat nothing that a guest
/// said.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum InstanceError {
    // What the client sent, or took.
    #[error("the request header fields are larger than {limit} bytes")]
    HeadersTooLarge { limit: u64 },
    #[error("the request body is larger than {limit} bytes")]
    BodyTooLarge { limit: u64 },
    /// Like `BodyTooLarge`, but found while an instance was already working on it.
    #[error("the request body is larger than {limit} bytes")]
    BodyOverrun { limit: u64 },
    #[error("the request has too many trailer fields, or they are too large")]
    TrailersTooLarge,
    /// Its client held an instance by sending too slowly.
    #[error("too many clients are slow at the moment, and this one was the slowest")]
    BodyTooSlow,
    /// Its client held an instance by reading too slowly.
    #[error("the client read the response too slowly")]
    ReaderTooSlow,

    // What the instance did.
    /// The pool has no room for the instance.
    #[error("all instances are busy; retry shortly")]
    PoolFull,
    #[error("the instance failed to start")]
    Start(Cause),
    #[error("the instance failed before it responded")]
    Trapped,
    #[error("the instance exceeded its memory limit of {limit} bytes")]
    MemoryLimit { limit: u64 },
    #[error("the instance exceeded its CPU time limit of {} s", .limit.as_secs_f32())]
    CpuTime { limit: Duration },
    #[error("the instance did not respond within {} s", .limit.as_secs_f32())]
    WallTime { limit: Duration },
    #[error("the instance made more than {limit} host calls a second")]
    HostCalls { limit: u64 },
    #[error("the instance exchanged too much data with the host in one call")]
    HostCallTooLarge,
    /// It was linked by `--trap-unknown`. Which function it was.
    #[error("the instance called a function that this host does not provide")]
    UnknownImportCalled(Cause),
    #[error("the instance held too many handles or subtasks at once")]
    HandleLimit,
    #[error("the response is larger than {limit} bytes")]
    ResponseTooLarge { limit: u64 },
    #[error("the response header fields are too large")]
    ResponseHeadersTooLarge,
    /// A response that HTTP cannot carry.
    #[error("the response cannot be sent over HTTP")]
    ResponseInvalid(Cause),
    #[error("the instance ended without a response")]
    NoResponse(Cause),
    /// Once the response had begun, no data of it or of its request moved for so long.
    #[error("no response data arrived for {} s", .limit.as_secs_f32())]
    StreamIdle { limit: Duration },

    /// The release was cut.
    #[error("the release was replaced before the request was finished")]
    DrainDeadline,
}

impl InstanceError {
    /// Its row of the table.
    pub(super) fn problem(&self) -> Problem {
        match self {
            InstanceError::HeadersTooLarge { .. } => Problem::HeadersTooLarge,
            InstanceError::BodyTooLarge { .. } => Problem::BodyTooLarge,
            InstanceError::BodyOverrun { .. } => Problem::BodyOverrun,
            InstanceError::TrailersTooLarge => Problem::TrailersTooLarge,
            InstanceError::BodyTooSlow => Problem::BodyTooSlow,
            InstanceError::ReaderTooSlow => Problem::ReaderTooSlow,
            InstanceError::PoolFull => Problem::InstanceLimit,
            InstanceError::Start(_) => Problem::InstanceStart,
            InstanceError::Trapped => Problem::InstanceTrapped,
            InstanceError::MemoryLimit { .. } => Problem::MemoryLimit,
            InstanceError::CpuTime { .. } => Problem::CpuTime,
            InstanceError::WallTime { .. } => Problem::WallTime,
            InstanceError::HostCalls { .. } => Problem::HostCalls,
            InstanceError::HostCallTooLarge => Problem::HostCallTooLarge,
            InstanceError::UnknownImportCalled(_) => Problem::UnknownImportCalled,
            InstanceError::HandleLimit => Problem::HandleLimit,
            InstanceError::ResponseTooLarge { .. } => Problem::ResponseTooLarge,
            InstanceError::ResponseHeadersTooLarge => Problem::ResponseHeadersTooLarge,
            InstanceError::ResponseInvalid(_) => Problem::ResponseInvalid,
            InstanceError::NoResponse(_) => Problem::NoResponse,
            InstanceError::StreamIdle { .. } => Problem::StreamIdle,
            InstanceError::DrainDeadline => Problem::DrainDeadline,
        }
    }

    /// [`Problem::code`].
    #[cfg(test)]
    pub(super) fn code(&self) -> &'static str {
        self.problem().code()
    }
}

impl From<InstanceError> for RequestError {
    fn from(error: InstanceError) -> Self {
        let request_error = RequestError::new(error.problem(), error.to_string());
        match error {
            InstanceError::Start(cause)
            | InstanceError::UnknownImportCalled(cause)
            | InstanceError::ResponseInvalid(cause)
            | InstanceError::NoResponse(cause) => request_error.with_cause(cause),
            _ => request_error,
        }
    }
}
