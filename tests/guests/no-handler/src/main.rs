//! A component that is no window: a command, which exports `wasi:cli/run` and no HTTP handler. It
//! must be refused, with the name of the export that is missing.

fn main() {
    println!("a command, not a window");
}
