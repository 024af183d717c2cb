//! Ids that sort by time, and the clock.

use std::time::Duration;
use uuid::{Builder, Uuid};

/// A new UUID, version 7 (RFC 9562). Its text sorts by the millisecond of its creation, so a store
/// with such keys lists them chronologically.
pub fn new_id() -> String {
    let mut bits = [0; 10];
    for (bit, random) in bits
        .iter_mut()
        .zip(wasip3::random::random::get_random_bytes(10))
    {
        *bit = random;
    }
    Builder::from_unix_timestamp_millis(now_ms(), &bits)
        .into_uuid()
        .to_string()
}

/// When an id of [`new_id`] was created, in milliseconds since 1970; `None` for any other text.
pub fn id_time_ms(id: &str) -> Option<u64> {
    let (seconds, nanoseconds) = Uuid::try_parse(id).ok()?.get_timestamp()?.to_unix();
    Some(seconds * 1000 + u64::from(nanoseconds) / 1_000_000)
}

/// The time, in milliseconds since 1970.
pub fn now_ms() -> u64 {
    let now = wasip3::clocks::system_clock::now();
    u64::try_from(now.seconds).unwrap_or(0) * 1000 + u64::from(now.nanoseconds) / 1_000_000
}

/// Waits. This time counts as the instance's wall time.
pub async fn sleep_ms(ms: u64) {
    let wait = Duration::from_millis(ms).as_nanos();
    wasip3::clocks::monotonic_clock::wait_for(u64::try_from(wait).unwrap_or(u64::MAX)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_contains_its_creation_time() {
        let id = Builder::from_unix_timestamp_millis(1_700_000_000_123, &[7; 10])
            .into_uuid()
            .to_string();
        assert_eq!(id_time_ms(&id), Some(1_700_000_000_123));
    }

    #[test]
    fn text_that_is_no_id_has_no_time() {
        assert_eq!(id_time_ms("payments"), None);
        assert_eq!(id_time_ms("2f0c1d6e-8a3b-4c5d-9e7f-0123456789ab"), None);
    }
}
