//! The admin API: the type of every JSON body that goes over it, in both directions. The host
//! writes these types, and the command line, the tests and other clients read the same ones.
//!
//! [`windows`], [`deploy`], [`limits`], [`routes`], [`grants`], [`keys`], [`events`],
//! [`requests`] and [`health`] follow the paths of the API; [`files`] is common to routes and
//! grants, [`change`] is what the answers to all changes have in common, [`problem`] every refusal.
//! docs/admin-api.md shows an example of each, which the tests of this crate read.
//!
//! Names on the wire are a contract: scripts use them. A reader ignores fields that it does not
//! know, so an old client understands a new host. A field that is added later has a default, so a
//! new client understands an old host. A [`Word`] or an enum of words keeps a word that it does not
//! know.

#![warn(missing_docs)]

pub mod change;
pub mod deploy;
pub mod events;
pub mod files;
pub mod grants;
pub mod health;
pub mod keys;
pub mod limits;
pub mod problem;
pub mod requests;
pub mod routes;
pub mod store;
#[cfg(test)]
mod tests;
pub mod windows;
mod words;

pub use change::Changed;
pub use deploy::{DeployEvent, DeployLine, Deployed, Difference, GainedAndLost, Step};
pub use events::{
    ChangedSubscription, CursorStatus, DroppedEvents, Event, EventList, ParkedEvent, ParkedList,
    PausedStatus, ReplayRequest, Replayed, RetriedEvents, RunSchedule, ScheduleList,
    ScheduleStatus, SubscriptionList, SubscriptionState, SubscriptionStatus,
};
pub use files::{Fault, FileState};
pub use grants::{
    Granted, GrantsDetail, GrantsList, GrantsStatus, NextRun, RemovedGrants, SecretStatus,
};
pub use health::{Health, HealthStatus};
pub use keys::{CreatedKey, Key, KeyList, NewKey, RevokedKey, UnsavedKeys};
pub use limits::{LimitSource, LimitValues, Limits, LimitsPatch, ShownLimits};
pub use problem::Problem;
pub use requests::{RequestList, RequestTrace, SpanTrace, TraceKind};
pub use routes::{
    HostField, LiveRoute, PathRule, RemovedRoute, RouteDetail, RouteList, RouteStatus, TargetStatus,
};
pub use store::{StoreBuckets, StoreKeys, StoreValue};
pub use windows::{
    CanaryStatus, ChangedWindow, DeliveriesStatus, DrainStatus, LeftFile, LogLine, LogLines,
    Release, RemovedWindow, SideStatus, StoreFate, Unsaved, WindowDetail, WindowList, WindowState,
    WindowStatus,
};
pub use words::Word;
