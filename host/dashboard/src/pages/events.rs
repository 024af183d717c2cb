//! The events of a window: what it emitted, who gets it, what is parked, and its schedules.

use super::{Frame, shown};
use crate::api::Api;
use crate::show::{self, NONE, When};
use askama::Template;
use hms_api::{
    EventList, ParkedList, Problem, ScheduleList, SubscriptionList, SubscriptionState, WindowDetail,
};
use time::OffsetDateTime;

/// Events and parked events that are shown. 50: a screen or two; the command line has all.
const SHOWN: usize = 50;

#[derive(Template)]
#[template(path = "events.html", blocks = ["live"])]
pub(crate) struct Events {
    frame: Frame,
    name: String,
    tab: &'static str,
    subscriptions: Vec<Subscription>,
    schedules: Vec<Schedule>,
    parked: Vec<Parked>,
    more_parked: bool,
    events: Vec<Event>,
}

shown!(Events);

struct Subscription {
    name: String,
    to: String,
    state: String,
    why: String,
    is_paused: bool,
    lag: u64,
    in_flight: usize,
    parked: usize,
}

struct Schedule {
    name: String,
    cron: String,
    zone: String,
    last: Option<When>,
    next: Option<When>,
    running: bool,
}

struct Parked {
    subscription: String,
    event: String,
    kind: String,
    when: When,
    attempts: u32,
    status: String,
    why: String,
    retrying: bool,
}

struct Event {
    sequence: u64,
    kind: String,
    subject: String,
    when: When,
    size: String,
    data: String,
}

pub(crate) async fn page(api: &Api, name: &str) -> Result<Events, Problem> {
    let _: WindowDetail = api.get(&format!("/windows/{name}")).await?;
    let subscriptions: SubscriptionList = api.get(&format!("/subscriptions?window={name}")).await?;
    let schedules: ScheduleList = api.get(&format!("/schedules?window={name}")).await?;
    let parked: ParkedList = api
        .get(&format!("/parked?window={name}&limit={SHOWN}"))
        .await?;
    let events: EventList = api
        .get(&format!("/windows/{name}/events?limit={SHOWN}"))
        .await?;
    let subscription = |one: hms_api::SubscriptionStatus| Subscription {
        is_paused: one.state == SubscriptionState::Paused,
        state: one.state.as_str().to_owned(),
        why: one.paused.map(|paused| paused.why).unwrap_or_default(),
        name: one.name,
        to: one.to,
        lag: one.lag,
        in_flight: one.in_flight,
        parked: one.parked,
    };
    let time = |time: Option<OffsetDateTime>| time.map(show::when);
    let schedule = |one: hms_api::ScheduleStatus| Schedule {
        name: one.name,
        cron: one.cron,
        zone: one.time_zone,
        last: time(one.last),
        next: time(one.next),
        running: one.running,
    };
    let one_parked = |one: hms_api::ParkedEvent| Parked {
        event: one.id.rsplit('/').next().unwrap_or_default().to_owned(),
        subscription: one.subscription,
        kind: one.event.r#type,
        when: show::when(one.parked),
        attempts: one.attempts,
        status: one.status.map_or(NONE.into(), |status| status.to_string()),
        why: one.why,
        retrying: one.retrying,
    };
    let event = |one: hms_api::Event| Event {
        sequence: one.sequence,
        kind: one.r#type,
        subject: one.subject.unwrap_or_default(),
        when: show::when(one.time),
        size: show::bytes(one.bytes),
        data: one.data.unwrap_or_default(),
    };
    Ok(Events {
        frame: Frame::of("windows", &format!("windows/{name}/events")),
        name: name.to_owned(),
        tab: "/events",
        subscriptions: subscriptions
            .subscriptions
            .into_iter()
            .map(subscription)
            .collect(),
        schedules: schedules.schedules.into_iter().map(schedule).collect(),
        more_parked: parked.more,
        parked: parked.parked.into_iter().map(one_parked).collect(),
        events: events.events.into_iter().rev().map(event).collect(),
    })
}
