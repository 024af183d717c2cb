//! Connections for connections: how many there are, how many one address may have, and which
//! connection goes where they are short.
//!
//! A place costs its holder little and everybody else much, so a holder with nothing at work loses
//! it to a newcomer. Each address has a share at most: whoever has it at work is refused one more.
//! Where all connections are taken, the address with the most loses the one that has been idle
//! longest. A connection with a request at work is never taken.

mod activity;

pub use activity::{Activity, AtWork};

use activity::Claim;
use parking_lot::{Mutex, MutexGuard};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long a connection is left alone for a newcomer whose address has as many: 1 s, the round
/// trips of a handshake and of a first request on a bad line. Without it many addresses with one
/// connection each would take each other's connections before they have used them.
const LEAST_IDLE: Duration = Duration::from_secs(1);

/// Until the next look where all connections are taken and none can be done without.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Whose a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holder {
    /// IPv4 whole; of IPv6 the first 64 bits, because one client has at least those.
    Address(IpAddr),
    /// A proxy that speaks for many clients: it has no share, and loses its connections last.
    Proxy,
}

impl Holder {
    /// The client at this address.
    pub fn of(address: IpAddr) -> Self {
        Holder::Address(match address.to_canonical() {
            IpAddr::V4(v4) => IpAddr::V4(v4),
            IpAddr::V6(v6) => {
                let network = u128::from(v6) & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from(network))
            }
        })
    }
}

/// What is counted of connections. Clones share the counters.
#[derive(Debug, Clone, Default)]
pub struct ConnectionCounters {
    /// Newcomers that found all connections taken.
    pub full: Counter,
    /// Connections that gave way to another.
    pub evicted: Counter,
    /// Newcomers that were closed because their address had its share at work.
    pub refused: Counter,
}

impl ConnectionCounters {
    /// Names the counters in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "connection_limit_hits",
            "Connections that arrived when the limit was reached",
            self.full.clone(),
        );
        registry.register(
            "connections_evicted",
            "Connections without a request that were closed to make room for another",
            self.evicted.clone(),
        );
        registry.register(
            "connections_refused",
            "Connections that were closed because their address had its share at work",
            self.refused.clone(),
        );
    }
}

/// The connections of one kind of listener. Clones share them.
#[derive(Clone)]
pub struct ConnectionLimit(Arc<Inner>);

struct Inner {
    most: usize,
    share: usize,
    least_idle: Duration,
    counters: ConnectionCounters,
    book: Mutex<Book>,
    /// A place became free.
    freed: Notify,
}

#[derive(Default)]
struct Book {
    taken: usize,
    /// Those of them that have been told to go.
    leaving: usize,
    holders: HashMap<Holder, Held>,
}

/// The connections of one holder.
#[derive(Default)]
struct Held {
    entries: Vec<Arc<Entry>>,
    leaving: usize,
}

struct Entry {
    activity: Activity,
    /// Changed under the book's lock alone.
    leaving: AtomicBool,
    leave: CancellationToken,
}

/// A connection's permit, until it is dropped.
pub struct ConnectionPermit {
    limit: ConnectionLimit,
    holder: Holder,
    entry: Arc<Entry>,
}

/// What became of a newcomer.
enum Admission {
    ConnectionPermit(ConnectionPermit),
    /// Its address has its share.
    Refused,
    /// All are taken; whether one of them has been told to go.
    Full {
        leaving: bool,
    },
}

impl ConnectionLimit {
    /// `most` in all, and `share` of them for one address.
    pub fn new(most: usize, share: usize, counters: ConnectionCounters) -> Self {
        Self::with(most, share, counters, LEAST_IDLE)
    }

    /// The same where everybody has one address, so that a share would say nothing: the connection
    /// idle longest goes, but for those that have been there for less than `least_idle`.
    pub fn of_one_address(most: usize, counters: ConnectionCounters, least_idle: Duration) -> Self {
        Self::with(most, usize::MAX, counters, least_idle)
    }

    fn with(most: usize, share: usize, counters: ConnectionCounters, least_idle: Duration) -> Self {
        ConnectionLimit(Arc::new(Inner {
            most,
            share,
            least_idle,
            counters,
            book: Mutex::default(),
            freed: Notify::new(),
        }))
    }

    /// A place for one more connection of `holder`. Waits where all are taken and none can be done
    /// without; none where `holder` has its share. For one caller at a time, the one who accepts.
    pub async fn take(&self, holder: Holder) -> Option<ConnectionPermit> {
        let mut counted = false;
        loop {
            match self.admit(holder) {
                Admission::ConnectionPermit(permit) => return Some(permit),
                Admission::Refused => return None,
                Admission::Full { leaving } => {
                    if !std::mem::replace(&mut counted, true) {
                        self.0.counters.full.inc();
                    }
                    let freed = self.0.freed.notified();
                    match leaving {
                        true => freed.await,
                        // What has requests at work may be done with them soon.
                        false => drop(tokio::time::timeout(LOOK_EVERY, freed).await),
                    }
                }
            }
        }
    }

    fn admit(&self, holder: Holder) -> Admission {
        let mut book = self.book();
        if !self.has_room(&mut book, holder) {
            return Admission::Refused;
        }
        if book.taken >= self.0.most {
            let leaving = book.leaving > 0 || self.evict_for(&mut book, holder);
            return Admission::Full { leaving };
        }
        let entry = Arc::new(Entry {
            activity: Activity::new(),
            leaving: AtomicBool::new(false),
            leave: CancellationToken::new(),
        });
        book.taken += 1;
        book.add(holder, entry.clone());
        Admission::ConnectionPermit(ConnectionPermit {
            limit: self.clone(),
            holder,
            entry,
        })
    }

    /// Whether the holder may have one more, if need be in place of one of its own.
    fn has_room(&self, book: &mut Book, holder: Holder) -> bool {
        if holder == Holder::Proxy || book.held(&holder) < self.0.share {
            return true;
        }
        let own = book.holders.get(&holder);
        let own = own.and_then(|own| own.idlest(Duration::ZERO));
        let own = own.map(|(_, entry)| entry.clone());
        let room = own.is_some_and(|own| self.evict(book, holder, &own));
        if !room {
            self.0.counters.refused.inc();
        }
        room
    }

    /// Tells a connection to go in favour of a newcomer of `holder`. Whether there was one.
    fn evict_for(&self, book: &mut Book, holder: Holder) -> bool {
        let weight = |holder: &Holder| match holder {
            Holder::Proxy => 0,
            Holder::Address(_) => book.held(holder),
        };
        let own = weight(&holder);
        let mut found: Option<Evictable<'_>> = None;
        for (holder, connections) in &book.holders {
            let held = weight(holder);
            if found.as_ref().is_some_and(|found| held < found.held) {
                continue;
            }
            // Nobody is robbed of what he just came with, but for one who has more than the
            // newcomer would have.
            let crowded = held > own + 1;
            let least = match crowded {
                true => Duration::ZERO,
                false => self.0.least_idle,
            };
            let Some((claim, entry)) = connections.idlest(least) else {
                continue;
            };
            let better = |other: &Evictable<'_>| held > other.held || claim < other.claim;
            if found.as_ref().is_none_or(better) {
                let holder = *holder;
                found = Some(Evictable {
                    held,
                    claim,
                    holder,
                    entry,
                });
            }
        }
        let found = found.map(|found| (found.holder, found.entry.clone()));
        found.is_some_and(|(holder, entry)| self.evict(book, holder, &entry))
    }

    fn evict(&self, book: &mut Book, holder: Holder, entry: &Entry) -> bool {
        // A request may have begun since it was looked at.
        if !entry.activity.end() {
            return false;
        }
        entry.leaving.store(true, Relaxed);
        entry.leave.cancel();
        book.leaving += 1;
        if let Some(held) = book.holders.get_mut(&holder) {
            held.leaving += 1;
        }
        self.0.counters.evicted.inc();
        true
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock()
    }
}

impl Book {
    /// Connections that the holder has and will keep.
    fn held(&self, holder: &Holder) -> usize {
        let held = self.holders.get(holder);
        held.map_or(0, |held| held.entries.len() - held.leaving)
    }

    fn add(&mut self, holder: Holder, entry: Arc<Entry>) {
        let held = self.holders.entry(holder).or_default();
        held.leaving += usize::from(entry.leaving.load(Relaxed));
        held.entries.push(entry);
    }

    fn remove(&mut self, holder: &Holder, entry: &Arc<Entry>) {
        let Some(held) = self.holders.get_mut(holder) else {
            return;
        };
        let same = |other: &Arc<Entry>| Arc::ptr_eq(other, entry);
        if let Some(at) = held.entries.iter().position(same) {
            held.entries.swap_remove(at);
            held.leaving -= usize::from(entry.leaving.load(Relaxed));
        }
        if held.entries.is_empty() {
            self.holders.remove(holder);
        }
    }
}

impl Held {
    /// The connection that can best be done without, of those that have been there, or idle, for so
    /// long.
    fn idlest(&self, least: Duration) -> Option<(Claim, &Arc<Entry>)> {
        let stay = self
            .entries
            .iter()
            .filter(|entry| !entry.leaving.load(Relaxed));
        let claims = stay.filter_map(|entry| Some((entry.activity.claim()?, entry)));
        claims
            .filter(|(claim, _)| claim.since.elapsed() >= least)
            .min_by_key(|(claim, _)| *claim)
    }
}

/// A connection that can go, and how many its holder has.
struct Evictable<'a> {
    held: usize,
    claim: Claim,
    holder: Holder,
    entry: &'a Arc<Entry>,
}

impl ConnectionPermit {
    /// The requests of the connection.
    pub fn activity(&self) -> &Activity {
        &self.entry.activity
    }

    /// Resolves when the connection is to end at once, because another needs its place.
    pub async fn evicted(&self) {
        self.entry.leave.cancelled().await;
    }

    /// It turns out whose the connection is. Whether he may have it.
    pub fn belongs_to(&mut self, holder: Holder) -> bool {
        if holder == self.holder {
            return true;
        }
        let limit = self.limit.clone();
        let mut book = limit.book();
        if !limit.has_room(&mut book, holder) {
            return false;
        }
        book.remove(&self.holder, &self.entry);
        book.add(holder, self.entry.clone());
        self.holder = holder;
        true
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut book = self.limit.book();
        book.remove(&self.holder, &self.entry);
        book.taken -= 1;
        book.leaving -= usize::from(self.entry.leaving.load(Relaxed));
        drop(book);
        self.limit.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests;
