//! Bounds the concurrent requests to ordinary services. Each has its own connection, which is a
//! file descriptor that a store or a client could need. One address has at most a share of them,
//! except a trusted proxy that names no client, which speaks for many.

use hms_net::connection_limit::Holder;
use parking_lot::{Mutex, MutexGuard};
use prometheus_client::metrics::counter::Counter;
use std::collections::HashMap;
use std::sync::Arc;

/// The bound on requests to services. Clones share it.
#[derive(Clone)]
pub struct Room(Arc<Inner>);

struct Inner {
    most: usize,
    share: usize,
    held: Mutex<Held>,
    refused: Counter,
}

#[derive(Default)]
struct Held {
    all: usize,
    each: HashMap<Holder, usize>,
}

/// A permit for one request to a service, until it is dropped.
pub struct AtService {
    room: Room,
    holder: Holder,
}

impl Room {
    /// For `most` requests, of which one address may have `share`. `refused` counts refusals by
    /// either bound.
    pub fn new(most: usize, share: usize, refused: Counter) -> Self {
        Room(Arc::new(Inner {
            most,
            share,
            held: Mutex::default(),
            refused,
        }))
    }

    /// A permit for a request of `holder`, if there is one.
    pub fn enter(&self, holder: Holder) -> Option<AtService> {
        let mut held = self.held();
        let own = held.each.get(&holder).copied().unwrap_or_default();
        let shared = holder != Holder::Proxy && own >= self.0.share;
        if held.all >= self.0.most || shared {
            self.0.refused.inc();
            return None;
        }
        held.all += 1;
        held.each.insert(holder, own + 1);
        let room = self.clone();
        Some(AtService { room, holder })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock()
    }
}

impl Drop for AtService {
    fn drop(&mut self) {
        let mut held = self.room.held();
        held.all -= 1;
        let own = held.each.remove(&self.holder).unwrap_or_default();
        if own > 1 {
            held.each.insert(self.holder, own - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_requests_are_limited_per_address_and_in_total() {
        let refused = Counter::default();
        let room = Room::new(8, 2, refused.clone());
        let enter = |address: &str| room.enter(Holder::of(address.parse().unwrap()));
        let first = [enter("192.0.2.1").unwrap(), enter("192.0.2.1").unwrap()];
        assert!(enter("192.0.2.1").is_none());
        let mut others = Vec::new();
        for address in [
            "192.0.2.2",
            "192.0.2.3",
            "2001:db8::1",
            "192.0.2.2",
            "192.0.2.3",
        ] {
            others.push(enter(address).unwrap());
        }
        others.push(enter("2001:db8::2").unwrap());
        assert!(enter("192.0.2.9").is_none(), "all is taken");
        assert_eq!(refused.get(), 2);
        drop((first, others));
        let proxied: Vec<_> = (0..8).map(|_| room.enter(Holder::Proxy).unwrap()).collect();
        assert!(room.enter(Holder::Proxy).is_none(), "all is taken");
        drop(proxied);
        let held = room.held();
        assert_eq!((held.all, held.each.len()), (0, 0));
    }
}
