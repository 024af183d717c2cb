//! Events that are delivered once more.

use super::EventsError;
use crate::events::{Events, Shared};
use crate::flow::Tries;
use crate::limits::MAX_REPLAYS;
use crate::records::{CursorRecord, Replay};
use crate::subscriber::{Subscriber, first_at};
use hms_api::Replayed;
use std::sync::Arc;
use time::OffsetDateTime;

impl Events {
    /// Delivers once more, in a further round, what was emitted at `from` or later.
    ///
    /// # Errors
    /// If there is no such subscription, too many replays are not over, or a store fails.
    pub async fn replay(
        &self,
        window: &str,
        name: &str,
        from: OffsetDateTime,
    ) -> Result<Replayed, EventsError> {
        let _turn = self.shared.changing.lock().await;
        let subscriber = self.subscriber(window, name)?;
        // After its deliveries in flight: an event is never delivered twice at once.
        subscriber.end().await;
        let ms = u64::try_from(from.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        let replayed = rewind(&self.shared, &subscriber, ms).await;
        let (id, spec) = (subscriber.id.clone(), subscriber.spec.clone());
        self.shared.begin(id, spec, subscriber.is_schedule);
        let events = replayed?;
        tracing::info!(window, subscription = name, events, "replay");
        Ok(Replayed {
            events,
            subscription: self.subscription(window, name)?,
        })
    }
}

/// Takes the cursors of a subscription back to the first events at `ms`. Its task is over.
async fn rewind(
    shared: &Arc<Shared>,
    subscriber: &Subscriber,
    ms: u64,
) -> Result<u64, EventsError> {
    shared.state.flush().await?;
    let id = &subscriber.id;
    let mut changed = Vec::new();
    let mut events = 0;
    for source in &subscriber.spec.from {
        let source = source.as_str();
        let cursor = shared
            .state
            .get::<CursorRecord>(&id.cursors(), source)
            .await?;
        let (Some(mut cursor), Some(store)) = (cursor, shared.logs.store(source).await?) else {
            continue;
        };
        let first = first_at(&*store, ms).await?;
        let last = store.log_state().last;
        if first > last || first > cursor.done.highest() {
            continue;
        }
        if cursor.replays.len() >= MAX_REPLAYS {
            return Err(EventsError::TooManyReplays(source.to_owned()));
        }
        cursor.rounds += 1;
        let round = cursor.rounds;
        // Beyond what was ever read nothing is repeated.
        let last = last.min(cursor.done.highest());
        cursor.replays.push(Replay { first, last, round });
        cursor.done.remove_from(first);
        events += last - first + 1;
        changed.push((source.to_owned(), first, cursor));
    }
    let tries: Vec<(String, Tries)> = shared.state.all(&id.tries()).await?;
    for (key, _) in tries {
        let (source, sequence) = key.rsplit_once('/').unwrap_or_default();
        let of = changed.iter().find(|(name, ..)| name == source);
        let sequence: u64 = sequence.parse().unwrap_or(0);
        if of.is_some_and(|(_, first, _)| sequence >= *first) {
            shared.state.delete((id.tries(), key));
        }
    }
    for (source, _, cursor) in &changed {
        shared.state.put((id.cursors(), source.clone()), cursor);
    }
    shared.state.flush().await?;
    Ok(events)
}
