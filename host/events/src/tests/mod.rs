//! Deliveries between windows that are scripts, over stores in memory and with tokio's time.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "for tests"
)]

mod fixture;
mod operators;
mod order;
mod outcomes;
mod random;
mod restarts;
mod times;

use fixture::{Host, Reply, subscription};
