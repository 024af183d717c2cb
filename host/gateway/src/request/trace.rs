//! The two identifiers of a request: its request id, for people, and its `traceparent`, for tracing
//! systems.

use crate::request::fields::only;
use crate::request::headers::{REQUEST_ID, TRACEPARENT};
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
        let span = Uuid::new_v4().as_u64_pair().1;
        let traceparent = match text(TRACEPARENT).and_then(parse) {
            Some((trace_id, flags)) => format!("00-{trace_id}-{span:016x}-{flags}"),
            None => format!("00-{}-{span:016x}-01", Uuid::new_v4().simple()),
        };
        Trace {
            request_id,
            traceparent,
        }
    }
}

/// Trace id and flags of a valid `traceparent`. Of an unknown version, the known part is used.
fn parse(value: &str) -> Option<(&str, &str)> {
    let mut parts = value.split('-');
    let (version, trace, parent, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, length| {
        text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_zero = |text: &str| text.bytes().all(|b| b == b'0');
    let valid = is_hex(version, 2)
        && version != "ff"
        && (version != "00" || parts.next().is_none())
        && is_hex(trace, 32)
        && !is_zero(trace)
        && is_hex(parent, 16)
        && !is_zero(parent)
        && is_hex(flags, 2);
    valid.then_some((trace, flags))
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

    #[test]
    fn valid_trace_continues_under_a_new_parent() {
        let inbound = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = read("traceparent", inbound).traceparent;
        assert!(
            trace.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && trace.ends_with("-01")
        );
        assert_ne!(trace, inbound);
        assert!(parse(&trace).is_some());
    }

    #[test]
    fn malformed_trace_is_not_continued() {
        for bad in [
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "nonsense",
        ] {
            let trace = read("traceparent", bad).traceparent;
            assert!(
                !trace.contains("4bf92f3577b34da6") && parse(&trace).is_some(),
                "{bad}"
            );
        }
    }
}
