//! The two identifiers of a request: its request id, for people, and its place in a trace, for
//! tracing systems.

use crate::request::headers::{REQUEST_ID, TRACEPARENT, TRACESTATE};
use hms_core::fields::only;
use hms_core::trace::{SpanLog, TraceContext};
use hms_telemetry::trace::{Inbound, Tracer};
use http::header::{HeaderMap, HeaderName};
use std::sync::Arc;
use uuid::Uuid;

/// A request id longer than this is replaced: it is repeated in every log line.
const MAX_REQUEST_ID: usize = 128;

/// Both identifiers, ready to be sent to the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The client's `x-request-id` if it has 1 to 128 characters of `[A-Za-z0-9._-]`, so that its
    /// logs and ours can be joined; otherwise a new UUID. It proves nothing and decides nothing.
    pub request_id: String,
    /// Below that of a trusted proxy, or a new trace: whoever else could name the trace could have
    /// everything recorded, and join foreign requests to its own.
    pub context: TraceContext,
    /// Whether it goes on with a trusted proxy's trace.
    continues: bool,
}

impl Trace {
    /// Takes over the client's request id, and the trace if it comes from a proxy that is
    /// `trusted`, where they are valid. Otherwise makes new ones. Begins the record of the request.
    pub fn read(headers: &HeaderMap, trusted: bool, tracer: &Tracer) -> (Trace, Arc<SpanLog>) {
        // An invalid value is replaced.
        let text = |name: HeaderName| only(headers, &name)?.to_str().ok();
        let request_id = text(REQUEST_ID)
            .filter(|id| (1..=MAX_REQUEST_ID).contains(&id.len()))
            .filter(|id| {
                id.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            })
            .map_or_else(|| Uuid::new_v4().to_string(), str::to_string);
        let inbound = text(TRACEPARENT).and_then(TraceContext::parse);
        let spans = tracer.begin(inbound.map(|context| Inbound { context, trusted }));
        let start = spans.start();
        let trace = Trace {
            request_id,
            context: start.context,
            continues: start.parent.is_some(),
        };
        (trace, spans)
    }

    /// Removes what belongs to a trace that does not go on here.
    pub fn clean(&self, headers: &mut HeaderMap) {
        if !self.continues {
            headers.remove(TRACESTATE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers.insert("tracestate", "vendor=1".parse().unwrap());
        headers
    }

    fn read(headers: &HeaderMap, trusted: bool) -> Trace {
        Trace::read(headers, trusted, &Tracer::default()).0
    }

    #[test]
    fn well_formed_request_id_is_kept_and_any_other_replaced() {
        let id = |value: &str| read(&headers("x-request-id", value), false).request_id;
        assert_eq!(id("abc-1.2_3"), "abc-1.2_3");
        for bad in ["", "a b", "a\"b", &"x".repeat(129)] {
            let id = id(bad);
            assert!(Uuid::parse_str(&id).is_ok(), "{bad} became {id}");
        }
    }

    #[test]
    fn trace_state_stays_only_with_the_trace_of_a_trusted_proxy() {
        for (name, value, trusted, kept) in [
            ("traceparent", TRACE, true, true),
            ("traceparent", TRACE, false, false),
            ("traceparent", "nonsense", true, false),
            ("x-other", "1", true, false),
        ] {
            let mut headers = headers(name, value);
            let trace = read(&headers, trusted);
            trace.clean(&mut headers);
            assert_eq!(headers.contains_key("tracestate"), kept, "{name}: {value}");
            assert_eq!(trace.context.sampled, kept, "{name}: {value}");
            let same = trace.context.to_string().starts_with(&TRACE[..36]);
            assert_eq!(same, kept, "{name}: {value}");
        }
    }
}
