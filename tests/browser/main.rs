//! The dashboard of the real `hms`, in a real browser: Debian's `chromium`, driven by
//! `chromium-driver`. Without a driver the tests say how to get one and pass; with `CI=true` they
//! fail.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test, which fails by a panic"
)]

mod accessible;
mod browser;
mod changes;
mod deploys;
mod events;
mod files;
mod live;
mod pictures;
mod signing_in;
