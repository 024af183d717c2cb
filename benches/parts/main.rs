//! The parts of a request's way, each alone: route match, token, limit, store, instance. See
//! `benches/README.md`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a bench, which ends by a panic"
)]

mod gate;
mod instance;
mod store;

fn main() {
    divan::main();
}
