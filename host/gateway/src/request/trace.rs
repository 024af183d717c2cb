//! The two identifiers of a request: its request id, for people, and its `traceparent`, for tracing
//! systems.

use crate::request::headers::{REQUEST_ID, TRACEPARENT};
use hms_core::fields::only;
use http::header::{HeaderMap, HeaderName};
use uuid::Uuid;

/// A request id longer than this is replaced: it is repeated in every log line.
const MAX_REQUEST_ID: usize = 128;

/// Both identifiers, ready to be sent to the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The client's `x-request-id` if it has 1 to 128 characters of `[A-Za-z0-9._-]`, so that its
    /// logs and ours can be joined; otherwise a new UUID. It proves nothing and decides nothing.
    pub request_id: String,
    /// W3C Trace Context, version 00: the client's trace with a new parent id, or a new trace.
    pub traceparent: String,
}

impl Trace {
    /// Takes over the client's request id and trace where they are valid, and else makes new ones.
    pub fn read(headers: &HeaderMap) -> Trace {
        // An invalid value is replaced.
        let text = |name: HeaderName| only(headers, &name)?.to_str().ok();
        let request_id = text(REQUEST_ID)
            .filter(|id| (1..=MAX_REQUEST_ID).contains(&id.len()))
            .filter(|id| {
                id.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            })
            .map_or_else(|| Uuid::new_v4().to_string(), str::to_string);
        let traceparent = hms_core::trace::child_of(text(TRACEPARENT));
        Trace {
            request_id,
            traceparent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &'static str, value: &str) -> Trace {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        Trace::read(&headers)
    }

    #[test]
    fn well_formed_request_id_is_kept_and_any_other_replaced() {
        assert_eq!(read("x-request-id", "abc-1.2_3").request_id, "abc-1.2_3");
        for bad in ["", "a b", "a\"b", &"x".repeat(129)] {
            let id = read("x-request-id", bad).request_id;
            assert!(Uuid::parse_str(&id).is_ok(), "{bad} became {id}");
        }
    }
}
