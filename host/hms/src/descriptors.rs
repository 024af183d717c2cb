//! File descriptors: as many as the system lets this process have, and not all of them for
//! connections. What is left is for stores, components and upstreams: a window that cannot open its
//! store because of idle clients would be closed.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Of the descriptors, the share that connections of clients may take: three quarters.
const FOR_CONNECTIONS: (u64, u64) = (3, 4);

/// And that of requests at services: an eighth, half of what is left.
const FOR_SERVICES: u64 = 8;

/// And that of calls of windows to services, each of which may have a connection of its own: a
/// quarter. All shares are not used up at once but by an attack, and each has a bound for one
/// party.
const FOR_CALLS: u64 = 4;

/// And that of connections to services, those included that are idle: half as many as calls may be
/// in flight beside those. A connection that is closed costs its next call a handshake, a
/// descriptor that is missing costs somebody else a request.
const FOR_IDLE_CALLS: u64 = 2 * FOR_CALLS;

/// Calls at once where the system names no limit.
const MOST_CALLS: usize = 65_536;

/// Raises the soft limit to the hard one, and gives the limit that holds; `None` for no limit.
pub fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit on open files");
            limit.current
        }
    }
}

/// Connections that may be open at once where `wished` are wanted and `limit` descriptors are to be
/// had.
pub fn connections(wished: usize, limit: Option<u64>) -> usize {
    let Some(limit) = limit else { return wished };
    let (part, whole) = FOR_CONNECTIONS;
    let fits = usize::try_from(limit / whole * part).unwrap_or(usize::MAX);
    if fits < wished {
        tracing::warn!(
            connections = fits,
            open_files = limit,
            "the limit on open files allows fewer connections than usual (see `ulimit -n`)"
        );
    }
    wished.min(fits).max(1)
}

/// Requests that may be at services at once where `wished` are wanted and `limit` descriptors are
/// to be had.
pub fn services(wished: usize, limit: Option<u64>) -> usize {
    let fits = limit.and_then(|limit| usize::try_from(limit / FOR_SERVICES).ok());
    fits.map_or(wished, |fits| wished.min(fits).max(1))
}

/// Calls of windows to services at once where `limit` descriptors are to be had.
pub fn calls(limit: Option<u64>) -> usize {
    let fits = limit.and_then(|limit| usize::try_from(limit / FOR_CALLS).ok());
    fits.map_or(MOST_CALLS, |fits| fits.max(1))
}

/// Connections of windows to services at once where `limit` descriptors are to be had: one for each
/// call, and idle ones.
pub fn call_connections(limit: Option<u64>) -> usize {
    let idle = limit.and_then(|limit| usize::try_from(limit / FOR_IDLE_CALLS).ok());
    calls(limit) + idle.unwrap_or(MOST_CALLS / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_limit_leaves_descriptors_for_the_rest() {
        assert_eq!(connections(4096, None), 4096);
        assert_eq!(connections(4096, Some(1 << 20)), 4096);
        assert_eq!(connections(4096, Some(1024)), 768);
        assert_eq!(connections(4096, Some(0)), 1);
        assert_eq!(services(4096, None), 4096);
        assert_eq!(services(4096, Some(1 << 20)), 4096);
        assert_eq!(services(4096, Some(1024)), 128);
        assert_eq!(services(4096, Some(0)), 1);
        assert_eq!(calls(None), MOST_CALLS);
        assert_eq!(calls(Some(1024)), 256);
        assert_eq!(calls(Some(0)), 1);
        assert_eq!(call_connections(Some(1024)), 256 + 128);
        assert_eq!(call_connections(None), MOST_CALLS + MOST_CALLS / 2);
    }
}
