//! Which header fields may pass from the client to an upstream and back, and which the gateway sets
//! itself.
//!
//! Inbound names are compared as a careless upstream might read them: case folded, and every
//! character but letters and digits taken as `-`. CGI-like servers do not distinguish `X_HMS_User`,
//! `x.hms.user` and `x-hms-user`. What belongs to the gateway is dropped in all these spellings,
//! then set anew.

use crate::request::rejection::Rejection;
use hms_core::fields::{members, only};
use hms_core::headers::{HOP_BY_HOP, begins_as, reads_as};
pub use hms_core::headers::{
    REQUEST_ID, TRACEPARENT, claims_identity, drop_hop_by_hop, drop_where, takes_trailers,
};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;

/// The caller's name, set only by the gateway.
pub const USER: HeaderName = HeaderName::from_static("x-hms-user");
/// The caller's scopes, separated by spaces, set only by the gateway.
pub const SCOPES: HeaderName = HeaderName::from_static("x-hms-scopes");
/// Where API keys may be sent, both ours and those of upstreams.
pub const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// The addresses of the client and of the proxies, oldest first.
pub const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The host that the client asked for.
pub const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The port that the client connected to.
pub const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// `http` or `https`, as the client connected.
pub const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The part of the path that the gateway cut off.
pub const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Set only by the gateway. Includes `forwarded`, `x-forwarded` and `x-real-ip`, because an
/// upstream may trust them as well.
const OURS: [&str; 5] = [
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
const CLAIMS: [(u8, &[&str]); 6] = [
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

/// Prefixes of the host's own cookies. They are only for its own pages, to which no route leads.
const OWN_COOKIES: [&[u8]; 3] = [b"hms-", b"__host-hms-", b"__secure-hms-"];

/// Refuses a head whose framing or size breaks the rules. hyper has checked what it parsed. This
/// applies the same number of fields to HTTP/2, and allows Transfer-Encoding only the one supported
/// coding.
pub fn check(parts: &Parts, max_headers: usize) -> Result<(), Rejection> {
    if parts.headers.len() > max_headers {
        return Err(Rejection::TooManyHeaders { limit: max_headers });
    }
    let mut codings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if !chunked || codings.next().is_some() {
            return Err(Rejection::BadRequest(
                "Transfer-Encoding must be 'chunked', exactly once".into(),
            ));
        }
        if parts.headers.contains_key(header::CONTENT_LENGTH) {
            return Err(Rejection::BadRequest(
                "the request has both Content-Length and Transfer-Encoding".into(),
            ));
        }
    }
    Ok(())
}

/// Drops hop-by-hop fields and those that only the gateway may set.
pub fn clean_request(headers: &mut HeaderMap) {
    drop_hop_by_hop(headers);
    clean_trailer_names(headers);
    // hyper has answered the expectation.
    headers.remove(header::EXPECT);
    clean_cookies(headers);
    // A broken or forged trace is not continued.
    let keep: Vec<HeaderName> = [REQUEST_ID, TRACEPARENT]
        .into_iter()
        .filter(|name| only(headers, name).is_some())
        .collect();
    drop_where(headers, |name| {
        is_claim(name) || (is_told(name) && !keep.contains(name))
    });
}

/// Keeps the announced trailers that are allowed (RFC 9110 section 6.6.2).
fn clean_trailer_names(headers: &mut HeaderMap) {
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

/// Joins all cookies into one field, without the host's own. HTTP/2 may split the field; the next
/// reader expects one (RFC 9113 section 8.2.3).
fn clean_cookies(headers: &mut HeaderMap) {
    let lines = headers.get_all(header::COOKIE);
    let cookies = || {
        let lines = lines.iter();
        lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
    };
    if lines.iter().nth(1).is_none() && !cookies().any(is_own_cookie) {
        return;
    }
    let kept: Vec<&[u8]> = cookies()
        .filter(|cookie| !is_own_cookie(cookie))
        .map(<[u8]>::trim_ascii)
        .collect();
    match HeaderValue::from_bytes(&kept.join(b"; ".as_slice())) {
        Ok(whole) if !kept.is_empty() => drop(headers.insert(header::COOKIE, whole)),
        _ => drop(headers.remove(header::COOKIE)),
    }
}

/// Browsers compare the prefixes of names without regard to case.
fn is_own_cookie(cookie: &[u8]) -> bool {
    let cookie = cookie.trim_ascii_start();
    OWN_COOKIES.iter().any(|own| {
        let front = cookie.get(..own.len());
        front.is_some_and(|front| front.eq_ignore_ascii_case(own))
    })
}

/// Drops cookies of an upstream that have the name of the host's own.
fn drop_own_cookies(headers: &mut HeaderMap) {
    let all = headers.get_all(header::SET_COOKIE);
    if !all.iter().any(|cookie| is_own_cookie(cookie.as_bytes())) {
        return;
    }
    let kept: Vec<HeaderValue> = all
        .iter()
        .filter(|cookie| !is_own_cookie(cookie.as_bytes()))
        .cloned()
        .collect();
    headers.remove(header::SET_COOKIE);
    for cookie in kept {
        headers.append(header::SET_COOKIE, cookie);
    }
}

/// Whether only the gateway sets or reads this field, in any spelling.
pub fn is_ours(name: &HeaderName) -> bool {
    is_told(name)
        || HOP_BY_HOP.iter().any(|ours| reads_as(name, ours.as_str()))
        || [header::TRAILER, header::EXPECT].contains(name)
}

/// Whether only the gateway sets this field for an upstream, in any spelling.
fn is_told(name: &HeaderName) -> bool {
    claims_identity(name)
        || begins_as(name, "x-forwarded-")
        || OURS.iter().any(|ours| reads_as(name, ours))
}

/// Whether another gateway would set this field, in any spelling.
fn is_claim(name: &HeaderName) -> bool {
    let first = name.as_str().bytes().next();
    CLAIMS
        .iter()
        .filter(|(letter, _)| first == Some(*letter))
        .any(|(_, known)| known.iter().any(|known| begins_as(name, known)))
}

/// Whether the field is `x-api-key`, in any spelling.
pub fn is_api_key(name: &HeaderName) -> bool {
    reads_as(name, API_KEY.as_str())
}

fn is_credential(name: &HeaderName) -> bool {
    *name == header::AUTHORIZATION || is_api_key(name)
}

/// Whether the field tells an upstream who asks: a credential, or cookies.
pub fn may_say_who(name: &HeaderName) -> bool {
    is_credential(name) || *name == header::COOKIE
}

/// The credentials and cookies of a request.
pub fn credentials(headers: &HeaderMap) -> HeaderMap {
    let shown = headers.iter().filter(|(name, _)| is_credential(name));
    let mut credentials = HeaderMap::new();
    for (name, value) in shown {
        credentials.append(name, value.clone());
    }
    credentials
}

/// Removes the credentials and cookies of a request.
pub fn drop_credentials(headers: &mut HeaderMap) {
    drop_where(headers, is_credential);
}

/// Sets the fields that [`credentials`] found, replacing other values of the same fields.
pub fn give_back(headers: &mut HeaderMap, credentials: &HeaderMap) {
    for name in credentials.keys() {
        headers.remove(name);
    }
    for (name, value) in credentials {
        headers.append(name, value.clone());
    }
}

/// Drops hop-by-hop fields from an upstream's answer, and adds the request id.
pub fn clean_response(headers: &mut HeaderMap, request_id: &str) {
    drop_hop_by_hop(headers);
    drop_where(headers, claims_identity);
    drop_own_cookies(headers);
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, value);
    }
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
    is_told(name)
        || is_claim(name)
        || is_credential(name)
        || HOP_BY_HOP.contains(name)
        || NO_TRAILERS.contains(name)
}

#[cfg(test)]
mod tests;
