//! Where a subscription begins: with what is on disk of it, or where its file says.

use super::{Again, Cursor, Inner, Subscriber, key_hash};
use crate::done::Done;
use crate::flow::{Ref, Tries};
use crate::records::{CursorRecord, ParkedRecord, Paused, SUBSCRIPTIONS, SubscriptionRecord};
use hms_grants::subscription::{AfterPark, Start};
use hms_store::{Store, StoreError};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

impl Subscriber {
    /// Reads what is on disk.
    ///
    /// # Errors
    /// Why it cannot be read: nothing has changed.
    pub(super) async fn load(self: &Arc<Self>) -> Result<(), StoreError> {
        let _loading = self.loading.lock().await;
        let state = &self.shared.state;
        // Of one of the same name before it.
        state.flush().await?;
        let key = self.id.key();
        let record: Option<SubscriptionRecord> = state.get(SUBSCRIPTIONS, &key).await?;
        let mut inner = Inner {
            record: record.clone().unwrap_or_default(),
            ..Inner::default()
        };
        inner.record.gone_ms = None;
        let target = self.target();
        let is_elsewhere = |paused: &mut Paused| {
            let because_of = paused.because_of.as_deref();
            because_of.is_some_and(|before| before != target)
        };
        if let Some(paused) = inner.record.paused.take_if(is_elsewhere) {
            let (window, subscription) = (&*self.window, &*self.id.name);
            let before = paused.because_of;
            tracing::info!(
                window,
                subscription,
                target,
                before,
                "resumed: its file has another target"
            );
        }
        let mut begun = Vec::new();
        for source in &self.spec.from {
            let source = source.as_str();
            let kept: Option<CursorRecord> = state.get(&self.id.cursors(), source).await?;
            let record = match kept {
                Some(record) => record,
                None => {
                    let done = Done::up_to(self.start(source).await?);
                    begun.push(inner.cursors.len());
                    CursorRecord {
                        done,
                        ..CursorRecord::default()
                    }
                }
            };
            self.shared.logs.was_at(source, record.done.highest());
            inner.flow.add_source(record.done.clone());
            inner.cursors.push(Cursor {
                source: source.to_owned(),
                record,
                moved: false,
            });
        }
        let tries: Vec<(String, Tries)> = state.all(&self.id.tries()).await?;
        for (key, tries) in tries {
            let (source, sequence) = key.rsplit_once('/').unwrap_or_default();
            let at = inner
                .cursors
                .iter()
                .position(|cursor| cursor.source == source);
            if let (Some(at), Ok(sequence)) = (at, sequence.parse()) {
                inner.tries.insert((at, sequence), tries);
            }
        }
        let parked: Vec<(String, ParkedRecord)> = state.all(&self.id.parked()).await?;
        for (id, record) in parked {
            inner.parked.insert(id.clone());
            self.know_parked(&mut inner, id, &record);
        }
        inner.loaded = true;
        let mut live = self.inner.lock();
        // Paused meanwhile.
        inner.record.paused = inner.record.paused.or(live.record.paused.take());
        *live = inner;
        if record.as_ref() != Some(&live.record) {
            self.keep(&live);
        }
        for at in begun {
            self.moved(&mut live, at);
        }
        drop(live);
        // A log that was looked at before it was known where this stood.
        for source in &self.spec.from {
            let log = self.shared.logs.of(source.as_str());
            if let Some(log) = log.filter(|log| log.seen) {
                self.source_shrunk(source.as_str(), log.last);
            }
        }
        Ok(())
    }

    /// The number of a source, which is added if it is only one of parked events.
    pub(super) fn source_number(inner: &mut Inner, source: &str) -> usize {
        let at = inner
            .cursors
            .iter()
            .position(|cursor| cursor.source == source);
        at.unwrap_or_else(|| {
            inner.cursors.push(Cursor {
                source: source.to_owned(),
                ..Cursor::default()
            });
            inner.flow.add_source(Done::default())
        })
    }

    /// Takes a parked event into account: it holds its key, or is tried again.
    pub(super) fn know_parked(&self, inner: &mut Inner, id: String, record: &ParkedRecord) {
        let source = Self::source_number(inner, &record.source);
        let key = record.key.as_deref();
        let key = key.map(|key| key_hash(&self.shared.hasher, key));
        if let (AfterPark::Hold, Some(key)) = (self.spec.after_park, key) {
            inner.flow.hold(source, record.sequence, key);
        }
        if record.again {
            let mut at = Ref::parked(source, record.sequence);
            // Another log of that source had an event of that number.
            while inner.again.get(&at).is_some_and(|other| other.id != id) {
                at = at.next();
            }
            let round = record.round;
            inner.again.insert(at, Again { id, round });
            inner.flow.retry_parked(at, record.time_ms, key);
        }
    }

    /// The last event of `source` that a new subscription does not want.
    async fn start(&self, source: &str) -> Result<u64, StoreError> {
        let logs = &self.shared.logs;
        match self.spec.start {
            Start::Earliest => Ok(0),
            Start::Now => match logs.of(source) {
                Some(log) if !log.is_unsure() => Ok(log.last),
                _ => {
                    let store = logs.store(source).await?;
                    Ok(store.map_or(0, |store| store.log_state().last))
                }
            },
            Start::At(time) => {
                let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
                let ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
                match logs.store(source).await? {
                    Some(store) => Ok(first_at(&*store, ms).await?.saturating_sub(1)),
                    None => Ok(0),
                }
            }
        }
    }
}

/// The sequence of the first event that was emitted at `ms` or later; one more than the last where
/// there is none. Times do not decrease along a log, as far as the clock did not.
///
/// # Errors
/// If the log cannot be read.
pub(crate) async fn first_at(store: &dyn Store, ms: u64) -> Result<u64, StoreError> {
    let state = store.log_state();
    let (mut low, mut high) = (state.first.max(1), state.last.saturating_add(1));
    while low < high {
        let middle = low + (high - low) / 2;
        let page = store.events(middle - 1, 1, 1).await?;
        match page.events.first() {
            Some(event) if event.time_ms < ms => low = event.sequence.saturating_add(1),
            _ => high = middle,
        }
    }
    Ok(low)
}
