//! One subscription: what it has in hand, in memory. `task` reads the logs and starts deliveries,
//! `load` begins where the state on disk says, `deliver` is one delivery, `settle` what comes of
//! it, and `status` what operators see.

mod deliver;
mod load;
mod settle;
mod status;
mod task;

pub(crate) use load::first_at;

use crate::events::Shared;
use crate::flow::{Flow, Ref, Tries};
use crate::limits::{FIRST_PAUSE, LONGEST_LOAD};
use crate::records::{
    CursorRecord, Id, ParkedRecord, Paused, SUBSCRIPTIONS, SubscriptionRecord, tries_key,
};
use crate::state::{Cursors, EntryKey};
use hms_grants::subscription::{DeliverTo, Subscription};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// A subscription that is in its file.
pub(crate) struct Subscriber {
    pub id: Id,
    pub window: Arc<str>,
    pub spec: Subscription,
    /// It delivers the runs of a schedule.
    pub is_schedule: bool,
    number: u64,
    pub(super) shared: Arc<Shared>,
    pub(super) inner: Mutex<Inner>,
    pub wake: Arc<Notify>,
    cancel: CancellationToken,
    /// Locked while what is on disk is read, which replaces what is in memory. Whoever changes both
    /// waits for it.
    pub(crate) loading: tokio::sync::Mutex<()>,
    /// True once its task is over.
    over: watch::Sender<bool>,
}

/// What changes.
#[derive(Default)]
pub(crate) struct Inner {
    /// The state on disk was read.
    pub loaded: bool,
    pub record: SubscriptionRecord,
    pub flow: Flow,
    /// One for each source of the flow; those beyond `spec.from` are only of parked events.
    pub cursors: Vec<Cursor>,
    /// What was tried of events that were not found yet.
    tries: HashMap<(usize, u64), Tries>,
    /// Parked events that are tried again.
    again: HashMap<Ref, Again>,
    /// The ids of all parked events.
    pub parked: HashSet<String>,
    /// Rejections since the last event that was taken.
    rejected: Vec<(String, ParkedRecord)>,
    /// Nothing is delivered before, after a delivery that was not tried.
    not_before_ms: u64,
    pause: Duration,
}

/// A parked event that is tried again.
struct Again {
    id: String,
    /// In which it was parked: its receipts are of that round.
    round: u64,
}

/// Where it stands in one log.
#[derive(Default)]
pub(crate) struct Cursor {
    pub source: String,
    pub record: CursorRecord,
    moved: bool,
}

impl Subscriber {
    pub(crate) fn new(
        shared: Arc<Shared>,
        id: Id,
        spec: Subscription,
        is_schedule: bool,
    ) -> Arc<Self> {
        Arc::new(Subscriber {
            window: id.window.as_str().into(),
            number: shared.state.number(),
            id,
            spec,
            is_schedule,
            inner: Mutex::default(),
            wake: Arc::default(),
            // One that is begun while the host ends does nothing.
            cancel: shared.stop.child_token(),
            loading: tokio::sync::Mutex::default(),
            over: watch::channel(false).0,
            shared,
        })
    }

    /// Ends its task, after the deliveries in flight.
    pub(crate) async fn end(&self) {
        self.cancel.cancel();
        let mut over = self.over.subscribe();
        // A task that has failed says nothing.
        let longest = self.shared.limits.stop_time + Duration::from_secs(5);
        let _ = tokio::time::timeout(longest, over.wait_for(|over| *over)).await;
    }

    /// Waits until what is on disk of it was read, and keeps it from being read again. None if that
    /// fails for [`LONGEST_LOAD`].
    pub(crate) async fn loaded(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        let loaded = async {
            loop {
                let turn = self.loading.lock().await;
                if self.inner.lock().loaded {
                    return turn;
                }
                drop(turn);
                tokio::time::sleep(FIRST_PAUSE).await;
            }
        };
        tokio::time::timeout(LONGEST_LOAD, loaded).await.ok()
    }

    /// Where its events go.
    pub(crate) fn target(&self) -> &str {
        match &self.spec.to {
            DeliverTo::Path(to) | DeliverTo::Service(to) => to,
        }
    }

    /// Stops it until somebody resumes it.
    pub(crate) fn pause(&self, why: &str) {
        let mut inner = self.inner.lock();
        self.pause_inner(&mut inner, why, None);
    }

    fn pause_inner(&self, inner: &mut Inner, why: &str, because_of: Option<&str>) {
        if inner.record.paused.is_some() {
            return;
        }
        let (window, subscription) = (&*self.window, &*self.id.name);
        tracing::warn!(window, subscription, "the subscription is paused: {why}");
        inner.record.paused = Some(Paused {
            since_ms: self.shared.now_ms(),
            why: why.to_owned(),
            because_of: because_of.map(str::to_owned),
        });
        self.keep(inner);
    }

    /// Goes on.
    pub(crate) fn resume(&self) {
        let mut inner = self.inner.lock();
        inner.rejected.clear();
        (inner.not_before_ms, inner.pause) = (0, Duration::ZERO);
        if inner.record.paused.take().is_some() {
            self.keep(&inner);
            tracing::info!(
                window = &*self.window,
                subscription = &*self.id.name,
                "resumed"
            );
        }
        drop(inner);
        self.wake.notify_one();
    }

    fn keep(&self, inner: &Inner) {
        let place = (SUBSCRIPTIONS.to_owned(), self.id.key());
        self.shared.state.put(place, &inner.record);
    }

    /// The log of `source` ends at `last` although more was seen of it.
    pub(crate) fn source_shrunk(self: &Arc<Self>, source: &str, last: u64) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let at = inner
            .cursors
            .iter()
            .position(|cursor| cursor.source == source);
        let Some((at, of)) = at.and_then(|at| Some((at, inner.flow.sources.get(at)?))) else {
            return;
        };
        let stood = of.done.highest().max(of.read);
        if !inner.loaded || stood <= last {
            return;
        }
        let (window, subscription) = (&*self.window, &*self.id.name);
        tracing::warn!(
            window,
            subscription,
            source,
            stood,
            last,
            "the log of events ends before where the subscription stood: its store was restored \
             from an older copy or made anew. It goes on with what comes from now on"
        );
        let mut gone = inner.flow.reset(at, last);
        // What was tried of those events counts for none of the next ones.
        inner.tries.retain(|(of, sequence), _| {
            if *of == at {
                gone.push(*sequence);
            }
            *of != at
        });
        for sequence in gone {
            let key = tries_key(source, sequence);
            self.shared.state.delete((self.id.tries(), key));
        }
        if let Some(cursor) = inner.cursors.get_mut(at) {
            cursor.record.replays.clear();
        }
        self.moved(inner, at);
        self.wake.notify_one();
    }

    /// The cursor of a source has moved.
    fn moved(self: &Arc<Self>, inner: &mut Inner, source: usize) {
        // One of parked events alone has no cursor here, and may have one on disk: from when it was
        // in the file.
        if source >= self.spec.from.len() {
            return;
        }
        if let Some(cursor) = inner.cursors.get_mut(source) {
            cursor.moved = true;
        }
        let who: Arc<dyn Cursors> = self.clone();
        self.shared.state.moved(self.number, Arc::downgrade(&who));
    }

    /// There is something in a log that it has not read, as far as is known.
    pub(crate) fn lags(&self) -> bool {
        let inner = self.inner.lock();
        let mut all = inner.cursors.iter().zip(&inner.flow.sources);
        inner.loaded
            && all.any(|(cursor, of)| {
                let log = self.shared.logs.of(&cursor.source);
                log.is_some_and(|log| log.is_unsure() || log.last > of.read)
            })
    }

    /// The first sequence of `source` that it still needs. None if it reads another.
    pub(crate) fn needed_from(&self, source: &str) -> Option<u64> {
        let wants = self.spec.from.iter().any(|from| from.as_str() == source);
        let inner = self.inner.lock();
        if !wants {
            return None;
        }
        if !inner.loaded {
            // Nothing is known: nothing may go.
            return Some(0);
        }
        let at = inner
            .cursors
            .iter()
            .position(|cursor| cursor.source == source)?;
        let of = inner.flow.sources.get(at)?;
        Some(of.done.upto().saturating_add(1))
    }
}

impl Cursors for Subscriber {
    fn changed(&self) -> Vec<(EntryKey, Vec<u8>)> {
        let mut inner = self.inner.lock();
        let Inner { flow, cursors, .. } = &mut *inner;
        let bucket = self.id.cursors();
        let mut changed = Vec::new();
        for (cursor, source) in cursors.iter_mut().zip(&flow.sources) {
            if !std::mem::take(&mut cursor.moved) {
                continue;
            }
            cursor.record.done = source.done.clone();
            cursor.record.tidy();
            let place = (bucket.clone(), cursor.source.clone());
            changed.push((place, crate::records::written(&cursor.record)));
        }
        changed
    }
}

/// The hash by which events of one key are known. Random for each process.
pub(crate) fn key_hash(hasher: &std::hash::RandomState, key: &str) -> u64 {
    use std::hash::BuildHasher;
    hasher.hash_one(key)
}
