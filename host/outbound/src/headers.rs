//! The head of a request on its way out: what the host says itself, whatever the guest says.

use hms_core::fields::members;
use hms_core::headers::{
    HOP_BY_HOP, REQUEST_ID, TRACEPARENT, claims_identity, drop_hop_by_hop, drop_where, reads_as,
    takes_trailers,
};
use hms_core::outgoing::OnBehalf;
use hms_core::trace::{self, Span};
use hms_grants::Inject;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// What the host says of a request, beside what ends at it.
static HOSTS_OWN: [HeaderName; 5] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::EXPECT,
    REQUEST_ID,
    TRACEPARENT,
];

/// What the fields of a request say that is for the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Said {
    /// The guest takes trailers.
    pub(crate) trailers: bool,
    /// How long the body is, where its fields and itself agree.
    pub(crate) length: Option<u64>,
}

/// Leaves the fields that may leave. `exact` is the length of the body, where that is known.
pub(crate) fn clean(headers: &mut HeaderMap, exact: Option<u64>) -> Said {
    let said = Said {
        trailers: takes_trailers(headers),
        length: length(headers, exact),
    };
    drop_hop_by_hop(headers);
    drop_where(headers, is_hosts_own);
    // One whose length is known has it from its body.
    if let (Some(length), None) = (said.length, exact) {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    said
}

/// Names the request: the request that it is made for, and its `span` of that one's trace; where
/// that is noted nowhere, a new one.
pub(crate) fn name(headers: &mut HeaderMap, from: &OnBehalf, span: &Span) {
    if let Some(id) = &from.request_id {
        headers.insert(REQUEST_ID, id.clone());
    }
    let noted = span.spans().context().map(|context| context.to_string());
    let below = noted.unwrap_or_else(|| {
        let above = from.traceparent.as_ref();
        trace::child_of(above.and_then(|value| value.to_str().ok()))
    });
    if let Ok(value) = HeaderValue::try_from(below) {
        headers.insert(TRACEPARENT, value);
    }
}

/// Leaves the trailers of a request that may leave. What the host injects into its head is said
/// nowhere else.
pub(crate) fn clean_trailers(trailers: &mut HeaderMap, inject: &[Inject]) {
    hms_core::headers::clean_trailers(trailers);
    drop_where(trailers, |name| {
        is_hosts_own(name) || inject.iter().any(|own| own.reads_as(name))
    });
}

/// In whatever spelling a service might take for it.
fn is_hosts_own(name: &HeaderName) -> bool {
    let known = HOP_BY_HOP.iter().chain(&HOSTS_OWN);
    claims_identity(name) || known.into_iter().any(|own| reads_as(name, own.as_str()))
}

/// The one length that all lines name, if the body can have it.
fn length(headers: &HeaderMap, exact: Option<u64>) -> Option<u64> {
    if exact.is_some() {
        return exact;
    }
    let mut named = members(headers, &header::CONTENT_LENGTH).map(number);
    let first = named.next()??;
    named.all(|other| other == Some(first)).then_some(first)
}

fn number(digits: &[u8]) -> Option<u64> {
    // A sign is none of HTTP's.
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| plain)?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hms_core::trace::SpanKind;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn fields_of_the_host_and_of_the_connection_do_not_leave() {
        let mut sent = headers(&[
            ("host", "evil.example"),
            ("host", "other.example"),
            ("h_o_s_t", "kept"),
            ("connection", "close, x-named"),
            ("x-named", "1"),
            ("transfer-encoding", "chunked"),
            ("transfer_encoding", "chunked"),
            ("content_length", "3"),
            ("te", "trailers, gzip"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic x"),
            ("expect", "100-continue"),
            ("x-hms-user", "mallory"),
            ("x_hms_scopes", "all"),
            ("x-request-id", "forged"),
            ("x_request_id", "forged"),
            ("traceparent", "forged"),
            ("accept", "*/*"),
        ]);
        let said = clean(&mut sent, None);
        assert_eq!((said.trailers, said.length), (true, None));
        let mut left: Vec<&str> = sent.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "h_o_s_t"]);
    }

    #[test]
    fn length_of_a_body_is_kept_where_all_agree() {
        for (lines, exact, length, sent) in [
            (&["3"][..], None, Some(3), Some("3")),
            (&["3", "3"], None, Some(3), Some("3")),
            (&["3, 3"], None, Some(3), Some("3")),
            (&["3", "4"], None, None, None),
            (&["+3"], None, None, None),
            (&[""], None, None, None),
            (&["99999999999999999999"], None, None, None),
            (&["9"], Some(3), Some(3), None),
            (&[], Some(0), Some(0), None),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::CONTENT_LENGTH, line.parse().unwrap());
            }
            assert_eq!(clean(&mut headers, exact).length, length, "{lines:?}");
            let kept = headers.get(header::CONTENT_LENGTH);
            assert_eq!(
                kept.and_then(|value| value.to_str().ok()),
                sent,
                "{lines:?}"
            );
        }
    }

    #[test]
    fn request_goes_on_under_its_id_and_in_its_trace() {
        let from = OnBehalf {
            request_id: Some("abc".parse().unwrap()),
            traceparent: Some(
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
                    .parse()
                    .unwrap(),
            ),
            ..crate::tests::on_behalf("payments")
        };
        let mut sent = headers(&[("x-request-id", "other")]);
        let span = from.spans.begin(SpanKind::Call);
        name(&mut sent, &from, &span);
        assert_eq!(sent[REQUEST_ID], "abc");
        let trace = sent[TRACEPARENT].to_str().unwrap();
        assert!(
            trace.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"),
            "{trace}"
        );
        assert!(!trace.contains("00f067aa0ba902b7"), "{trace}");
    }

    #[test]
    fn trailers_say_nothing_of_who_asks_or_how_a_message_is_read() {
        let mut trailers = headers(&[
            ("x-hms-user", "mallory"),
            ("content-length", "3"),
            ("transfer-encoding", "chunked"),
            ("authorization", "Bearer x"),
            ("x_key", "guessed"),
            ("x-sum", "1"),
        ]);
        let inject = Inject {
            header: HeaderName::from_static("x-key"),
            parts: Vec::new(),
        };
        clean_trailers(&mut trailers, &[inject]);
        assert_eq!(trailers, headers(&[("x-sum", "1")]));
    }
}
