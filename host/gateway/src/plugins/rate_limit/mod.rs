//! `rate-limit`: at most `limit` requests in any period of `window` seconds, for each user, or for each client
//! address where there is no user; or for each value of a header field, or all together. With `burst` not all at once.
//!
//! Counters belong to the route's name and the caller, not to the route's present text: they outlive route edits
//! and deploys.
//!
//! `who` says who is counted -> `limiter` finds the counter, or makes one where `shares` has room -> `entry` admits by its
//! `log` and its `bucket` -> `fields` tells the client.

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
