//! Why a service did not answer, or not completely.

use hms_core::error::{Cause, Problem, RequestError};
use hms_net::client::NotAllowed;
use std::time::Duration;

/// A request that failed at a service, or on the way to it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UpstreamError {
    #[error("the upstream's address is not allowed")]
    Refused(Cause),
    #[error("the upstream cannot be reached")]
    Unreachable(Cause),
    /// The request was on its way, so it is unknown what the service did with it.
    #[error("the upstream did not complete its response")]
    Broken(Cause),
    #[error("the upstream did not respond within {} s", .limit.as_secs_f32())]
    Timeout { limit: Duration },
    /// The limit of all clients, or of this one.
    #[error("too many requests to upstream services are in progress; retry shortly")]
    Full,
    /// Once the response had begun, no data of it or of its request moved for so long.
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

/// Why an address was refused, for operators: with the option that allows it.
pub(crate) fn refusal(reason: &NotAllowed) -> String {
    match reason {
        NotAllowed::NotPublic(_) => {
            format!("{reason}: if it is intended, allow it with --upstream-allow")
        }
        NotAllowed::OwnListener(_) => reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_address_comes_with_the_option_that_allows_it_where_there_is_one() {
        let private = NotAllowed::NotPublic([10, 0, 0, 1].into());
        assert_eq!(
            refusal(&private),
            "10.0.0.1 is not an address of the public internet: if it is intended, allow it with \
             --upstream-allow"
        );
        let own = NotAllowed::OwnListener(([127, 0, 0, 1], 9000).into());
        assert!(!refusal(&own).contains("--upstream-allow"));
    }
}
