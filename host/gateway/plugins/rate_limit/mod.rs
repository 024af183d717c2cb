//! `rate-limit`: at most `limit` requests in any period of `window` seconds, for each user, or for each client
//! address where there is no user; or for each value of a header field, or all together. With `burst` not all at once.
//!
//! Counters belong to the route's name and the caller, not to the route's present text: they outlive route edits
//! and deploys.

mod bucket;
mod fields;
mod limiter;
mod log;
mod rule;

pub use limiter::{Limiter, Verdict};
pub use rule::{By, FIELDS, Rule};
