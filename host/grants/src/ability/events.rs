//! What is said of events: whose a window receives, which of them leave, when it is asked.

use super::words::and;
use super::{Ability, Atom};
use crate::WindowGrants;
use crate::subscription::{DeliverTo, Filter, Subscription};
use std::path::Path;

/// Events of one window that a subscription has delivered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Delivered {
    from: String,
    /// The service that they leave to; none where the window itself gets them.
    service: Option<String>,
    filters: Vec<Filter>,
    /// [`Subscription::asks_for_host_events`].
    with_host_events: bool,
}

impl Delivered {
    /// Whether it has all events that `other` has: no filter of it is not one of `other`, too, and
    /// it has those of the host if `other` has.
    pub(super) fn covers(&self, other: &Delivered) -> bool {
        let mut filters = self.filters.iter();
        let wider = filters.all(|filter| other.filters.contains(filter));
        let wider = wider && (self.with_host_events || !other.with_host_events);
        self.from == other.from && self.service == other.service && wider
    }
}

/// What a window gets to know by its subscriptions, and what of it leaves. Events of its own it
/// knows already.
pub(super) fn abilities(granted: &WindowGrants) -> Vec<Ability> {
    let own = Path::new(&granted.file).file_stem();
    let own = own.and_then(|stem| stem.to_str()).unwrap_or_default();
    let subscriptions = granted.grants.subscriptions.iter();
    let ability = |subscription: &Subscription| {
        let service = match &subscription.to {
            DeliverTo::Service(url) => Some(url),
            DeliverTo::Path(_) => None,
        };
        let from = subscription.from.iter().map(|window| window.to_string());
        let from: Vec<String> = from
            .filter(|from| service.is_some() || from != own)
            .collect();
        if from.is_empty() {
            return None;
        }
        let (windows, at) = (and(&from), granted.at(subscription.line));
        let may = match service {
            None => format!("receives events of {windows} ({at})"),
            Some(url) => format!("has events of {windows} sent to {url} ({at})"),
        };
        let delivered = from.into_iter().map(|from| {
            Atom::Events(Delivered {
                from,
                service: service.cloned(),
                filters: subscription.filters.clone(),
                with_host_events: subscription.asks_for_host_events(),
            })
        });
        Some(Ability {
            import: String::new(),
            may,
            atoms: delivered.collect(),
        })
    };
    subscriptions.filter_map(ability).collect()
}

/// Each subscription and each schedule as a sentence after "it".
pub(super) fn plain(granted: &WindowGrants) -> impl Iterator<Item = String> {
    let subscriptions = granted.grants.subscriptions.iter().map(|subscription| {
        let from = subscription.from.iter().map(|window| window.to_string());
        let from = and(&from.collect::<Vec<_>>());
        let which = match subscription.filters.is_empty() {
            true => "events",
            false => "some events",
        };
        let (name, at) = (&subscription.name, granted.at(subscription.line));
        match &subscription.to {
            DeliverTo::Path(path) => {
                format!("receives {which} of {from} at {path}: subscription {name} ({at})")
            }
            DeliverTo::Service(url) => {
                format!("has {which} of {from} sent to {url}: subscription {name} ({at})")
            }
        }
    });
    let schedules = granted.grants.schedules.iter().map(|schedule| {
        let (cron, zone) = (&schedule.cron, &schedule.time_zone);
        let (name, at) = (&schedule.name, granted.at(schedule.line));
        let to = &schedule.to;
        format!("is asked at {to} by the clock ({cron}, {zone}): schedule {name} ({at})")
    });
    subscriptions.chain(schedules)
}
