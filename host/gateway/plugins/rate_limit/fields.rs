//! What the client is told: draft-ietf-httpapi-ratelimit-headers-10.

use super::Verdict;
use http::header::{HeaderMap, HeaderName, HeaderValue};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

impl Verdict {
    /// Sets `RateLimit-Policy` (q: the limit, w: the period in seconds) and `RateLimit` (r: what is left, t: seconds
    /// until there is more, rounded up). An upstream's own fields of these names are replaced.
    pub fn tell(&self, headers: &mut HeaderMap) {
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
        set(POLICY, format!("\"default\";q={limit};w={period_s}"));
        set(LIMIT, format!("\"default\";r={left};t={reset_s}"));
    }
}
