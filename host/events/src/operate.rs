//! What operators ask of deliveries.

use crate::events::{Events, Shared};
use crate::flow::Tries;
use crate::limits::MAX_REPLAYS;
use crate::logs::Readers;
use crate::records::{CursorRecord, Id, ParkedRecord, Replay, of_payload};
use crate::schedules::is_running;
use crate::subscriber::{Subscriber, first_at};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hms_api::{
    Event, EventList, ParkedEvent, ParkedList, Replayed, ScheduleStatus, SubscriptionStatus,
};
use hms_store::{StoreError, StoredEvent};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// Bytes of data that are shown of an event. 4 KiB.
const SHOWN_BYTES: usize = 4 << 10;

/// Bytes of a page of events that is shown. 4 MiB.
const SHOWN_PAGE_BYTES: usize = 4 << 20;

/// Why an operator's wish was not done.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// There is no such subscription.
    #[error("window '{window}' has no subscription '{name}'")]
    NoSubscription {
        /// The window.
        window: String,
        /// The name.
        name: String,
    },
    /// There is no such schedule.
    #[error("window '{window}' has no schedule '{name}'")]
    NoSchedule {
        /// The window.
        window: String,
        /// The name.
        name: String,
    },
    /// There is no such parked event.
    #[error("no parked event has the ID '{0}'")]
    NoParked(String),
    /// It cannot be dropped now.
    #[error("the parked event '{0}' is being delivered now: ask again in a moment")]
    InFlight(String),
    /// Too many replays are not over.
    #[error("{MAX_REPLAYS} replays of the events of '{0}' are not over: wait until they are")]
    TooManyReplays(String),
    /// It could not be done now.
    #[error("{0}")]
    Refused(String),
    /// A store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which events are shown.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// Those after this sequence.
    pub after: u64,
    /// Events that are looked at: 1 to 1,000.
    pub limit: usize,
    /// Only those whose type begins so.
    pub kind: Option<String>,
}

fn time(ms: u64) -> OffsetDateTime {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
    time.unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// As it is in a list.
fn shown(stored: &StoredEvent) -> Event {
    let whole = whole(stored);
    Event {
        data: whole.data.filter(|data| data.len() <= SHOWN_BYTES),
        data_base64: None,
        ..whole
    }
}

fn whole(stored: &StoredEvent) -> Event {
    let event = &stored.event;
    let text = std::str::from_utf8(&event.data).ok();
    Event {
        sequence: stored.sequence,
        id: stored.id.clone(),
        r#type: event.kind.clone(),
        subject: event.subject.clone(),
        partition_key: event.partition_key.clone(),
        time: time(stored.time_ms),
        content_type: Some(event.content_type.clone()).filter(|kind| !kind.is_empty()),
        bytes: event.data.len() as u64,
        data: text.filter(|text| !text.is_empty()).map(str::to_owned),
        data_base64: text.is_none().then(|| STANDARD.encode(&event.data)),
    }
}

impl Events {
    /// Events of the log of `window`, oldest first.
    ///
    /// # Errors
    /// If the store cannot be read. A window without a store has no events.
    pub async fn list(&self, window: &str, which: &Shown) -> Result<EventList, EventsError> {
        let none = EventList {
            events: Vec::new(),
            after: which.after,
            more: false,
        };
        let Some(store) = self.shared.logs.store(window).await? else {
            return Ok(none);
        };
        let limit = which.limit.clamp(1, 1_000);
        let page = store.events(which.after, limit, SHOWN_PAGE_BYTES).await?;
        let fits = |stored: &&StoredEvent| {
            let kind = which.kind.as_deref().unwrap_or_default();
            stored.event.kind.starts_with(kind)
        };
        Ok(EventList {
            after: page.events.last().map_or(which.after, |last| last.sequence),
            events: page.events.iter().filter(fits).map(shown).collect(),
            more: page.more,
        })
    }

    /// One event of the log of `window` with all its data. None if the log does not have it, or no
    /// longer.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn event(&self, window: &str, sequence: u64) -> Result<Option<Event>, EventsError> {
        let Some(store) = self.shared.logs.store(window).await? else {
            return Ok(None);
        };
        let Some(before) = sequence.checked_sub(1) else {
            return Ok(None);
        };
        let page = store.events(before, 1, SHOWN_PAGE_BYTES).await?;
        let first = page.events.first();
        Ok(first.filter(|found| found.sequence == sequence).map(whole))
    }

    /// Where the log of `window` ends: the sequence of its last event.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn last(&self, window: &str) -> Result<u64, EventsError> {
        let store = self.shared.logs.store(window).await?;
        Ok(store.map_or(0, |store| store.log_state().last))
    }

    /// Waits until the log of `window` has an event after `after`, for at most `most`.
    pub async fn wait(&self, window: &str, after: u64, most: Duration) {
        let grown = async {
            loop {
                let any = self.shared.logs.any.notified();
                let log = self.shared.logs.of(window);
                if log.is_some_and(|log| log.last > after) {
                    return;
                }
                any.await;
            }
        };
        let _ = tokio::time::timeout(most, grown).await;
    }

    /// All subscriptions, by window and name.
    pub fn subscriptions(&self) -> Vec<SubscriptionStatus> {
        let all = self.shared.subscribers().into_iter();
        all.filter(|subscriber| !subscriber.is_schedule)
            .map(|one| one.status())
            .collect()
    }

    fn subscriber(&self, window: &str, name: &str) -> Result<Arc<Subscriber>, EventsError> {
        let found = self.shared.subscriber(window, name);
        found.ok_or_else(|| EventsError::NoSubscription {
            window: window.to_owned(),
            name: name.to_owned(),
        })
    }

    /// One subscription.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn subscription(
        &self,
        window: &str,
        name: &str,
    ) -> Result<SubscriptionStatus, EventsError> {
        Ok(self.subscriber(window, name)?.status())
    }

    /// Has a subscription deliver nothing until it is resumed, also over a restart. What is in
    /// flight ends.
    ///
    /// # Errors
    /// If there is none of that name, or it cannot be noted.
    pub async fn pause(&self, window: &str, name: &str) -> Result<SubscriptionStatus, EventsError> {
        let subscriber = self.subscriber(window, name)?;
        subscriber.pause("an operator paused it");
        self.shared.state.flush().await?;
        Ok(subscriber.status())
    }

    /// Has a subscription go on.
    ///
    /// # Errors
    /// If there is none of that name, or it cannot be noted.
    pub async fn resume(
        &self,
        window: &str,
        name: &str,
    ) -> Result<SubscriptionStatus, EventsError> {
        let subscriber = self.subscriber(window, name)?;
        let _loaded = subscriber.loading.lock().await;
        subscriber.resume();
        self.shared.state.flush().await?;
        Ok(subscriber.status())
    }

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

    /// Parked events after the one with the id `after`: at most `limit`, 1 to 1,000, and only those
    /// of the window and subscription if these are said.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn parked(
        &self,
        window: Option<&str>,
        subscription: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ParkedList, EventsError> {
        self.shared.state.flush().await?;
        let limit = limit.clamp(1, 1_000);
        let after = after.and_then(|after| {
            let (of, event) = after.rsplit_once('/')?;
            Some((Id::of_key(of)?, event.to_owned()))
        });
        let mut parked = Vec::new();
        for subscriber in self.shared.subscribers() {
            let id = &subscriber.id;
            let fits = window.is_none_or(|window| window == id.window)
                && subscription.is_none_or(|name| name == id.name);
            if !fits || after.as_ref().is_some_and(|(of, _)| id < of) {
                continue;
            }
            let all: Vec<(String, ParkedRecord)> = self.shared.state.all(&id.parked()).await?;
            for (event, record) in all {
                if after
                    .as_ref()
                    .is_some_and(|(of, last)| id == of && event <= *last)
                {
                    continue;
                }
                if parked.len() == limit {
                    return Ok(ParkedList { parked, more: true });
                }
                parked.push(self.shown_parked(id, &event, record).await?);
            }
        }
        Ok(ParkedList {
            parked,
            more: false,
        })
    }

    async fn shown_parked(
        &self,
        id: &Id,
        event: &str,
        record: ParkedRecord,
    ) -> Result<ParkedEvent, EventsError> {
        let bytes = self.shared.state.get_bytes(&id.payloads(), event).await?;
        let stored = bytes.as_deref().and_then(of_payload);
        let stored = stored.unwrap_or_else(|| StoredEvent {
            sequence: record.sequence,
            id: event.to_owned(),
            time_ms: record.time_ms,
            event: hms_store::NewEvent {
                kind: record.kind.clone(),
                subject: record.subject.clone(),
                ..hms_store::NewEvent::default()
            },
        });
        Ok(ParkedEvent {
            id: format!("{}/{event}", id.key()),
            window: id.window.clone(),
            subscription: id.name.clone(),
            source: record.source,
            event: shown(&stored),
            parked: time(record.parked_ms),
            attempts: record.attempts,
            status: record.status,
            why: record.why,
            retrying: record.again,
        })
    }

    /// The subscription of a parked event.
    fn of_parked(&self, id: &str) -> Result<Arc<Subscriber>, EventsError> {
        let of = id.rsplit_once('/').and_then(|(of, _)| Id::of_key(of));
        let subscriber = of.and_then(|of| self.shared.subscriber(&of.window, &of.name));
        subscriber.ok_or_else(|| EventsError::NoParked(id.to_owned()))
    }

    /// The id of a parked event in its subscription, and its record.
    async fn find_parked(
        &self,
        subscriber: &Subscriber,
        id: &str,
    ) -> Result<(String, ParkedRecord), EventsError> {
        let none = || EventsError::NoParked(id.to_owned());
        let (_, event) = id.rsplit_once('/').ok_or_else(none)?;
        self.shared.state.flush().await?;
        let parked = subscriber.id.parked();
        let record = self.shared.state.get(&parked, event).await?;
        Ok((event.to_owned(), record.ok_or_else(none)?))
    }

    /// Has a parked event be tried again, from the first attempt on. Without effect if it is
    /// already. It is delivered before later events of its key that are not in flight, and once its
    /// subscription is not paused.
    ///
    /// # Errors
    /// If there is none of that id, or it cannot be noted.
    pub async fn retry_parked(&self, id: &str) -> Result<(), EventsError> {
        let subscriber = self.of_parked(id)?;
        let _loaded = subscriber.loading.lock().await;
        let (event, record) = self.find_parked(&subscriber, id).await?;
        subscriber.retry(&event, record);
        Ok(self.shared.state.flush().await?)
    }

    /// Drops a parked event for good.
    ///
    /// # Errors
    /// If there is none of that id, it is being delivered, or it cannot be noted.
    pub async fn drop_parked(&self, id: &str) -> Result<(), EventsError> {
        let subscriber = self.of_parked(id)?;
        let _loaded = subscriber.loading.lock().await;
        let (event, record) = self.find_parked(&subscriber, id).await?;
        if !subscriber.discard(&event, &record) {
            return Err(EventsError::InFlight(id.to_owned()));
        }
        let (window, subscription) = (&*subscriber.window, &*subscriber.id.name);
        tracing::info!(window, subscription, event, "a parked event is dropped");
        Ok(self.shared.state.flush().await?)
    }

    /// All schedules, by window and name.
    pub fn schedules(&self) -> Vec<ScheduleStatus> {
        let shared = &self.shared;
        let now = shared.now_ms();
        shared.schedules.each(|id, known, spec| {
            let delay = spec.delay_ms(&id.window);
            let next = spec.next_after(now.saturating_sub(delay));
            ScheduleStatus {
                window: id.window.clone(),
                name: id.name.clone(),
                cron: spec.cron.clone(),
                time_zone: spec.time_zone.clone(),
                to: spec.to.clone(),
                last: known.record.last_run_ms.map(time),
                next: next.map(|next| time(next.saturating_add(delay))),
                left_out: known.record.left_out,
                running: is_running(shared, id, &known.record).unwrap_or(false),
            }
        })
    }

    /// Runs a schedule now, beside its times.
    ///
    /// # Errors
    /// If there is none of that name, or its event cannot be emitted.
    pub async fn run_schedule(&self, window: &str, name: &str) -> Result<(), EventsError> {
        let id = Id {
            window: window.to_owned(),
            name: name.to_owned(),
        };
        match self.shared.schedules.run_now(&self.shared, &id).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(EventsError::NoSchedule {
                window: id.window,
                name: id.name,
            }),
            Err(why) => Err(EventsError::Refused(why)),
        }
    }

    pub(crate) async fn undelivered(&self, window: &str) -> Option<String> {
        let others = self.shared.of_source(window).into_iter();
        let others = others.filter(|subscriber| *subscriber.window != *window);
        let lacking = others.filter_map(|subscriber| {
            let count = subscriber.lacks(window);
            (count > 0).then(|| format!("{} ({count})", subscriber.id.key()))
        });
        let lacking: Vec<_> = lacking.collect();
        (!lacking.is_empty()).then(|| {
            format!(
                "events of window '{window}' are not delivered yet, by subscription: {}",
                lacking.join(", ")
            )
        })
    }

    pub(crate) fn store_deleted(&self, window: &str) {
        // Those who read it begin with the first event of the next one of that name.
        self.shared.shrunk(window, 0);
        self.shared.logs.forget(window);
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
