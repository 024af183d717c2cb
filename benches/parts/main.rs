//! The parts of a request's way, each alone: route match, token, limit, store, instance. See `benches/README.md`.

// The end-to-end tests use more of it than we do.
#[allow(dead_code, unused_imports)]
#[path = "../../tests/e2e/harness/mod.rs"]
mod harness;

mod gate;
mod instance;
mod store;

fn main() {
    divan::main();
}
