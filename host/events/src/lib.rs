//! The delivery of events: from the logs in the windows' stores to those who want them.
//!
//! An event lies in the log of the window that emitted it; nothing is copied from there. A
//! subscription has a cursor for each log that it reads, in DATA/events.redb, and a task
//! ([`subscriber`]) that reads on, delivers by HTTP ([`binding`]), and does what the answer says
//! ([`outcome`]). [`flow`] is the order of its events and [`done`] its cursor, both pure. [`share`]
//! bounds the deliveries in flight, so that citizens are not starved.
//!
//! [`logs`] knows how all logs stand without opening their stores, [`state`] gathers what is
//! written, and [`records`] is what it is. [`schedules`] emits events at certain times, and
//! [`upkeep`] is what is seen to beside deliveries. [`Events`] puts it all together; [`operate`]
//! has the verbs of operators, and [`gate`] what windows ask.

// For maintainers: the documentation is built with private items.
#![allow(rustdoc::private_intra_doc_links)]

mod binding;
mod done;
mod events;
mod flow;
mod gate;
mod limits;
mod logs;
mod metrics;
mod operate;
mod outcome;
mod records;
mod schedules;
mod share;
mod state;
mod subscriber;
#[cfg(test)]
mod tests;
mod upkeep;

pub use binding::DELIVERY;
pub use events::{Events, EventsConfig, system_clock};
pub use gate::Gate;
pub use limits::EventsLimits;
pub use metrics::EventsMetrics;
pub use operate::{EventsError, Shown};
