//! Parked events: shown, tried again, dropped. Those of a subscription that is no longer in its
//! file are only shown and dropped.

use super::log::shown;
use super::{EventsError, time};
use crate::events::Events;
use crate::records::{Id, ParkedRecord, SUBSCRIPTIONS, of_payload};
use crate::subscriber::Subscriber;
use hms_api::{ParkedEvent, ParkedList};
use hms_store::{StoreError, StoredEvent};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where an event is among others: by the log that it is from, and there by its number. It is read
/// from the id alone, because whoever asks for what comes after an event may have dropped that one.
fn place(event: &str) -> (&str, u64, &str) {
    let (log, number) = event.rsplit_once('-').unwrap_or((event, ""));
    (log, number.parse().unwrap_or(0), event)
}

impl Events {
    /// Parked events after the one with the id `after`: at most `limit`, 1 to 1,000, and only those
    /// of the window and subscription if these are said. Those of a subscription are in the order
    /// in which each of its sources emitted them.
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
        for (id, is_removed) in self.all_ids().await? {
            let id = &id;
            let fits = window.is_none_or(|window| window == id.window)
                && subscription.is_none_or(|name| name == id.name);
            if !fits || after.as_ref().is_some_and(|(of, _)| id < of) {
                continue;
            }
            let mut all: Vec<(String, ParkedRecord)> = self.shared.state.all(&id.parked()).await?;
            all.sort_by(|(one, _), (other, _)| place(one).cmp(&place(other)));
            for (event, record) in all {
                if after
                    .as_ref()
                    .is_some_and(|(of, last)| id == of && place(&event) <= place(last))
                {
                    continue;
                }
                if parked.len() == limit {
                    return Ok(ParkedList { parked, more: true });
                }
                let removed = is_removed;
                parked.push(ParkedEvent {
                    removed,
                    ..self.shown_parked(id, &event, record).await?
                });
            }
        }
        Ok(ParkedList {
            parked,
            more: false,
        })
    }

    /// All subscriptions of which there is state, and whether each is no longer in its file.
    async fn all_ids(&self) -> Result<BTreeMap<Id, bool>, StoreError> {
        let kept = self.shared.state.keys(SUBSCRIPTIONS).await?;
        let kept = kept.iter().filter_map(|key| Id::of_key(key));
        let mut all: BTreeMap<Id, bool> = kept.map(|id| (id, true)).collect();
        for subscriber in self.shared.subscribers() {
            all.insert(subscriber.id.clone(), false);
        }
        Ok(all)
    }

    /// Whether there is, or was, such a subscription.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub async fn is_known(&self, window: &str, name: &str) -> Result<(), EventsError> {
        let (window, name) = (window.to_owned(), name.to_owned());
        let id = Id { window, name };
        match self.all_ids().await?.contains_key(&id) {
            true => Ok(()),
            false => Err(EventsError::NoSubscription {
                window: id.window,
                name: id.name,
            }),
        }
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
            removed: false,
        })
    }

    /// The subscription of a parked event; None if it is no longer in its file.
    fn of_parked(&self, id: &str) -> Result<(Id, Option<Arc<Subscriber>>), EventsError> {
        let of = id.rsplit_once('/').and_then(|(of, _)| Id::of_key(of));
        let of = of.ok_or_else(|| EventsError::NoParked(id.to_owned()))?;
        let subscriber = self.shared.subscriber(&of.window, &of.name);
        Ok((of, subscriber))
    }

    /// The id of a parked event in its subscription, and its record.
    async fn find_parked(&self, of: &Id, id: &str) -> Result<(String, ParkedRecord), EventsError> {
        let none = || EventsError::NoParked(id.to_owned());
        let (_, event) = id.rsplit_once('/').ok_or_else(none)?;
        self.shared.state.flush().await?;
        let record = self.shared.state.get(&of.parked(), event).await?;
        Ok((event.to_owned(), record.ok_or_else(none)?))
    }

    /// Has a parked event be tried again, from the first attempt on. Without effect if it is
    /// already. It is delivered before later events of its key that are not in flight, and once its
    /// subscription is not paused.
    ///
    /// # Errors
    /// If there is none of that id, its subscription is no longer in its file, or it cannot be
    /// noted.
    pub async fn retry_parked(&self, id: &str) -> Result<(), EventsError> {
        let (of, Some(subscriber)) = self.of_parked(id)? else {
            return Err(self.removed(id).await);
        };
        let _loaded = subscriber.loading.lock().await;
        let (event, record) = self.find_parked(&of, id).await?;
        subscriber.retry(&event, record);
        Ok(self.shared.state.flush().await?)
    }

    /// Drops a parked event for good.
    ///
    /// # Errors
    /// If there is none of that id, it is being delivered, or it cannot be noted.
    pub async fn drop_parked(&self, id: &str) -> Result<(), EventsError> {
        let (of, subscriber) = self.of_parked(id)?;
        let event = match subscriber {
            Some(subscriber) => {
                let _loaded = subscriber.loading.lock().await;
                let (event, record) = self.find_parked(&of, id).await?;
                if !subscriber.discard(&event, &record) {
                    return Err(EventsError::InFlight(id.to_owned()));
                }
                event
            }
            None => {
                // It does not come back meanwhile.
                let _turn = self.shared.changing.lock().await;
                if self.shared.subscriber(&of.window, &of.name).is_some() {
                    return Err(EventsError::InFlight(id.to_owned()));
                }
                let (event, _) = self.find_parked(&of, id).await?;
                for bucket in [of.parked(), of.payloads()] {
                    self.shared.state.delete((bucket, event.clone()));
                }
                event
            }
        };
        let (window, subscription) = (of.window, of.name);
        tracing::info!(window, subscription, event, "a parked event is dropped");
        Ok(self.shared.state.flush().await?)
    }

    /// Why a parked event of a subscription that is not there is not tried again.
    async fn removed(&self, id: &str) -> EventsError {
        let Ok((of, _)) = self.of_parked(id) else {
            return EventsError::NoParked(id.to_owned());
        };
        match self.find_parked(&of, id).await {
            Ok(_) => EventsError::Removed {
                window: of.window,
                name: of.name,
            },
            Err(error) => error,
        }
    }
}
