//! An event as a row: a line of JSON, a line feed, and the data.

use super::super::fault::Fault;
use super::super::{NewEvent, StoredEvent};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The line of JSON. docs/store-format.md describes it.
#[derive(Serialize, Deserialize)]
struct Head<'a> {
    id: Cow<'a, str>,
    #[serde(rename = "time")]
    time_ms: u64,
    #[serde(rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partition_key: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    content_type: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    attributes: Cow<'a, [(String, String)]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, str>>,
}

pub(super) fn encode(id: &str, time_ms: u64, event: &NewEvent) -> Result<Vec<u8>, Fault> {
    fn borrowed(text: &Option<String>) -> Option<Cow<'_, str>> {
        text.as_deref().map(Cow::Borrowed)
    }
    let head = Head {
        id: id.into(),
        time_ms,
        kind: event.kind.as_str().into(),
        subject: borrowed(&event.subject),
        partition_key: borrowed(&event.partition_key),
        content_type: event.content_type.as_str().into(),
        attributes: event.attributes.as_slice().into(),
        traceparent: borrowed(&event.traceparent),
        not_before: event.not_before_ms,
        name: borrowed(&event.name),
    };
    let cost = usize::try_from(event.cost()).unwrap_or_default();
    let mut row = Vec::with_capacity(cost);
    serde_json::to_writer(&mut row, &head).map_err(|error| redb::Error::Io(error.into()))?;
    row.push(b'\n');
    row.extend_from_slice(&event.data);
    Ok(row)
}

/// The event without its place in the log.
pub(super) fn decode(row: &[u8]) -> Result<StoredEvent, Fault> {
    let (head, data) = split(row)?;
    let mut event = without_data(head)?;
    event.event.data = data.to_vec();
    Ok(event)
}

/// What there is to know about a row without its data.
pub(super) struct Weighed {
    pub(super) time_ms: u64,
    /// [`NewEvent::cost`].
    pub(super) cost: u64,
}

pub(super) fn weigh(row: &[u8]) -> Result<Weighed, Fault> {
    let (head, data) = split(row)?;
    let event = without_data(head)?;
    Ok(Weighed {
        time_ms: event.time_ms,
        cost: event.event.cost() + data.len() as u64,
    })
}

fn without_data(head: &[u8]) -> Result<StoredEvent, Fault> {
    let head: Head<'_> = serde_json::from_slice(head).map_err(|_| unreadable())?;
    Ok(StoredEvent {
        sequence: 0,
        id: head.id.into_owned(),
        time_ms: head.time_ms,
        event: NewEvent {
            kind: head.kind.into_owned(),
            subject: head.subject.map(Cow::into_owned),
            partition_key: head.partition_key.map(Cow::into_owned),
            content_type: head.content_type.into_owned(),
            data: Vec::new(),
            attributes: head.attributes.into_owned(),
            traceparent: head.traceparent.map(Cow::into_owned),
            not_before_ms: head.not_before,
            name: head.name.map(Cow::into_owned),
        },
    })
}

fn split(row: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    // JSON has no line feed in its texts.
    let end = row.iter().position(|byte| *byte == b'\n');
    let (head, rest) = end
        .and_then(|end| row.split_at_checked(end))
        .ok_or_else(unreadable)?;
    Ok((head, rest.get(1..).unwrap_or_default()))
}

fn unreadable() -> Fault {
    Fault::Damaged("an event in it cannot be read".into())
}
