//! An event that a transaction emits.

use crate::TransactionError;
use crate::transaction::host;
use serde::Serialize;
use std::time::Duration;

/// The content type of [`Event::new`].
const JSON: &str = "application/json";

/// Something that has happened, for whoever subscribes to it: a CloudEvent. A transaction emits it,
/// together with what it writes.
///
/// ```
/// # use hms_window::{Event, TransactionError};
/// # fn make() -> Result<Event, TransactionError> {
/// let event = Event::new("gov.payment.paid.v1", &serde_json::json!({ "amount": 110 }))?
///     .subject("payment-7")
///     .attribute("office", "north");
/// # Ok(event) }
/// # assert!(make().is_ok());
/// ```
///
/// The host adds `id`, `source`, `time`, `sequence` and `traceparent`. It refuses an event that is
/// over its bounds or breaks a rule of CloudEvents, when it is committed
/// ([`TransactionError::EventRefused`]): types have 1 to 255 bytes and do not begin with `hms.`,
/// subject and partition key have 1 byte to 1 KiB, the data up to 64 KiB, and no text has control
/// characters. Put no more into it than subscribers need: whoever may subscribe reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    kind: String,
    subject: Option<String>,
    partition_key: Option<String>,
    content_type: String,
    data: Vec<u8>,
    attributes: Vec<(String, String)>,
    pub(crate) not_before_ms: Option<u64>,
    name: Option<String>,
}

impl Event {
    /// An event of the type `kind`, such as `gov.payment.paid.v1`, with `data` as JSON. End the
    /// type with a version: subscribers depend on the shape of the data.
    ///
    /// # Errors
    /// [`StoreError::NotAsExpected`](crate::StoreError::NotAsExpected) if `data` cannot be
    /// serialised.
    pub fn new<T: Serialize + ?Sized>(kind: &str, data: &T) -> Result<Self, TransactionError> {
        let json = crate::store::encode(kind, data)?;
        Ok(Self::bytes(kind, JSON, json))
    }

    /// An event of the type `kind` with other data than JSON.
    pub fn bytes(kind: &str, content_type: &str, data: impl Into<Vec<u8>>) -> Self {
        Event {
            kind: kind.to_owned(),
            subject: None,
            partition_key: None,
            content_type: content_type.to_owned(),
            data: data.into(),
            attributes: Vec::new(),
            not_before_ms: None,
            name: None,
        }
    }

    /// What it is about, such as the id of a payment. Events of the same subject are delivered in
    /// order.
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// What its order is by, in place of the subject.
    pub fn partition_key(mut self, key: impl Into<String>) -> Self {
        self.partition_key = Some(key.into());
        self
    }

    /// One more attribute, which filters of subscriptions can use. Its name has 1 to 20 of `a-z`
    /// and `0-9`, does not begin with `hms`, and is none of CloudEvents' own.
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }

    /// A more precise media type of the data, such as `application/vnd.gov.payment+json`.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = content_type.into();
        self
    }

    /// Delivers it at this time at the earliest, in milliseconds since 1970. One that can be
    /// cancelled is a [timer](crate::Transaction::timer).
    pub fn not_before_ms(mut self, ms: u64) -> Self {
        self.not_before_ms = Some(ms);
        self
    }

    /// With a name, by which it is replaced and cancelled while it waits.
    pub(crate) fn named(mut self, name: String) -> Self {
        self.name = Some(name);
        self
    }

    pub(crate) fn into_host(self) -> host::Event {
        host::Event {
            type_: self.kind,
            subject: self.subject,
            partition_key: self.partition_key,
            content_type: self.content_type,
            data: self.data,
            attributes: self.attributes,
            not_before_ms: self.not_before_ms,
            name: self.name,
        }
    }
}

/// So many days, for [`Transaction::timer`](crate::Transaction::timer).
pub fn days(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * 24 * 60 * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_reaches_the_host_as_it_was_made() {
        let event = Event::new("a.v1", "x")
            .unwrap()
            .subject("s")
            .partition_key("p")
            .attribute("one", "1")
            .content_type("application/vnd.a+json")
            .not_before_ms(9)
            .named("n".into())
            .into_host();
        assert_eq!(
            (event.type_.as_str(), event.data.as_slice()),
            ("a.v1", &b"\"x\""[..])
        );
        assert_eq!(event.subject.as_deref(), Some("s"));
        assert_eq!(event.partition_key.as_deref(), Some("p"));
        assert_eq!(event.attributes, [("one".to_owned(), "1".to_owned())]);
        assert_eq!(event.content_type, "application/vnd.a+json");
        assert_eq!(
            (event.not_before_ms, event.name.as_deref()),
            (Some(9), Some("n"))
        );
        assert_eq!(days(2), Duration::from_secs(172_800));
    }
}
