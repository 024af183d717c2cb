//! What the gateway tells an upstream about a request.

use super::caller::Caller;
use super::headers::{
    FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PORT, FORWARDED_PREFIX, FORWARDED_PROTO, REQUEST_ID,
    SCOPES, TRACEPARENT, USER,
};
use super::origin::{Asked, Origin};
use super::target::Target;
use super::trace::Trace;
use crate::request::rejection::Rejection;
use hms_core::trace::TraceContext;
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// What the upstream learns about the path of this request.
pub struct Passage<'a> {
    /// The target as the upstream gets it.
    pub target: &'a Target,
    /// Who the client is, and how it connected.
    pub origin: Origin,
    /// What a trusted proxy says of the address that the client asked for.
    pub asked: &'a Asked,
    /// The prefix cut off the path, or empty.
    pub stripped: &'a str,
    /// The request id and the trace.
    pub trace: &'a Trace,
    /// The span that the upstream is below.
    pub context: TraceContext,
    /// The caller, if the route has `auth`.
    pub caller: Option<&'a Caller>,
}

/// Sets the gateway's own fields on headers that [`clean_request`] has cleaned.
///
/// A value that cannot be a header is refused, not changed: it comes from the caller's token or the
/// path.
///
/// [`clean_request`]: super::headers::clean_request
pub fn stamp(headers: &mut HeaderMap, passage: &Passage<'_>) -> Result<(), Rejection> {
    passage.trace.clean(headers);
    let mut set = |name: HeaderName, value: &str| -> Result<(), Rejection> {
        let value = HeaderValue::from_str(value).map_err(|_| {
            Rejection::BadRequest(
                "the caller's name or the path contains a character that no header can carry"
                    .into(),
            )
        })?;
        headers.insert(name, value);
        Ok(())
    };
    if let Some(caller) = passage.caller {
        set(USER, &caller.user)?;
        set(SCOPES, &caller.scopes.join(" "))?;
    }
    set(REQUEST_ID, &passage.trace.request_id)?;
    set(TRACEPARENT, &passage.context.to_string())?;
    set(FORWARDED_FOR, &passage.origin.client.to_string())?;
    set(FORWARDED_PROTO, passage.origin.scheme())?;
    if let Some(authority) = passage.target.authority()
        && passage.asked.host.is_none()
    {
        set(FORWARDED_HOST, authority.as_str())?;
    }
    if !passage.stripped.is_empty() {
        set(FORWARDED_PREFIX, passage.stripped)?;
    }
    if let Some(host) = &passage.asked.host {
        headers.insert(FORWARDED_HOST, host.clone());
    }
    if let Some(port) = &passage.asked.port {
        headers.insert(FORWARDED_PORT, port.clone());
    }
    Ok(())
}
