//! What operators see and do with events: the logs of windows, subscriptions, parked events and
//! schedules.

use super::query::Query;
use super::reply;
use super::tasks::Tasks;
use super::whole::whole;
use futures_util::StreamExt;
use hms_api::{
    ChangedSubscription, DeliveriesStatus, DroppedEvents, EventList, ReplayRequest, RetriedEvents,
    RunSchedule, ScheduleList, SubscriptionList, SubscriptionStatus,
};
use hms_core::body::Body;
use hms_events::{Events, EventsError, Shown};
use hms_windows::{ChangeError, Registry, WindowName};
use http::{Response, StatusCode};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Events or parked events in one answer, if nothing is said. 100: a screen or two.
const PAGE: u64 = 100;

/// The most of them in one answer. 1,000, with at most 4 KiB of data each.
const MAX_PAGE: u64 = 1_000;

/// How long a request waits for the next event. 30 s: less than what proxies in between wait for an
/// answer, and one that nobody reads any more is over soon.
const FOLLOW: Duration = Duration::from_secs(30);

/// The longest body with the time of a replay.
const MAX_REPLAY_BYTES: usize = 1 << 10;

/// Parked events that are retried or dropped at once, so that they share commits. 64.
const AT_ONCE: usize = 64;

/// `GET /windows/NAME/events?after=N&limit=N&type=PREFIX&follow=true`. Ends its waiting with
/// `shutdown`.
pub(super) async fn list(
    events: &Events,
    windows: &Arc<Registry>,
    shutdown: &CancellationToken,
    name: &WindowName,
    query: &str,
) -> Response<Body> {
    let asked = match Asked::read(query) {
        Ok(asked) => asked,
        Err(error) => return reply::change_error(&error),
    };
    if let Err(refusal) = has_log(windows, name).await {
        return refusal;
    }
    match page(events, shutdown, name.as_str(), asked).await {
        Ok(list) => reply::json(StatusCode::OK, &list),
        Err(error) => refuse(&error),
    }
}

/// What `GET /windows/NAME/events` is asked for.
struct Asked {
    after: Option<u64>,
    limit: u64,
    kind: Option<String>,
    follow: bool,
}

impl Asked {
    fn read(query: &str) -> Result<Self, ChangeError> {
        let query = Query::read(query, &["after", "limit", "type", "follow"])?;
        Ok(Asked {
            after: query.parsed::<u64>("after")?,
            limit: limit(&query)?,
            kind: query.text("type").map(str::to_owned),
            follow: query.parsed::<bool>("follow")?.unwrap_or(false),
        })
    }
}

fn limit(query: &Query) -> Result<u64, ChangeError> {
    match query.parsed::<u64>("limit")?.unwrap_or(PAGE) {
        limit @ 1..=MAX_PAGE => Ok(limit),
        limit => Err(ChangeError::BadOption(format!(
            "the parameter 'limit': {limit} is not between 1 and {MAX_PAGE}"
        ))),
    }
}

async fn page(
    events: &Events,
    shutdown: &CancellationToken,
    window: &str,
    asked: Asked,
) -> Result<EventList, EventsError> {
    let last = events.last(window).await?;
    // A log that ends before where its reader stood was made anew: the reader goes on with it.
    let after = asked.after.unwrap_or(last.saturating_sub(asked.limit));
    let mut which = Shown {
        after: after.min(last),
        limit: usize::try_from(asked.limit).unwrap_or(usize::MAX),
        kind: asked.kind,
    };
    let until = Instant::now() + FOLLOW;
    loop {
        let list = events.list(window, &which).await?;
        let left = until.saturating_duration_since(Instant::now());
        let is_over = left.is_zero() || shutdown.is_cancelled();
        if !asked.follow || !list.events.is_empty() || list.more || is_over {
            return Ok(list);
        }
        which.after = list.after;
        let next = events.wait(window, list.after, left);
        let _ = shutdown.run_until_cancelled(next).await;
    }
}

/// `GET /windows/NAME/events/SEQUENCE`.
pub(super) async fn show(
    events: &Events,
    windows: &Arc<Registry>,
    name: &WindowName,
    sequence: &str,
) -> Response<Body> {
    let Ok(sequence) = sequence.parse::<u64>() else {
        let detail = "the number of an event is a whole number such as 3";
        return reply::refuse(StatusCode::BAD_REQUEST, "bad-request", detail);
    };
    if let Err(refusal) = has_log(windows, name).await {
        return refusal;
    }
    match events.event(name.as_str(), sequence).await {
        Ok(Some(event)) => reply::json(StatusCode::OK, &event),
        Ok(None) => {
            let detail = format!(
                "the log of window '{name}' has no event {sequence}, or no longer has it; \
                 `hms events {name}` lists the events"
            );
            reply::refuse(StatusCode::NOT_FOUND, "no-such-event", detail)
        }
        Err(error) => refuse(&error),
    }
}

/// A window that was removed may have left its store, and its events in there.
async fn has_log(windows: &Arc<Registry>, name: &WindowName) -> Result<(), Response<Body>> {
    let Err(error) = windows.status(name) else {
        return Ok(());
    };
    let listing = windows.clone();
    let stored = tokio::task::spawn_blocking(move || listing.stored()).await;
    let is_stored = matches!(stored, Ok(Ok(all)) if all.contains_key(name.as_str()));
    match is_stored {
        true => Ok(()),
        false => Err(reply::not_shown(&error)),
    }
}

/// `GET /subscriptions?window=NAME`.
pub(super) fn subscriptions(events: &Events, query: &str) -> Response<Body> {
    let window = match Query::read(query, &["window"]) {
        Ok(query) => query.text("window").map(str::to_owned),
        Err(error) => return reply::change_error(&error),
    };
    let mut subscriptions = events.subscriptions();
    subscriptions.retain(|one| window.as_ref().is_none_or(|window| one.window == *window));
    reply::json(StatusCode::OK, &SubscriptionList { subscriptions })
}

/// `GET /windows/NAME/subscriptions/SUB`.
pub(super) fn subscription(events: &Events, window: &WindowName, name: &str) -> Response<Body> {
    match events.subscription(window.as_str(), name) {
        Ok(status) => reply::json(StatusCode::OK, &status),
        Err(error) => refuse(&error),
    }
}

/// `POST /windows/NAME/subscriptions/SUB/pause`, `resume` and `replay`.
pub(super) async fn change(
    tasks: &Tasks,
    events: &Arc<Events>,
    window: WindowName,
    name: &str,
    verb: &str,
    body: Body,
) -> Response<Body> {
    let from = match verb {
        "replay" => match from(body).await {
            Ok(from) => Some(from.from),
            Err((code, why)) => return reply::refuse(StatusCode::BAD_REQUEST, code, why),
        },
        _ => None,
    };
    let (events, name, pauses) = (events.clone(), name.to_owned(), verb == "pause");
    let change = async move {
        let window = window.as_str();
        let done = match from {
            Some(from) => {
                return match events.replay(window, &name, from).await {
                    Ok(replayed) => reply::changed(replayed, None),
                    Err(error) => refuse(&error),
                };
            }
            None if pauses => events.pause(window, &name).await,
            None => events.resume(window, &name).await,
        };
        changed(&events, window, &name, done)
    };
    tasks.answer(change).await
}

/// The answer to a pause or its end, which are in effect even if the disk does not accept them.
fn changed(
    events: &Events,
    window: &str,
    name: &str,
    done: Result<SubscriptionStatus, EventsError>,
) -> Response<Body> {
    let (status, why) = match done {
        Ok(subscription) => (Ok(subscription), None),
        Err(EventsError::Store(why)) => (events.subscription(window, name), Some(why.to_string())),
        Err(error) => (Err(error), None),
    };
    match status {
        Ok(subscription) => reply::changed(ChangedSubscription { subscription }, why.as_deref()),
        Err(error) => refuse(&error),
    }
}

/// # Errors
/// The code of the refusal, and a sentence.
async fn from(body: Body) -> Result<ReplayRequest, (&'static str, String)> {
    let body = whole(body, MAX_REPLAY_BYTES).await;
    let body = body.map_err(|why| ("upload-broken", why))?;
    serde_json::from_slice(&body).map_err(|error| {
        let form = r#"the body must be a JSON object such as {"from": "2026-01-31T08:00:00Z"}"#;
        ("bad-request", format!("{form}: {error}"))
    })
}

/// `GET /parked?window=NAME&subscription=SUB&after=ID&limit=N`.
pub(super) async fn parked(events: &Events, query: &str) -> Response<Body> {
    let read = Query::read(query, &["window", "subscription", "after", "limit"]);
    let asked = read.and_then(|query| Ok((limit(&query)?, query)));
    let (limit, query) = match asked {
        Ok(asked) => asked,
        Err(error) => return reply::change_error(&error),
    };
    let [window, subscription, after] =
        ["window", "subscription", "after"].map(|of| query.text(of));
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    match events.parked(window, subscription, after, limit).await {
        Ok(list) => reply::json(StatusCode::OK, &list),
        Err(error) => refuse(&error),
    }
}

/// The subscription of parked events.
pub(super) struct Of {
    pub window: WindowName,
    pub name: String,
}

/// What is done with parked events.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Verb {
    Retry,
    Drop,
}

impl Verb {
    async fn of(self, events: &Events, id: &str) -> Result<(), EventsError> {
        match self {
            Verb::Retry => events.retry_parked(id).await,
            Verb::Drop => events.drop_parked(id).await,
        }
    }

    fn done(self, events: &Events, of: &Of, count: u64, in_flight: u64) -> Response<Body> {
        match self {
            Verb::Retry => {
                let retried = RetriedEvents {
                    retried: count,
                    subscription: events.subscription(of.window.as_str(), &of.name).ok(),
                };
                reply::changed(retried, None)
            }
            Verb::Drop => {
                let dropped = count;
                reply::changed(DroppedEvents { dropped, in_flight }, None)
            }
        }
    }
}

/// `POST /windows/NAME/subscriptions/SUB/parked/EVENT/retry`, or `DELETE` without the last part.
pub(super) async fn one_parked(
    tasks: &Tasks,
    events: &Arc<Events>,
    verb: Verb,
    of: Of,
    event: &str,
) -> Response<Body> {
    let events = events.clone();
    let id = format!("{}/{}/{event}", of.window, of.name);
    let change = async move {
        match verb.of(&events, &id).await {
            Ok(()) => verb.done(&events, &of, 1, 0),
            Err(error) => refuse(&error),
        }
    };
    tasks.answer(change).await
}

/// The same for all parked events of a subscription: without `EVENT`.
pub(super) async fn all_parked(
    tasks: &Tasks,
    events: &Arc<Events>,
    verb: Verb,
    of: Of,
) -> Response<Body> {
    let events = events.clone();
    let change = async move {
        match each_parked(&events, verb, of.window.as_str(), &of.name).await {
            Ok((count, in_flight)) => verb.done(&events, &of, count, in_flight),
            Err(error) => refuse(&error),
        }
    };
    tasks.answer(change).await
}

/// For how many it was done, and how many are in flight.
async fn each_parked(
    events: &Arc<Events>,
    verb: Verb,
    window: &str,
    name: &str,
) -> Result<(u64, u64), EventsError> {
    events.is_known(window, name).await?;
    let mut ids: Vec<String> = Vec::new();
    loop {
        let after = ids.last().map(String::as_str);
        let limit = usize::try_from(MAX_PAGE).unwrap_or(usize::MAX);
        let page = events
            .parked(Some(window), Some(name), after, limit)
            .await?;
        ids.extend(page.parked.into_iter().map(|parked| parked.id));
        if !page.more {
            break;
        }
    }
    let each = ids.into_iter().map(|id| {
        let events = events.clone();
        async move { verb.of(&events, &id).await }
    });
    let mut each = futures_util::stream::iter(each).buffer_unordered(AT_ONCE);
    let (mut count, mut in_flight) = (0, 0);
    while let Some(done) = each.next().await {
        match done {
            Ok(()) => count += 1,
            Err(EventsError::InFlight(_)) => in_flight += 1,
            // It was delivered, or somebody else dropped it.
            Err(EventsError::NoParked(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((count, in_flight))
}

/// `GET /schedules?window=NAME`.
pub(super) fn schedules(events: &Events, query: &str) -> Response<Body> {
    let window = match Query::read(query, &["window"]) {
        Ok(query) => query.text("window").map(str::to_owned),
        Err(error) => return reply::change_error(&error),
    };
    let mut schedules = events.schedules();
    schedules.retain(|one| window.as_ref().is_none_or(|window| one.window == *window));
    reply::json(StatusCode::OK, &ScheduleList { schedules })
}

/// `POST /windows/NAME/schedules/S/run`.
pub(super) async fn run(
    tasks: &Tasks,
    events: &Arc<Events>,
    window: WindowName,
    name: &str,
) -> Response<Body> {
    let (events, name) = (events.clone(), name.to_owned());
    let change = async move {
        if let Err(error) = events.run_schedule(window.as_str(), &name).await {
            return refuse(&error);
        }
        let mut schedules = events.schedules().into_iter();
        let schedule = schedules.find(|one| one.window == window.as_str() && one.name == name);
        match schedule {
            Some(schedule) => reply::changed(RunSchedule { schedule }, None),
            // Its file was changed at this moment.
            None => refuse(&EventsError::NoSchedule {
                window: window.to_string(),
                name,
            }),
        }
    };
    tasks.answer(change).await
}

/// What of the subscriptions of each window waits for a person.
pub(super) fn waiting(events: &Events) -> HashMap<String, DeliveriesStatus> {
    let mut waiting: HashMap<String, DeliveriesStatus> = HashMap::new();
    for one in events.subscriptions() {
        if one.paused.is_none() && one.parked == 0 {
            continue;
        }
        let of = waiting.entry(one.window).or_default();
        of.parked += one.parked as u64;
        if one.paused.is_some() {
            of.paused.push(one.name);
        }
    }
    waiting
}

fn refuse(error: &EventsError) -> Response<Body> {
    let (status, code) = match error {
        EventsError::NoSubscription { .. } => (StatusCode::NOT_FOUND, "no-such-subscription"),
        EventsError::NoSchedule { .. } => (StatusCode::NOT_FOUND, "no-such-schedule"),
        EventsError::NoParked(_) => (StatusCode::NOT_FOUND, "no-such-parked-event"),
        EventsError::Removed { .. } => (StatusCode::CONFLICT, "subscription-removed"),
        EventsError::InFlight(_) => (StatusCode::CONFLICT, "delivery-in-flight"),
        EventsError::TooManyReplays(_) => (StatusCode::CONFLICT, "too-many-replays"),
        EventsError::NotRead => (StatusCode::SERVICE_UNAVAILABLE, "store-unavailable"),
        EventsError::Refused(_) => (StatusCode::SERVICE_UNAVAILABLE, "schedule-not-run"),
        EventsError::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, "store-unavailable"),
    };
    if status.is_server_error() {
        tracing::error!(%error, "admin: events cannot be shown or changed");
    }
    let hint = match error {
        EventsError::NoSubscription { .. } => "; `hms subscriptions` lists the subscriptions",
        EventsError::NoSchedule { .. } => "; `hms schedules` lists the schedules",
        EventsError::NoParked(_) => {
            ": it was delivered or dropped, or was never parked; `hms parked` lists them"
        }
        _ => "",
    };
    reply::refuse(status, code, format!("{error}{hint}"))
}
