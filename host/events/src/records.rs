//! What DATA/events.redb holds, as JSON, and where.

use crate::done::Done;
use hms_store::StoredEvent;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// [`LogRecord`] of each window, by its name.
pub(crate) const LOGS: &str = "logs";
/// [`SubscriptionRecord`] of each subscription, by [`Id::key`].
pub(crate) const SUBSCRIPTIONS: &str = "subscriptions";
/// [`ScheduleRecord`] of each schedule, by `WINDOW/NAME`.
pub(crate) const SCHEDULES: &str = "schedules";

/// A subscription: its window and its name in that window's file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id {
    pub window: String,
    pub name: String,
}

impl Id {
    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.window, self.name)
    }

    pub(crate) fn of_key(key: &str) -> Option<Id> {
        let (window, name) = key.split_once('/')?;
        let (window, name) = (window.to_owned(), name.to_owned());
        Some(Id { window, name })
    }

    /// [`CursorRecord`] of each source, by its name.
    pub(crate) fn cursors(&self) -> String {
        format!("cursors/{}", self.key())
    }

    /// [`crate::flow::Tries`] of events that have failed, by [`tries_key`].
    pub(crate) fn tries(&self) -> String {
        format!("tries/{}", self.key())
    }

    /// [`ParkedRecord`] of each parked event, by the event's id.
    pub(crate) fn parked(&self) -> String {
        format!("parked/{}", self.key())
    }

    /// The events themselves, by the same key.
    pub(crate) fn payloads(&self) -> String {
        format!("payloads/{}", self.key())
    }
}

/// Sorted by sequence.
pub(crate) fn tries_key(source: &str, sequence: u64) -> String {
    format!("{source}/{sequence:020}")
}

/// Where the log of a window stood. Exact if it is not dirty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogRecord {
    pub last: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_due_ms: Option<u64>,
    /// Events may have been emitted since.
    pub dirty: bool,
}

/// Why a subscription delivers nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Paused {
    pub since_ms: u64,
    /// A sentence.
    pub why: String,
    /// Where its events went, if it is paused because of that: it goes on once they go elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because_of: Option<String>,
}

/// A subscription as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SubscriptionRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
    /// When it was found to be no longer in its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_ms: Option<u64>,
}

/// Where a subscription stands in one log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CursorRecord {
    pub done: Done,
    /// The latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replays: Vec<Replay>,
    /// Replays so far.
    #[serde(default)]
    pub rounds: u64,
}

/// Events that are delivered once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replay {
    pub first: u64,
    pub last: u64,
    /// From 1.
    pub round: u64,
}

impl CursorRecord {
    /// The round in which the event at `sequence` is delivered: 0, or that of its last replay.
    pub(crate) fn round(&self, sequence: u64) -> u64 {
        let of = |replay: &&Replay| (replay.first..=replay.last).contains(&sequence);
        let replays = self.replays.iter().filter(of).map(|replay| replay.round);
        replays.max().unwrap_or(0)
    }

    /// Forgets replays that are over.
    pub(crate) fn tidy(&mut self) {
        let upto = self.done.upto();
        self.replays.retain(|replay| replay.last > upto);
    }
}

/// A parked event without its payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ParkedRecord {
    pub source: String,
    pub sequence: u64,
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// By what it is ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    pub time_ms: u64,
    pub parked_ms: u64,
    pub attempts: u32,
    pub round: u64,
    /// A sentence.
    pub why: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// It is to be tried again.
    #[serde(default)]
    pub again: bool,
}

/// What came of a schedule last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScheduleRecord {
    /// As the pure function wants it; at first, when the schedule was declared.
    pub last_ms: u64,
    /// The time of the last run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run_ms: Option<u64>,
    /// The log's last sequence right after that.
    #[serde(default)]
    pub last_sequence: u64,
    /// Occurrences left out since it was declared.
    #[serde(default)]
    pub left_out: u64,
    /// The time of the last one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_left_out_ms: Option<u64>,
    /// Its expression and time zone, of which `last_ms` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<String>,
    /// It was taken out of its file.
    #[serde(default)]
    pub gone: bool,
}

impl ScheduleRecord {
    /// The run of `at_ms` has begun; its event is in the log by `sequence`.
    pub(crate) fn ran(&mut self, at_ms: u64, sequence: u64) {
        self.last_run_ms = Some(at_ms);
        self.last_sequence = self.last_sequence.max(sequence);
    }

    /// `count` occurrences were left out; the last of them is that of `at_ms`.
    pub(crate) fn left_out(&mut self, count: u64, at_ms: u64) {
        self.left_out += count;
        self.last_left_out_ms = Some(at_ms);
        self.last_ms = self.last_ms.max(at_ms);
    }
}

/// A payload: everything of the event but its data in one line of JSON, and then the data.
#[derive(Debug, Serialize, Deserialize)]
struct PayloadHead {
    sequence: u64,
    id: String,
    time_ms: u64,
    kind: String,
    subject: Option<String>,
    partition_key: Option<String>,
    content_type: String,
    attributes: Vec<(String, String)>,
    traceparent: Option<String>,
}

pub(crate) fn payload(stored: &StoredEvent) -> Vec<u8> {
    let event = &stored.event;
    let mut bytes = written(&PayloadHead {
        sequence: stored.sequence,
        id: stored.id.clone(),
        time_ms: stored.time_ms,
        kind: event.kind.clone(),
        subject: event.subject.clone(),
        partition_key: event.partition_key.clone(),
        content_type: event.content_type.clone(),
        attributes: event.attributes.clone(),
        traceparent: event.traceparent.clone(),
    });
    bytes.push(b'\n');
    bytes.extend_from_slice(&event.data);
    bytes
}

/// None where it is not one.
pub(crate) fn of_payload(bytes: &[u8]) -> Option<StoredEvent> {
    // JSON in one line has no line feed.
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let head: PayloadHead = serde_json::from_slice(bytes.get(..end)?).ok()?;
    let data = bytes.get(end + 1..)?.to_vec();
    Some(StoredEvent {
        sequence: head.sequence,
        id: head.id,
        time_ms: head.time_ms,
        event: hms_store::NewEvent {
            kind: head.kind,
            subject: head.subject,
            partition_key: head.partition_key,
            content_type: head.content_type,
            data,
            attributes: head.attributes,
            traceparent: head.traceparent,
            not_before_ms: None,
            name: None,
        },
    })
}

/// A record as it is kept.
pub(crate) fn written<T: Serialize>(record: &T) -> Vec<u8> {
    // None of the records has a map whose keys are no strings, which is all that can fail.
    serde_json::to_vec(record).unwrap_or_default()
}

/// A record that was kept.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_is_read_as_it_was_written() {
        let stored = StoredEvent {
            sequence: 3,
            id: "a-1".into(),
            time_ms: 5,
            event: hms_store::NewEvent {
                kind: "k\n".into(),
                data: b"a\nb".to_vec(),
                attributes: vec![("a".into(), "b".into())],
                ..hms_store::NewEvent::default()
            },
        };
        assert_eq!(of_payload(&payload(&stored)), Some(stored));
        assert_eq!(of_payload(b"nonsense"), None);
    }

    #[test]
    fn event_has_the_round_of_the_last_replay_that_contains_it() {
        let replay = |first, last, round| Replay { first, last, round };
        let mut cursor = CursorRecord {
            done: Done::up_to(4),
            replays: vec![replay(1, 4, 2), replay(3, 9, 3)],
            rounds: 3,
        };
        assert_eq!([1, 4, 9, 10].map(|at| cursor.round(at)), [2, 3, 3, 0]);
        cursor.tidy();
        assert_eq!(cursor.replays, [replay(3, 9, 3)]);
    }
}
