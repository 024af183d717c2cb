//! Header fields that mean the same to everyone who passes messages on: to the gateway, and to what
//! sends requests of windows out.
//!
//! Names are compared as a careless reader might read them: every character but letters and digits
//! taken as `-`. CGI-like servers do not distinguish `x_hms_user`, `x.hms.user` and `x-hms-user`.

use crate::fields::members;
use http::header::{self, HeaderMap, HeaderName};

/// Correlates the client's request, the log and the upstream's request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// W3C Trace Context, section 3.2.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// RFC 9110 section 7.6.1: these are dropped, whether or not Connection names them.
pub static HOP_BY_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    // No upstream is the proxy that the client means.
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-authentication-info"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Whether the sender accepts trailers (`TE: trailers`).
pub fn takes_trailers(headers: &HeaderMap) -> bool {
    members(headers, &header::TE).any(|member| member.eq_ignore_ascii_case(b"trailers"))
}

/// Whether a careless reader could read the name as `known`, which is in lower case. Called for
/// every field of every request, so it allocates nothing.
pub fn reads_as(name: &HeaderName, known: &str) -> bool {
    name.as_str().len() == known.len() && begins_as(name, known)
}

/// The same for names that begin with `known`.
pub fn begins_as(name: &HeaderName, known: &str) -> bool {
    // Header names are in lower case already.
    let folded = name.as_str().bytes().map(|byte| match byte {
        b'a'..=b'z' | b'0'..=b'9' => byte,
        _ => b'-',
    });
    name.as_str().len() >= known.len() && folded.zip(known.bytes()).all(|(one, other)| one == other)
}

/// Whether a field of a request or of a trailer section claims an identity.
pub fn claims_identity(name: &HeaderName) -> bool {
    reads_as(name, "x-hms") || begins_as(name, "x-hms-")
}

/// Drops hop-by-hop fields.
pub fn drop_hop_by_hop(headers: &mut HeaderMap) {
    // A value that is not a name names no field.
    let named: Vec<HeaderName> = members(headers, &header::CONNECTION)
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Removes every field whose name `unwanted` selects.
pub fn drop_where(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| unwanted(name))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}
