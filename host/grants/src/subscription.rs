//! Which events a window wants, from whom, and what is done where it does not take them.
//!
//! `filter` says which events are wanted, and `retry` when one that was not taken is tried again.

mod filter;
mod retry;

pub use filter::Attributes;

use hms_core::window_name::WindowName;
use std::time::{Duration, SystemTime};

/// One entry of `subscriptions`.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscription {
    /// Its name, unique in the window.
    pub name: String,
    /// The windows whose events it wants. May name the window itself, for its timers.
    pub from: Vec<WindowName>,
    /// All must match; none: every event.
    pub filters: Vec<Filter>,
    /// Where the events go.
    pub to: DeliverTo,
    /// With which event it begins. Now.
    pub start: Start,
    /// Which events wait for each other. By key.
    pub order: Order,
    /// Deliveries in flight at once. 8.
    pub concurrency: usize,
    /// When an event that was not taken is tried again.
    pub retry: Retry,
    /// What becomes of the events of a key after one of them was parked.
    pub after_park: AfterPark,
    /// How an event is put into a request.
    pub content: ContentMode,
    /// Line of the file, from 1.
    pub line: usize,
}

/// What the types of the host's own events begin with, such as those of schedules.
pub const HOST_TYPES: &str = "hms.";

impl Subscription {
    /// Whether it wants the event whose attributes these are: all its filters match, and an event
    /// of the host is [asked for](Subscription::asks_for_host_events).
    pub fn matches(&self, attributes: Attributes<'_, '_>) -> bool {
        let kind = attributes("type");
        let is_host_event = kind.is_some_and(|kind| kind.starts_with(HOST_TYPES));
        let mut filters = self.filters.iter();
        filters.all(|filter| filter.matches(attributes))
            && (!is_host_event || self.asks_for_host_events())
    }

    /// Whether a filter names a type that begins with [`HOST_TYPES`]. Otherwise the host's own
    /// events are left out: who subscribes to a window wants what the window says, and not when its
    /// schedules run.
    pub fn asks_for_host_events(&self) -> bool {
        let mut filters = self.filters.iter();
        filters.any(|filter| filter.names("type", HOST_TYPES))
    }
}

/// Where events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliverTo {
    /// A path of the window itself.
    Path(String),
    /// An absolute URL of a service, which a grant of `outbound` must allow.
    Service(String),
}

/// With which event a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The first one that is emitted after it was declared.
    Now,
    /// The oldest one that is kept.
    Earliest,
    /// The first one at or after this time.
    At(SystemTime),
}

/// Which events wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Those of one source and one partition key, or else one subject. Events with neither wait
    /// for none.
    Key,
    /// None.
    None,
}

impl Order {
    /// What an event has in common with those of its source that it waits for: its partition key,
    /// or else its subject. None: it waits for none.
    pub fn key<'a>(
        self,
        partition_key: Option<&'a str>,
        subject: Option<&'a str>,
    ) -> Option<&'a str> {
        match self {
            Order::Key => partition_key.or(subject).filter(|key| !key.is_empty()),
            Order::None => None,
        }
    }
}

/// When an event is tried again: full jitter over a time that doubles from `first` to `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// 1 s.
    pub first: Duration,
    /// 1 h.
    pub max: Duration,
    /// How long it is tried in all before it is parked. 3 days.
    pub total: Duration,
}

/// What becomes of the events of a key after one of them was parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterPark {
    /// They go on.
    Continue,
    /// They wait until a person has retried or dropped it.
    Hold,
}

/// How an event is put into a request (CloudEvents HTTP binding, section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentMode {
    /// Attributes in `ce-` headers, the data as the body.
    Binary,
    /// All of it as `application/cloudevents+json`.
    Structured,
}

/// A filter of the CloudEvents Subscriptions API 1.0, section 3.2.4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Each attribute has this value.
    Exact(Vec<(String, String)>),
    /// Each attribute begins so.
    Prefix(Vec<(String, String)>),
    /// Each attribute ends so.
    Suffix(Vec<(String, String)>),
    /// All match.
    All(Vec<Filter>),
    /// At least one matches.
    Any(Vec<Filter>),
    /// It does not match.
    Not(Box<Filter>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_by_partition_key_or_else_by_subject() {
        let key = Order::Key;
        assert_eq!(key.key(Some("a"), Some("b")), Some("a"));
        assert_eq!(key.key(None, Some("b")), Some("b"));
        assert_eq!(key.key(None, None), None);
        assert_eq!(Order::None.key(Some("a"), Some("b")), None);
    }

    #[test]
    fn host_events_are_wanted_only_by_a_filter_that_names_their_type() {
        let exact = |kind: &str| Filter::Exact(vec![("type".into(), kind.into())]);
        let prefix = |kind: &str| Filter::Prefix(vec![("type".into(), kind.into())]);
        let run = "hms.schedule.nightly";
        for (filters, expected) in [
            (vec![], false),
            (vec![prefix("h")], false),
            (vec![Filter::Not(Box::new(exact("hms.other")))], false),
            (
                vec![Filter::Suffix(vec![("type".into(), run.into())])],
                false,
            ),
            (vec![exact(run)], true),
            (vec![prefix("hms.")], true),
            (
                vec![Filter::Any(vec![prefix("gov."), prefix("hms.")])],
                true,
            ),
            (vec![prefix("hms."), exact("hms.other")], false),
        ] {
            let subscription = Subscription {
                filters,
                ..example()
            };
            let wants = |kind: &'static str| {
                subscription.matches(&|name| (name == "type").then_some(kind.into()))
            };
            assert_eq!(wants(run), expected, "{:?}", subscription.filters);
            if subscription.filters.is_empty() {
                assert!(wants("gov.payment.paid.v1") && wants("hmsx"));
            }
        }
    }

    fn example() -> Subscription {
        Subscription {
            name: "all".into(),
            from: Vec::new(),
            filters: Vec::new(),
            to: DeliverTo::Path("/events".into()),
            start: Start::Now,
            order: Order::Key,
            concurrency: 8,
            retry: Retry::DEFAULT,
            after_park: AfterPark::Continue,
            content: ContentMode::Binary,
            line: 1,
        }
    }
}
