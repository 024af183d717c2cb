//! Why a request has no answer of its service.

use super::NotAllowed;
use super::connections::TooManyConnections;
use rustix::io::Errno;
use std::error::Error;
use std::io;
use std::sync::Arc;

/// What a failure comes from. Shared, because several requests may wait for one connection.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Any failure of a connector.
pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// Why a request has no answer of its service.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SendError {
    /// TLS is asked for, and no certificate authority is trusted.
    #[error("this machine has no certificate authorities for https: install its ca-certificates")]
    NoTrustStore,
    /// The client's screen refuses the address.
    #[error("{0}")]
    NotAllowed(NotAllowed),
    /// The client, with those that share its bound, has as many connections as it may.
    #[error("connection limit reached")]
    TooManyConnections {
        /// Whether that is the bound of the whole host.
        of_all: bool,
    },
    /// Nothing of the request was sent.
    #[error("no connection: {}", innermost(&**.0))]
    Connect(Cause),
    /// It did nothing with the request.
    #[error("it refused the request without processing it: {}", innermost(&**.0))]
    Refused(Cause),
    /// As `Refused`, because it closed the connection, which is nothing unusual.
    #[error("it closed the connection without processing the request: {}", innermost(&**.0))]
    LeftOver(Cause),
    /// Nobody knows what the service did with the request.
    #[error("the connection broke off: {}", innermost(&**.0))]
    Broken(Cause),
}

impl SendError {
    /// Whether only this host is why there is no connection.
    pub fn is_hosts_own(&self) -> bool {
        match self {
            SendError::NoTrustStore | SendError::TooManyConnections { .. } => true,
            // A name that nobody resolves may be this service's alone.
            SendError::Connect(cause) => has_run_out(&**cause),
            _ => false,
        }
    }
}

/// The name of the service has no address, or nobody can say. Among the causes of
/// [`SendError::Connect`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unresolved(#[source] pub(super) io::Error);

/// The refused address, if that is the cause.
pub(super) fn not_allowed(error: &(dyn Error + 'static)) -> Option<NotAllowed> {
    find(error).copied()
}

/// What of this host's keeps a connection from being made, if that is the cause.
pub(super) fn refused(error: &(dyn Error + 'static)) -> Option<SendError> {
    match find::<TooManyConnections>(error) {
        Some(TooManyConnections { of_all }) => {
            Some(SendError::TooManyConnections { of_all: *of_all })
        }
        None => not_allowed(error).map(SendError::NotAllowed),
    }
}

/// The first cause of that type: `error`, or one behind it.
pub fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An io::Error's `source` is that of what it holds, not what it holds.
        let held = error
            .downcast_ref::<io::Error>()
            .and_then(|error| error.get_ref());
        if let Some(held) = held {
            return find(held);
        }
        cause = error.source();
    }
    None
}

/// What this host may have run out of: descriptors, memory, ports.
const SHORTAGES: [Errno; 5] = [
    Errno::MFILE,
    Errno::NFILE,
    Errno::NOBUFS,
    Errno::NOMEM,
    Errno::ADDRNOTAVAIL,
];

/// What the system says where no name server answers, as of glibc and musl: `EAI_AGAIN` has no code
/// in an `io::Error`.
const NOBODY_RESOLVES: [&str; 2] = ["Temporary failure in name resolution", "Try again"];

/// Whether there is no connection because this host has run out of something, or nobody resolves
/// names for it. That says nothing of the service.
pub fn is_shortage(error: &(dyn Error + 'static)) -> bool {
    if let Some(Unresolved(error)) = find(error) {
        let said = error.to_string();
        if NOBODY_RESOLVES.iter().any(|words| said.ends_with(words)) {
            return true;
        }
    }
    has_run_out(error)
}

/// Whether this host has run out of something.
fn has_run_out(error: &(dyn Error + 'static)) -> bool {
    let found = find::<io::Error>(error);
    found.is_some_and(|found| match (found.raw_os_error(), found.get_ref()) {
        (Some(code), _) => SHORTAGES.iter().any(|errno| errno.raw_os_error() == code),
        (None, Some(held)) => has_run_out(held),
        (None, None) => false,
    })
}

/// The innermost cause says what happened; the layers around it only say where.
pub(super) fn innermost(error: &(dyn Error + Send + Sync + 'static)) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortage_of_this_host_is_told_from_a_fault_of_the_service() {
        for (errno, expected) in [
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::ADDRNOTAVAIL, true),
            (Errno::CONNREFUSED, false),
            (Errno::HOSTUNREACH, false),
        ] {
            let error = io::Error::from(errno);
            assert_eq!(is_shortage(&error), expected, "{errno}");
            assert_eq!(is_shortage(&io::Error::other(error)), expected, "{errno}");
        }
        assert!(!is_shortage(&io::Error::other("no such name")));
        let look_up = |error| io::Error::other(Unresolved(error));
        assert!(is_shortage(&look_up(io::Error::from(Errno::MFILE))));
        for (said, expected) in [
            ("Temporary failure in name resolution", true),
            ("Name or service not known", false),
        ] {
            let said = format!("failed to lookup address information: {said}");
            assert_eq!(is_shortage(&look_up(io::Error::other(said))), expected);
        }
    }
}
