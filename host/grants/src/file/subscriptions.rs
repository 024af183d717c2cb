//! `subscriptions`: which events a window wants.

use super::filters;
use super::names::each_by_name;
use crate::subscription::{AfterPark, ContentMode, DeliverTo, Order, Retry, Start, Subscription};
use crate::{HostPattern, OutboundGrant, WindowGrants, suggest};
use hms_core::path::{Pattern, normalise};
use hms_core::units::Time;
use hms_core::window_name::WindowName;
use hms_manifest::{Field, Kind, Map, Node, object};
use http::{Method, Uri};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Subscriptions of one window. Each is looked at whenever one of its sources emits.
pub(super) const MAX_SUBSCRIPTIONS: usize = 64;

/// Windows of one `from`.
const MAX_SOURCES: usize = 64;

/// Bytes of a path or a URL that events are sent to.
const MAX_TO_BYTES: usize = 1024;

const DAY_SECONDS: u64 = 24 * 3600;

const SUBSCRIPTION: &[Field] = &[
    Field {
        name: "from",
        kind: Kind::Texts(MAX_SOURCES, "[payments]"),
        doc: "The windows whose events it wants. The window itself, for its timers, may be one.",
    },
    Field {
        name: "filters",
        kind: Kind::Own(filters::schema),
        doc: "Which of their events: all filters must match. Default: every event.",
    },
    Field {
        name: "to",
        kind: Kind::Text("/events"),
        doc: "Where the events are sent by POST: a path of the window, or the URL of a service that 'outbound' allows.",
    },
    Field {
        name: "start",
        kind: Kind::Text("earliest"),
        doc: "The first event: now (emitted after the subscription was declared), earliest (the oldest that is kept), or a time such as 2026-10-01T00:00:00Z. Default: now.",
    },
    Field {
        name: "order",
        kind: Kind::Choice(&["key", "none"]),
        doc: "Whether an event waits for earlier ones of its source with the same partition key, or else the same subject. Default: key.",
    },
    Field {
        name: "concurrency",
        kind: Kind::Number(1..=256),
        doc: "Deliveries in flight at once. Default: 8.",
    },
    Field {
        name: "retry",
        kind: Kind::Map(RETRY),
        doc: "When an event that was not taken is sent again.",
    },
    Field {
        name: "after-park",
        kind: Kind::Choice(&["continue", "hold"]),
        doc: "Whether later events of a key go on when one was parked, or wait until a person has dealt with it. Default: continue.",
    },
    Field {
        name: "content",
        kind: Kind::Choice(&["binary", "structured"]),
        doc: "Whether attributes are ce- headers and the body is the data, or all of it is JSON. Default: binary.",
    },
];

const RETRY: &[Field] = &[
    Field {
        name: "first",
        kind: Kind::Time(100..=Time::MAX.ms()),
        doc: "The longest pause before the second attempt. It doubles with each attempt. Default: 1s.",
    },
    Field {
        name: "max",
        kind: Kind::Time(100..=Time::MAX.ms()),
        doc: "The longest pause of all. Default: 1h.",
    },
    Field {
        name: "for",
        kind: Kind::Lifetime(1..=30 * DAY_SECONDS),
        doc: "How long an event is tried before it is parked. Default: 3d.",
    },
];

pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "propertyNames": super::names::schema(),
        "additionalProperties": object(SUBSCRIPTION, &["from", "to"]),
        "maxProperties": MAX_SUBSCRIPTIONS,
    })
}

/// `outbound` is what the file allows the window to call; none where that has faults itself.
pub(super) fn read(
    text: &str,
    node: &Node<'_>,
    outbound: Option<&[OutboundGrant]>,
) -> Vec<Subscription> {
    let example =
        "subscriptions by name, as in 'subscriptions: {paid: {from: [payments], to: /events}}'";
    each_by_name(
        node,
        "subscription",
        MAX_SUBSCRIPTIONS,
        example,
        |name, node| one(text, name, node, outbound),
    )
}

fn one(
    text: &str,
    name: &str,
    node: &Node<'_>,
    outbound: Option<&[OutboundGrant]>,
) -> Option<Subscription> {
    let map = node.map(
        SUBSCRIPTION,
        "a mapping, as in '{from: [payments], to: /events}'",
    )?;
    let from = map
        .require("from")
        .and_then(|_| map.each("from", |name| name.parse::<WindowName>()));
    if let (Some(from), Some(node)) = (&from, map.get("from")) {
        for (index, window) in from.iter().enumerate() {
            if from.iter().take(index).any(|other| other == window) {
                node.fault(format_args!("the window '{window}' is duplicated"));
            }
        }
    }
    let to = map
        .require("to")
        .and_then(|_| map.parsed("to", |to| deliver_to(to, outbound)));
    let filters = map.get("filters").map(filters::read);
    let retry = map.map("retry").map(|map| retry(&map));
    let start = map.parsed("start", start);
    let concurrency = map.number("concurrency");
    Some(Subscription {
        name: name.to_owned(),
        filters: filters.unwrap_or_default(),
        start: start.unwrap_or(Start::Now),
        order: match map.choice("order") {
            Some("none") => Order::None,
            _ => Order::Key,
        },
        concurrency: concurrency
            .and_then(|count| usize::try_from(count).ok())
            .unwrap_or(8),
        retry: retry.unwrap_or(Retry::DEFAULT),
        after_park: match map.choice("after-park") {
            Some("hold") => AfterPark::Hold,
            _ => AfterPark::Continue,
        },
        content: match map.choice("content") {
            Some("structured") => ContentMode::Structured,
            _ => ContentMode::Binary,
        },
        line: node.line(text),
        from: from?,
        to: to?,
    })
}

fn retry(map: &Map<'_>) -> Retry {
    let or = |time: Option<Duration>, default| time.unwrap_or(default);
    let retry = Retry {
        first: or(map.time("first"), Retry::DEFAULT.first),
        max: or(map.time("max"), Retry::DEFAULT.max),
        total: or(map.lifetime("for"), Retry::DEFAULT.total),
    };
    if retry.first > retry.max {
        map.node().fault(
            "'first' is longer than 'max', which is the longest pause: make one of them fit",
        );
    }
    retry
}

fn start(text: &str) -> Result<Start, String> {
    match text {
        "now" => return Ok(Start::Now),
        "earliest" => return Ok(Start::Earliest),
        _ => {}
    }
    let at = OffsetDateTime::parse(text, &Rfc3339).ok();
    let at = at.filter(|at| at.unix_timestamp() >= 0);
    at.map(|at| Start::At(SystemTime::from(at))).ok_or_else(|| {
        format!(
            "'{}' is not a start: write now, earliest, or a time with its offset, such as \
             2026-10-01T00:00:00Z",
            text.escape_debug()
        )
    })
}

fn deliver_to(to: &str, outbound: Option<&[OutboundGrant]>) -> Result<DeliverTo, String> {
    match to.contains("://") {
        true => service(to, outbound).map(DeliverTo::Service),
        false => path(to).map(DeliverTo::Path),
    }
}

/// A path of the window in its one form.
pub(super) fn path(text: &str) -> Result<String, String> {
    let shown = text.escape_debug();
    if text.len() > MAX_TO_BYTES {
        return Err(format!("a path has at most {MAX_TO_BYTES} bytes"));
    }
    if text.contains(['?', '#']) {
        return Err(format!("'{shown}' must be a path, without '?' or '#'"));
    }
    let path = normalise(text);
    path.map_err(|reason| format!("'{shown}' is not a path of the window: {reason}, as in /events"))
}

/// The URL of a service, which an entry of `outbound` allows to be called by POST.
fn service(text: &str, outbound: Option<&[OutboundGrant]>) -> Result<String, String> {
    // Before anything repeats the text: it may have a password.
    if text.contains('@') {
        return Err(
            "the URL has an '@', which could be a user and a password: credentials belong in \
             'inject' of 'outbound', as a secret; write an '@' of a path as %40 (the text is not \
             repeated here)"
                .into(),
        );
    }
    let shown = text.escape_debug();
    let uri = text
        .parse::<Uri>()
        .ok()
        .filter(|_| text.len() <= MAX_TO_BYTES && !text.contains('#'));
    let Some(uri) = uri else {
        return Err(format!(
            "'{shown}' is not the URL of a service: http or https, at most {MAX_TO_BYTES} bytes, \
             and no '#'"
        ));
    };
    if uri.host().is_some_and(|host| host.starts_with("hms-svc-")) {
        return Err(format!(
            "'{shown}' is a window: name the subscription in that window's own file, with a path \
             as its 'to'"
        ));
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let scheme = uri.scheme_str().unwrap_or_default();
    // As the entries of `outbound` are read, with the same words.
    let origin = super::outbound::Origin::parse(&format!("{scheme}://{authority}"))?;
    let HostPattern::Exact(host) = &origin.host else {
        return Err(format!("'{shown}' has a '*': events go to one service"));
    };
    let path = normalise(uri.path()).map_err(|reason| format!("'{shown}': {reason}"))?;
    let allows = |grant: &OutboundGrant| {
        let there = grant.scheme == origin.scheme && grant.port == origin.port;
        let mut paths = grant
            .paths
            .iter()
            .filter_map(|path| Pattern::parse(path).ok());
        there
            && grant.host.matches(host)
            && grant.methods.contains(&Method::POST)
            && (grant.paths.is_empty() || paths.any(|pattern| pattern.matches(&path)))
    };
    if outbound.is_some_and(|outbound| !outbound.iter().any(allows)) {
        // Of nothing that is granted: a file names no secret's value.
        let entry = suggest::entry(&WindowGrants::default(), &Method::POST, &uri);
        let remedy = match entry {
            Ok(entry) => format!("to allow it, add to 'outbound': - {entry}"),
            Err(why) => format!("no entry of 'outbound' can allow it alone: {why}"),
        };
        return Err(format!(
            "no entry of 'outbound' allows POST {shown}; {remedy}"
        ));
    }
    Ok(text.to_owned())
}
