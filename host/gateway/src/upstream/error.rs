//! Why a service did not answer, or not to the end.

use hms_core::error::{Cause, Problem, RequestError};
use std::time::Duration;

/// A request that a service, or the way to it, failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UpstreamError {
    #[error("the upstream's address is not allowed")]
    Refused(Cause),
    #[error("the upstream cannot be reached")]
    Unreachable(Cause),
    /// The request was on its way, so nobody knows what the service did with it.
    #[error("the upstream did not complete its response")]
    Broken(Cause),
    #[error("the upstream did not respond within {} s", .limit.as_secs_f32())]
    Timeout { limit: Duration },
    /// Of all clients, or of this one.
    #[error("too many requests to upstream services are in progress; retry shortly")]
    Full,
    /// Once it had begun, nothing of the response or of its request moved for so long.
    #[error("no response data arrived for {} s", .limit.as_secs_f32())]
    Idle { limit: Duration },
}

impl From<UpstreamError> for RequestError {
    fn from(error: UpstreamError) -> Self {
        let detail = error.to_string();
        let of = |problem| RequestError::new(problem, detail);
        match error {
            UpstreamError::Refused(cause) => of(Problem::UpstreamRefused).with_cause(cause),
            UpstreamError::Unreachable(cause) => of(Problem::UpstreamUnreachable).with_cause(cause),
            UpstreamError::Broken(cause) => of(Problem::UpstreamBroken).with_cause(cause),
            UpstreamError::Timeout { .. } => of(Problem::UpstreamTimeout),
            UpstreamError::Full => of(Problem::ServicesFull),
            UpstreamError::Idle { .. } => of(Problem::StreamIdle),
        }
    }
}
