//! Whose a request to the admin API is, and how many of those that are somebody's are at work at once.
//!
//! Everybody on the machine can connect to the admin listener. So a request holds its connection's place only once it has shown the
//! token; until then, and after it, whoever comes next may take it.

use crate::places::AtWork;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A request at work.
pub(super) struct Claimed {
    at_work: AtWork,
    room: Arc<Semaphore>,
    permit: Option<Arc<OwnedSemaphorePermit>>,
}

impl Claimed {
    /// Nobody's yet. Those that are somebody's have `room` together.
    pub fn new(at_work: AtWork, room: Arc<Semaphore>) -> Self {
        Claimed {
            at_work,
            room,
            permit: None,
        }
    }

    /// It has shown the token. Whether there is room for it.
    pub fn prove(&mut self) -> bool {
        self.permit = self.room.clone().try_acquire_owned().ok().map(Arc::new);
        self.permit.is_some() && self.at_work.prove()
    }

    /// Its part of the room, which the changes that it begins keep until they are done.
    pub fn room(&self) -> Option<Arc<OwnedSemaphorePermit>> {
        self.permit.clone()
    }
}
