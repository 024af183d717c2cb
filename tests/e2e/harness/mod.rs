//! Hosts, components and HTTP for the tests.

pub mod guests;
pub mod host;
pub mod hostile;
pub mod http;
pub mod load;
pub mod marked;
pub mod process;
pub mod rest;
pub mod surgery;

pub use guests::{guest, window};
pub use host::{Host, Options};
pub use http::Answer;

use std::time::{Duration, Instant};

/// The longest that any single expected thing may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` gives a value.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    condition: impl Fn() -> F,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "it did not happen: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
