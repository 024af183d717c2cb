//! Tests whose verdict is a time, a rate or an amount of memory: what else runs on the machine
//! would be part of what they measure. So they are a target of their own, which cargo runs when the
//! others have ended, and each waits for the one before.
//!
//! They are the small form of the benches: `cargo bench --bench swap` and `--bench hostile` have
//! the figures.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test, which fails by a panic"
)]

mod admin_connections;
mod backup;
mod compile_bomb;
mod dead_services;
mod hostile;
mod leak;
mod neighbours;
mod routes;
mod slow_clients;
mod slow_subscriber;
mod zero_failures;

use tokio::sync::{Mutex, MutexGuard};

/// Waits until no other test of this target runs. Every test begins with it and keeps what it
/// gives.
async fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::const_new(());
    ONE.lock().await
}
