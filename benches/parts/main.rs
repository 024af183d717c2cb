//! The parts of a request's way, each alone: route match, token, limit, store, instance. See `benches/README.md`.

mod gate;
mod instance;
mod store;

fn main() {
    divan::main();
}
