//! Which header fields may pass from the client to an upstream and back, and which the gateway sets
//! itself.
//!
//! Inbound names are compared as a careless upstream might read them: case folded, and every
//! character but letters and digits taken as `-`. CGI-like servers do not distinguish `X_HMS_User`,
//! `x.hms.user` and `x-hms-user`. What belongs to the gateway is dropped in all these spellings,
//! then set anew.

use crate::request::rejection::Rejection;
use hms_core::fields::only;
pub use hms_core::headers::{
    API_KEY, REQUEST_ID, SCOPES, TRACEPARENT, TRACESTATE, USER, claims_identity, clean_trailers,
    drop_hop_by_hop, drop_where, is_api_key, is_credential, takes_trailers,
};
use hms_core::headers::{
    HOP_BY_HOP, clean_answer, clean_trailer_names, is_claim, is_set_by_gateway, reads_as,
};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;

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

/// Cache directives for the gateway alone (RFC 9213).
pub const HMS_CACHE_CONTROL: HeaderName = HeaderName::from_static("hms-cache-control");

/// Prefixes of the host's own cookies. They are only for its own pages, to which no route leads.
/// `hms_admin_` is that of the dashboard: browsers send it here too, since cookies ignore ports.
const OWN_COOKIES: [&[u8]; 4] = [b"hms-", b"__host-hms-", b"__secure-hms-", b"hms_admin_"];

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
        is_claim(name) || (is_set_by_gateway(name) && !keep.contains(name))
    });
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
    is_set_by_gateway(name)
        || HOP_BY_HOP.iter().any(|ours| reads_as(name, ours.as_str()))
        || [header::TRAILER, header::EXPECT].contains(name)
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

/// Drops from an upstream's answer hop-by-hop fields and what is for the gateway alone, and adds
/// the request id.
pub fn clean_response(headers: &mut HeaderMap, request_id: &str) {
    clean_answer(headers);
    headers.remove(HMS_CACHE_CONTROL);
    drop_own_cookies(headers);
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, value);
    }
}

#[cfg(test)]
mod tests;
