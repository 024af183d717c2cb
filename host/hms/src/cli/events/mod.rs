//! `hms events`, `subscriptions`, `parked` and `schedules`: one file each. [`names`] is how they
//! name what they are about.

mod list;
mod names;
mod parked;
mod schedules;
mod subscriptions;

pub(super) use list::EventLog;
pub(super) use parked::Parked;
pub(super) use schedules::Schedules;
pub(super) use subscriptions::Subscriptions;
