//! The response fields of draft-ietf-httpapi-ratelimit-headers-10.

use super::Decision;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use std::fmt::Write;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

impl Decision {
    /// Sets `RateLimit-Policy` (q: the limit, w: the period in seconds) and `RateLimit` (r: what is
    /// left, t: seconds until there is more, rounded up). Replaces an upstream's own fields of
    /// these names.
    pub fn write(&self, headers: &mut HeaderMap) {
        let (limit, period_s) = (self.rule.limit, self.rule.period.as_secs());
        let (left, reset_s) = (
            self.reading.remaining,
            self.reading.reset.as_millis().div_ceil(1000),
        );
        let mut set = |name, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        let mut policy = format!("\"default\";q={limit};w={period_s}");
        let mut now = format!("\"default\";r={left};t={reset_s}");
        if let (Some(burst), Some(left)) = (self.rule.burst, self.burst_left) {
            let refill_s = (burst * period_s).div_ceil(limit);
            // Writing to a String cannot fail.
            let _ = write!(policy, ", \"burst\";q={burst};w={refill_s}");
            let _ = write!(now, ", \"burst\";r={left}");
        }
        set(POLICY, policy);
        set(LIMIT, now);
    }
}
