//! What comes of a delivery.

use super::deliver::{DeliveryOutcome, Picked};
use super::{Inner, Subscriber, key_hash};
use crate::flow::{Origin, Ref, Tries};
use crate::limits::{FIRST_PAUSE, LONGEST_PAUSE, MAX_PARKED, MAX_REJECTIONS};
use crate::outcome::Verdict;
use crate::records::{ParkedRecord, payload, tries_key};
use hms_grants::subscription::AfterPark;
use std::sync::Arc;
use std::time::Duration;

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Subscriber {
    /// The outcome of a delivery is known.
    pub(super) fn settle(self: &Arc<Self>, at: Ref, picked: &Picked, outcome: DeliveryOutcome) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        // Its log is no more, and with it the event.
        if !inner.flow.is_busy(at) {
            return;
        }
        if outcome.verdict != Verdict::NotTried {
            (inner.not_before_ms, inner.pause) = (0, Duration::ZERO);
        }
        match outcome.verdict {
            Verdict::Done => {
                inner.rejected.clear();
                self.leave(inner, at, picked);
            }
            Verdict::NotTried => self.pause_a_while(inner, at),
            Verdict::Again(after) => self.again(inner, at, picked, &outcome, after),
            Verdict::Rejected => {
                let record = self.park(inner, at, picked, &outcome);
                inner.rejected.push((picked.stored.id.clone(), record));
                if inner.rejected.len() >= MAX_REJECTIONS {
                    self.rejects_all(inner, &outcome.why);
                }
            }
            Verdict::Gone => {
                inner.flow.put_back(at);
                let why = "it answered 410: it wants no more events";
                self.pause_inner(inner, why, Some(self.target()));
            }
        }
        self.wake.notify_one();
    }

    /// Nobody has seen the event: it, and all others, are tried again soon.
    pub(super) fn not_tried(self: &Arc<Self>, at: Ref) {
        self.pause_a_while(&mut self.inner.lock(), at);
        self.wake.notify_one();
    }

    fn pause_a_while(&self, inner: &mut Inner, at: Ref) {
        inner.flow.put_back(at);
        let now = self.shared.now_ms();
        // Of several at once only the first makes it longer.
        if now >= inner.not_before_ms {
            inner.pause = (inner.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            inner.not_before_ms = now.saturating_add(millis(inner.pause));
        }
    }

    /// The event is not there any more.
    pub(super) fn is_gone(self: &Arc<Self>, at: Ref) {
        let mut inner = self.inner.lock();
        let (window, subscription, sequence) = (&*self.window, &*self.id.name, at.sequence);
        tracing::warn!(
            window,
            subscription,
            sequence,
            "the event is no longer kept"
        );
        match inner.again.remove(&at) {
            Some(again) => self.unpark(&mut inner, again.id),
            None => self.forget_tries(&inner, at),
        }
        inner.flow.finished(at);
        self.moved(&mut inner, at.source);
        self.wake.notify_one();
    }

    /// The event is done with.
    fn leave(self: &Arc<Self>, inner: &mut Inner, at: Ref, picked: &Picked) {
        self.forget_tries(inner, at);
        if let Some(again) = inner.again.remove(&at) {
            self.unpark(inner, again.id);
            self.release(inner, at, picked);
        }
        inner.flow.finished(at);
        self.moved(inner, at.source);
    }

    fn forget_tries(&self, inner: &Inner, at: Ref) {
        if at.origin == Origin::Log
            && inner.flow.tries(at).count > 0
            && let Some(cursor) = inner.cursors.get(at.source)
        {
            let key = tries_key(&cursor.source, at.sequence);
            self.shared.state.delete((self.id.tries(), key));
        }
    }

    fn release(&self, inner: &mut Inner, at: Ref, picked: &Picked) {
        if let Some(key) = self.key(&picked.stored) {
            let key = key_hash(&self.shared.hasher, key);
            inner.flow.release(at.source, at.sequence, key);
        }
    }

    pub(super) fn unpark(&self, inner: &mut Inner, id: String) {
        inner.parked.remove(&id);
        self.shared.state.delete((self.id.parked(), id.clone()));
        self.shared.state.delete((self.id.payloads(), id));
    }

    fn again(
        self: &Arc<Self>,
        inner: &mut Inner,
        at: Ref,
        picked: &Picked,
        outcome: &DeliveryOutcome,
        after: Option<Duration>,
    ) {
        let (now, retry) = (self.shared.now_ms(), &self.spec.retry);
        let before = inner.flow.tries(at);
        let first_ms = match before.count {
            0 => now,
            // A clock that was ahead would have it be tried for as long as it was.
            _ => before.first_ms.min(now),
        };
        if before.count > 0 && retry.is_over(first_ms, now) {
            self.park(inner, at, picked, outcome);
            return;
        }
        let count = before.count.saturating_add(1);
        let random = uuid::Uuid::new_v4().as_u64_pair().0;
        let pause = retry.pause(count, random);
        let pause = pause.max(after.unwrap_or_default().min(retry.max));
        // The last attempt is at the end of the time.
        let end = first_ms.saturating_add(millis(retry.total)).max(now + 1);
        let tries = Tries {
            count,
            first_ms,
            next_ms: now.saturating_add(millis(pause)).min(end),
        };
        if at.origin == Origin::Log {
            let key = tries_key(&picked.source, at.sequence);
            self.shared.state.put((self.id.tries(), key), &tries);
        }
        inner.flow.again(at, tries);
    }

    /// Parks the event: it is kept with its payload until a person has it tried again or dropped.
    fn park(
        self: &Arc<Self>,
        inner: &mut Inner,
        at: Ref,
        picked: &Picked,
        outcome: &DeliveryOutcome,
    ) -> ParkedRecord {
        let stored = &picked.stored;
        let key = self.key(stored);
        let record = ParkedRecord {
            source: picked.source.clone(),
            sequence: stored.sequence,
            kind: stored.event.kind.clone(),
            subject: stored.event.subject.clone(),
            key: key.map(str::to_owned),
            time_ms: stored.time_ms,
            parked_ms: self.shared.now_ms(),
            attempts: picked.attempt,
            round: picked.round,
            why: outcome.why.clone(),
            status: outcome.status,
            again: false,
        };
        // Before the cursor moves: see `State`.
        self.shared
            .state
            .put((self.id.parked(), stored.id.clone()), &record);
        if inner.again.remove(&at).is_none() {
            let place = (self.id.payloads(), stored.id.clone());
            self.shared.state.put_bytes(place, payload(stored));
            // A replay may park it a second time, in place of the first.
            inner.parked.insert(stored.id.clone());
        }
        self.forget_tries(inner, at);
        if let (AfterPark::Hold, Some(key)) = (self.spec.after_park, key) {
            let key = key_hash(&self.shared.hasher, key);
            inner.flow.hold(at.source, at.sequence, key);
        }
        inner.flow.finished(at);
        self.moved(inner, at.source);
        let (window, subscription) = (&*self.window, &*self.id.name);
        let (event, why) = (&*stored.id, &*outcome.why);
        tracing::warn!(window, subscription, event, why, "an event is parked");
        if inner.parked.len() >= MAX_PARKED {
            let why = format!("{MAX_PARKED} events are parked: retry or drop some, and resume");
            self.pause_inner(inner, &why, None);
        }
        record
    }

    /// Nothing is taken any more, which a bad release does: no event is at fault. All that were
    /// rejected in a row are tried again, in order, once somebody has resumed the subscription.
    fn rejects_all(&self, inner: &mut Inner, why: &str) {
        let rejected = std::mem::take(&mut inner.rejected);
        let count = rejected.len();
        let all = rejected.into_iter().map(|(id, mut record)| {
            if !record.again {
                record.again = true;
                self.shared
                    .state
                    .put((self.id.parked(), id.clone()), &record);
                self.know_parked(inner, id.clone(), &record);
            }
            (id, record)
        });
        let all: Vec<_> = all.collect();
        inner.rejected = all;
        let why = format!("{count} events in a row were rejected ({why}); none is lost: resume it");
        self.pause_inner(inner, &why, Some(self.target()));
    }

    /// Has a parked event be tried again. None where there is none of this id.
    pub(crate) fn retry(self: &Arc<Self>, id: &str, mut record: ParkedRecord) {
        let mut inner = self.inner.lock();
        if inner.again.values().any(|known| known.id == id) {
            return;
        }
        record.again = true;
        self.shared
            .state
            .put((self.id.parked(), id.to_owned()), &record);
        self.know_parked(&mut inner, id.to_owned(), &record);
        drop(inner);
        self.wake.notify_one();
    }

    /// Drops a parked event. False if it is being tried again now.
    pub(crate) fn discard(self: &Arc<Self>, id: &str, record: &ParkedRecord) -> bool {
        let mut inner = self.inner.lock();
        let at = inner.again.iter().find(|(_, known)| known.id == id);
        let at = at.map(|(at, _)| *at);
        if at.is_some_and(|at| inner.flow.is_busy(at)) {
            return false;
        }
        if let Some(at) = at {
            inner.again.remove(&at);
            inner.flow.finished(at);
        }
        // Else a pause by rejections would have it be tried again.
        inner.rejected.retain(|(known, _)| known != id);
        self.unpark(&mut inner, id.to_owned());
        if let Some(key) = &record.key {
            let source = Self::source_number(&mut inner, &record.source);
            let key = key_hash(&self.shared.hasher, key);
            inner.flow.release(source, record.sequence, key);
        }
        drop(inner);
        self.wake.notify_one();
        true
    }
}
