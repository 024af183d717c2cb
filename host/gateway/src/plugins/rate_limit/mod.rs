//! `rate-limit`: at most `limit` requests in any period of `window` seconds: for each user, or for
//! each client address without a user; for each value of a header field; or for all requests
//! together. `burst` bounds how many of these come at once.
//!
//! Counters belong to the route's name and the caller, not to the route's text: they survive edits
//! of the route and deploys.
//!
//! `who` determines who is counted -> `limiter` finds the counter, or creates one if `shares` has
//! room -> `entry` decides by its `log` and its `bucket` -> `fields` informs the client.

mod bucket;
mod entry;
mod fields;
mod limiter;
mod log;
mod plugin;
mod rule;
mod shares;
mod who;

pub use limiter::{Decision, Limiter};
pub use rule::{By, Rule};
