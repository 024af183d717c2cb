//! Which header fields only the host sets, which end at each hop, and which say who asks: by their
//! names, in any spelling.
//!
//! Names are compared as a careless reader might read them: every character but letters and digits
//! taken as `-`. CGI-like servers do not distinguish `x_hms_user`, `x.hms.user` and `x-hms-user`.

use crate::fields::members;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// The verified user.
pub const USER: HeaderName = HeaderName::from_static("x-hms-user");
/// The user's scopes, separated by spaces.
pub const SCOPES: HeaderName = HeaderName::from_static("x-hms-scopes");
/// The window that calls, where a window does.
pub const WINDOW: HeaderName = HeaderName::from_static("x-hms-window");
/// The request's id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The request's place in its trace (W3C Trace Context).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What tracing systems add to that (W3C Trace Context).
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Where API keys may stand, ours and those of upstreams.
pub const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

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

/// Set only by the gateway. Includes `forwarded`, `x-forwarded` and `x-real-ip`, because an
/// upstream may trust them as well.
pub const OURS: [&str; 5] = [
    "forwarded",
    "x-forwarded",
    "x-real-ip",
    "x-request-id",
    "traceparent",
];

/// What other gateways tell an upstream: the subject of a client certificate (RFC 9440 and common
/// practice), who signed in, from which address. We use fields of our own, so from a client these
/// are unproven claims. Each name stands for all that begin with it, and is looked up by its first
/// letter, because every field of every request is checked.
pub const CLAIMS: [(u8, &[&str]); 6] = [
    (b'c', &["client-cert", "cf-access-", "cf-connecting-ip"]),
    (b'f', &["fastly-client-ip"]),
    (b'r', &["remote-user"]),
    (b's', &["ssl-client-"]),
    (b't', &["true-client-ip"]),
    (
        b'x',
        &[
            "x-client-cert",
            "x-ssl-client-",
            "x-remote-user",
            "x-auth-request-",
            "x-client-ip",
            "x-cluster-client-ip",
            "x-envoy-external-address",
            "x-original-forwarded-for",
            "x-goog-authenticated-user-",
            "x-goog-iap-jwt-assertion",
            "x-amzn-oidc-",
            "x-ms-client-principal",
            "x-consumer-",
        ],
    ),
];

/// Whether only the gateway sets this field for an upstream, in any spelling.
pub fn is_set_by_gateway(name: &HeaderName) -> bool {
    claims_identity(name)
        || begins_as(name, "x-forwarded-")
        || OURS.iter().any(|ours| reads_as(name, ours))
}

/// Whether another gateway would set this field, in any spelling.
pub fn is_claim(name: &HeaderName) -> bool {
    let first = name.as_str().bytes().next();
    CLAIMS
        .iter()
        .filter(|(letter, _)| first == Some(*letter))
        .any(|(_, known)| known.iter().any(|known| begins_as(name, known)))
}

/// Whether the sender accepts trailers (`TE: trailers`).
pub fn takes_trailers(headers: &HeaderMap) -> bool {
    members(headers, &header::TE).any(|member| member.eq_ignore_ascii_case(b"trailers"))
}

/// Whether a careless reader could read the name as `known`, which is in lower case. Called for
/// every field of every request, so it allocates nothing.
pub fn reads_as(name: &HeaderName, known: &str) -> bool {
    name.as_str().len() == known.len() && begins_as(name, known)
}

fn begins_as(name: &HeaderName, known: &str) -> bool {
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

/// Whether the field is `x-api-key`, in any spelling.
pub fn is_api_key(name: &HeaderName) -> bool {
    reads_as(name, API_KEY.as_str())
}

/// Whether the field is a credential.
pub fn is_credential(name: &HeaderName) -> bool {
    *name == header::AUTHORIZATION || is_api_key(name)
}

/// Fields that change how the message is read, or whom it is from. They must not occur in trailers
/// (RFC 9110 section 6.5.1).
static NO_TRAILERS: [HeaderName; 13] = [
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::EXPECT,
    header::HOST,
    header::LOCATION,
    header::MAX_FORWARDS,
    header::RANGE,
    header::SET_COOKIE,
    header::TRAILER,
];

/// Drops fields that must not occur in trailers, in either direction.
pub fn clean_trailers(trailers: &mut HeaderMap) {
    drop_where(trailers, is_no_trailer);
}

fn is_no_trailer(name: &HeaderName) -> bool {
    is_set_by_gateway(name)
        || is_claim(name)
        || is_credential(name)
        || HOP_BY_HOP.contains(name)
        || NO_TRAILERS.contains(name)
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

/// Leaves of the fields of an answer, or of its trailers, what is not for the host alone.
pub fn clean_answer(headers: &mut HeaderMap) {
    drop_hop_by_hop(headers);
    drop_where(headers, claims_identity);
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

/// Keeps the announced trailers that are allowed (RFC 9110 section 6.6.2).
pub fn clean_trailer_names(headers: &mut HeaderMap) {
    if !headers.contains_key(header::TRAILER) {
        return;
    }
    let names = members(headers, &header::TRAILER);
    let names = names.filter_map(|name| HeaderName::from_bytes(name).ok());
    let kept: Vec<HeaderName> = names.filter(|name| !is_no_trailer(name)).collect();
    headers.remove(header::TRAILER);
    if let Ok(names) = HeaderValue::from_str(
        &kept
            .iter()
            .map(HeaderName::as_str)
            .collect::<Vec<_>>()
            .join(", "),
    ) && !kept.is_empty()
    {
        headers.insert(header::TRAILER, names);
    }
}
