//! Events: what is in the outbox of a window, who gets it, and what could not be delivered.

use crate::words::words;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Events of one window's log, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventList {
    /// In the order of the log.
    pub events: Vec<Event>,
    /// What to ask for next: the sequence of the last event that was looked at.
    pub after: u64,
    /// Whether the log goes on after it.
    pub more: bool,
}

/// An event of a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the log, from 1.
    pub sequence: u64,
    /// The `id` of CloudEvents.
    pub id: String,
    /// The `type` of CloudEvents.
    pub r#type: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What its order is by, where that is not the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_key: Option<String>,
    /// When it was emitted, or became due.
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
    /// Media type of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Bytes of the data.
    pub bytes: u64,
    /// The data as text, if they are text. In a list only short ones, up to 4 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The data in base64, if they are no text. In no list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<String>,
}

/// All subscriptions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubscriptionList {
    /// By window and name.
    pub subscriptions: Vec<SubscriptionStatus>,
}

words! {
    /// What a subscription does.
    pub enum SubscriptionState {
        /// It delivers what comes.
        Active = "active",
        /// It delivers nothing until it is resumed.
        Paused = "paused",
        /// Where it stands is being read, and how long the logs are; its lag is not known yet.
        Starting = "starting",
    }
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubscriptionStatus {
    /// The window whose file declares it.
    pub window: String,
    /// Its name in the file.
    pub name: String,
    /// What it does.
    pub state: SubscriptionState,
    /// Why it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<PausedStatus>,
    /// Where events go: a path of the window, or the URL of a service.
    pub to: String,
    /// Where it stands in each source.
    pub sources: Vec<CursorStatus>,
    /// Events of all sources that are not finished.
    pub lag: u64,
    /// How long ago the oldest event that is known and not finished was emitted, in seconds.
    pub lag_seconds: u64,
    /// Deliveries in flight.
    pub in_flight: usize,
    /// Keys whose events wait, for one that is tried again or was parked.
    pub blocked_keys: usize,
    /// Parked events.
    pub parked: usize,
}

/// Why a subscription is paused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PausedStatus {
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// A sentence.
    pub why: String,
}

/// Where a subscription stands in the log of one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CursorStatus {
    /// The window.
    pub window: String,
    /// All events up to this sequence are finished.
    pub done: u64,
    /// The last sequence of the log.
    pub last: u64,
}

/// The answer to `POST /windows/NAME/subscriptions/SUB/pause` and `resume`, in a
/// [`Changed`](crate::Changed).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangedSubscription {
    /// The subscription after the change.
    pub subscription: SubscriptionStatus,
}

/// The body of a request to deliver events once more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// From the first event that was emitted at this time or later.
    #[serde(with = "time::serde::rfc3339")]
    pub from: OffsetDateTime,
}

/// What is delivered once more, in a [`Changed`](crate::Changed).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Replayed {
    /// How many events of all sources.
    pub events: u64,
    /// The subscription.
    pub subscription: SubscriptionStatus,
}

/// Parked events, by subscription.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParkedList {
    /// At most as many as were asked for.
    pub parked: Vec<ParkedEvent>,
    /// Whether there are more.
    pub more: bool,
}

/// An event that could not be delivered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParkedEvent {
    /// `WINDOW/SUBSCRIPTION/EVENT`: how to name it.
    pub id: String,
    /// The window that should have got it.
    pub window: String,
    /// The subscription.
    pub subscription: String,
    /// The window that emitted it.
    pub source: String,
    /// The event.
    pub event: Event,
    /// When it was parked.
    #[serde(with = "time::serde::rfc3339")]
    pub parked: OffsetDateTime,
    /// Attempts before that.
    pub attempts: u32,
    /// The status of the last answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it was parked.
    pub why: String,
    /// It is to be tried again.
    pub retrying: bool,
    /// Its subscription is no longer in the window's file. It can be dropped, or tried again once
    /// the subscription is back.
    #[serde(default)]
    pub removed: bool,
}

/// Parked events that are to be tried again, in a [`Changed`](crate::Changed).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetriedEvents {
    /// How many, those that were to be tried again already included.
    pub retried: u64,
    /// Their subscription, which delivers nothing while it is paused. Absent if it was removed
    /// meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<SubscriptionStatus>,
}

/// Parked events that were dropped, in a [`Changed`](crate::Changed).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DroppedEvents {
    /// How many.
    pub dropped: u64,
    /// How many were left because they are being delivered now.
    pub in_flight: u64,
}

/// The answer to `POST /windows/NAME/schedules/S/run`, in a [`Changed`](crate::Changed).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSchedule {
    /// The schedule after the run has begun.
    pub schedule: ScheduleStatus,
}

/// All schedules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleList {
    /// By window and name.
    pub schedules: Vec<ScheduleStatus>,
}

/// A schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleStatus {
    /// The window whose file declares it.
    pub window: String,
    /// Its name in the file.
    pub name: String,
    /// The cron expression.
    pub cron: String,
    /// The time zone.
    pub time_zone: String,
    /// The path that is asked.
    pub to: String,
    /// The time of the last run.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub last: Option<OffsetDateTime>,
    /// When it runs next. None: never.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub next: Option<OffsetDateTime>,
    /// Runs that were left out since it was declared: missed ones, and those that came while the
    /// one before was not over.
    pub left_out: u64,
    /// The time of the last of them.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_left_out: Option<OffsetDateTime>,
    /// The last run is not over.
    pub running: bool,
    /// Why its runs are not delivered. Its subscription is `hms.schedule.NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<PausedStatus>,
    /// Runs that were parked.
    #[serde(default)]
    pub parked: usize,
}
