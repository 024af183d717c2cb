//! Requests to the admin API that have presented the token, and how many may be in flight.
//!
//! Everybody on the machine can connect to the admin listener. A request therefore holds its
//! connection only once it has presented the token; before and after that, the next client may take
//! the connection's place.

use hms_net::connection_limit::AtWork;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests with the token in flight, whose connections are never closed for others. The other 8 of
/// the 64 connections are kept for probes.
const MAX_AT_WORK: usize = 56;

/// Those of them that upload, deploy or open something, or wait for an event. The other 16 are for
/// requests that look, close or remove something, so deploys that wait for a disk or a compiler do
/// not prevent an operator from stopping a window.
const MAX_GIVING: usize = 40;

/// The room of all requests with the token.
#[derive(Debug, Clone)]
pub(super) struct Rooms {
    all: Arc<Semaphore>,
    giving: Arc<Semaphore>,
}

impl Default for Rooms {
    fn default() -> Self {
        Rooms {
            all: Arc::new(Semaphore::new(MAX_AT_WORK)),
            giving: Arc::new(Semaphore::new(MAX_GIVING)),
        }
    }
}

/// A request's part of the rooms. It is given back once nobody shares it any more.
#[derive(Debug)]
pub(super) struct Room {
    _all: OwnedSemaphorePermit,
    _giving: Option<OwnedSemaphorePermit>,
}

impl Rooms {
    fn enter(&self, gives: bool) -> Option<Arc<Room>> {
        let giving = match gives {
            true => Some(self.giving.clone().try_acquire_owned().ok()?),
            false => None,
        };
        Some(Arc::new(Room {
            _all: self.all.clone().try_acquire_owned().ok()?,
            _giving: giving,
        }))
    }
}

/// A request at work.
pub(super) struct Claimed {
    at_work: AtWork,
    rooms: Rooms,
    room: Option<Arc<Room>>,
}

impl Claimed {
    /// Without the token yet. Requests with it share `rooms`.
    pub(crate) fn new(at_work: AtWork, rooms: Rooms) -> Self {
        Claimed {
            at_work,
            rooms,
            room: None,
        }
    }

    /// It has presented the token. Returns whether there is room for it; `gives` says that it may
    /// take long, because it uploads, deploys or opens something.
    pub(crate) fn prove(&mut self, gives: bool) -> bool {
        self.room = self.rooms.enter(gives);
        self.room.is_some() && self.at_work.prove()
    }

    /// Its part of the rooms, which the changes that it begins keep until they are done.
    pub(crate) fn room(&self) -> Option<Arc<Room>> {
        self.room.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hms_net::connection_limit::Activity;

    #[test]
    fn deploys_leave_room_for_changes_that_stop_something() {
        let rooms = Rooms::default();
        let claim = |gives| {
            let at_work = Activity::new().begin_unproven().unwrap();
            let mut claimed = Claimed::new(at_work, rooms.clone());
            claimed.prove(gives).then_some(claimed)
        };
        let giving: Vec<_> = (0..100).filter_map(|_| claim(true)).collect();
        assert_eq!(giving.len(), MAX_GIVING);
        let others: Vec<_> = (0..100).filter_map(|_| claim(false)).collect();
        assert_eq!(others.len(), MAX_AT_WORK - MAX_GIVING);
        drop(giving);
        assert!(claim(true).is_some());
    }
}
