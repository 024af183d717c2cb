//! What operators ask of deliveries: of a window's [`log`], of [`parked`] events, a [`replay`]; and
//! here of subscriptions and schedules.

mod log;
mod parked;
mod replay;

pub use log::Shown;

use crate::events::Events;
use crate::limits::MAX_REPLAYS;
use crate::logs::Readers;
use crate::records::Id;
use crate::schedules::{event_type, is_running};
use crate::subscriber::Subscriber;
use hms_api::{ScheduleStatus, SubscriptionStatus};
use hms_store::StoreError;
use std::sync::Arc;
use time::OffsetDateTime;

fn time(ms: u64) -> OffsetDateTime {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
    time.unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Why an operator's change was not made.
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
    /// It is of a subscription that is no longer in its file.
    #[error(
        "subscription '{name}' is no longer in the file of window '{window}': put it back there to \
         have its parked events tried again, or drop them"
    )]
    Removed {
        /// The window.
        window: String,
        /// The name.
        name: String,
    },
    /// It cannot be dropped now.
    #[error("the parked event '{0}' is being delivered now: try again in a moment")]
    InFlight(String),
    /// Too many replays are not over.
    #[error("{MAX_REPLAYS} replays of the events of '{0}' are still running: wait until they end")]
    TooManyReplays(String),
    /// It is not known where the subscription stands.
    #[error(
        "the position of the subscription could not be read yet, because a store fails: the \
         host's log says which. Try again once it is usable"
    )]
    NotRead,
    /// It could not be done now.
    #[error("{0}")]
    Refused(String),
    /// A store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Events {
    /// All subscriptions, by window and name. That of a schedule is called as its events are,
    /// `hms.schedule.NAME`.
    pub fn subscriptions(&self) -> Vec<SubscriptionStatus> {
        let all = self.shared.subscribers().into_iter();
        all.map(|one| one.status()).collect()
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
    /// If there is none of that name, it could not be read yet where it stands, or it cannot be
    /// noted.
    pub async fn resume(
        &self,
        window: &str,
        name: &str,
    ) -> Result<SubscriptionStatus, EventsError> {
        let subscriber = self.subscriber(window, name)?;
        let loaded = subscriber.loaded().await;
        let _loaded = loaded.ok_or(EventsError::NotRead)?;
        subscriber.resume();
        self.shared.state.flush().await?;
        Ok(subscriber.status())
    }

    /// All schedules, by window and name.
    pub fn schedules(&self) -> Vec<ScheduleStatus> {
        let shared = &self.shared;
        let now = shared.now_ms();
        shared.schedules.each(|id, known, spec| {
            let delay = spec.delay_ms(&id.window);
            let next = spec.next_after(now.saturating_sub(delay));
            let runs = shared.subscriber(&id.window, &event_type(&id.name));
            let runs = runs.map(|subscriber| subscriber.status());
            ScheduleStatus {
                window: id.window.clone(),
                name: id.name.clone(),
                cron: spec.cron.clone(),
                time_zone: spec.time_zone.clone(),
                to: spec.to.clone(),
                last: known.record.last_run_ms.map(time),
                next: next.map(|next| time(next.saturating_add(delay))),
                left_out: known.record.left_out,
                last_left_out: known.record.last_left_out_ms.map(time),
                running: is_running(shared, id, &known.record).unwrap_or(false),
                parked: runs.as_ref().map_or(0, |runs| runs.parked),
                paused: runs.and_then(|runs| runs.paused),
            }
        })
    }

    /// Runs a schedule now, in addition to its times.
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
        // All that is declared counts, and all that is in the log.
        self.shared.reconcile().await;
        let logs = &self.shared.logs;
        if logs.of(window).is_some_and(|log| log.is_unsure())
            && let Err(error) = logs.store(window).await
        {
            tracing::debug!(window, "cannot read how the log stands: {error}");
        }
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
        let (shared, window) = (self.shared.clone(), window.to_owned());
        self.shared.tasks.spawn(async move {
            if let Err(error) = shared.forget_source(&window).await {
                tracing::warn!(window, "the state of deliveries cannot be read: {error}");
            }
        });
    }
}
