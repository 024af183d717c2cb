//! The request target: parsed once, strictly, so that matching, auth and the upstream see the same
//! path.
//!
//! The rules, each of them a 400 where it is broken:
//!
//! - Methods CONNECT and TRACE are refused: this is no proxy, and nothing here echoes a request.
//! - origin-form (`/path?query`) as usual. absolute-form (`http://host/path`) is accepted as RFC
//!   9112 section 3.2.2 asks: scheme http or https, no user information; the authority must agree
//!   with Host. asterisk-form only with OPTIONS; no route matches it.
//! - Exactly one Host in HTTP/1.1, a valid authority without user information. HTTP/2 takes
//!   `:authority`.
//! - The path has no empty segment, no dot segment (encoded or with a `;parameter` either), no
//!   encoded slash or backslash, no raw backslash, no control byte in any form, no broken
//!   percent-encoding, only ASCII. A route may take empty segments and encoded slashes
//!   ([`Oddities`]); the others are refused always.
//! - The path is then put into its one form ([`hms_core::path`]). This form is matched **and**
//!   passed on.
//! - The query is passed on unchanged; it is ASCII without control bytes.

use crate::request::rejection::Rejection;
use hms_core::path::{ENCODED_SLASH, Oddities, read_path};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Method, Version, header};

/// A request target that follows the rules, except for oddities, on which its route decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    path: String,
    odd: Oddities,
    query: Option<String>,
    authority: Option<Authority>,
}

impl Target {
    /// Parses and checks method, target and Host. `max_bytes` bounds path and query together.
    pub fn read(parts: &Parts, max_bytes: usize) -> Result<Target, Rejection> {
        let uri = &parts.uri;
        if parts.method == Method::CONNECT || parts.method == Method::TRACE {
            return Err(bad("CONNECT and TRACE are not supported"));
        }
        match uri.scheme_str() {
            None if uri.authority().is_some() => {
                return Err(bad("the request target must begin with '/'"));
            }
            None | Some("http" | "https") => {}
            Some(_) => return Err(bad("the request target's scheme is neither http nor https")),
        }
        let length = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
        if length > max_bytes {
            return Err(Rejection::TargetTooLong { limit: max_bytes });
        }
        let (path, odd) = match uri.path() {
            "*" if parts.method == Method::OPTIONS => ("*".to_string(), Oddities::default()),
            raw => read_path(raw).map_err(bad)?,
        };
        if uri
            .query()
            .is_some_and(|query| !query.bytes().all(|b| b.is_ascii_graphic()))
        {
            return Err(bad("the query contains a byte that is not printable ASCII"));
        }
        Ok(Target {
            path,
            odd,
            query: uri.query().map(str::to_string),
            authority: authority(&parts.headers, uri.authority(), parts.version)?,
        })
    }

    /// The normalised path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Refuses oddities of the path that are not `allowed`.
    ///
    /// # Errors
    ///
    /// 400.
    pub fn admit(&self, allowed: Oddities) -> Result<(), Rejection> {
        self.odd.within(allowed).map_err(bad)
    }

    /// Other ways in which a service may read the path: encoded slashes as slashes, empty segments
    /// dropped, or both. Empty for a path with only one reading.
    pub fn other_readings(&self) -> Vec<String> {
        if self.odd == Oddities::default() {
            return Vec::new();
        }
        let decoded = self.path.replace(ENCODED_SLASH, "/");
        let mut readings: Vec<String> = Vec::new();
        for reading in [merged(&self.path), merged(&decoded), decoded] {
            if reading != self.path && !readings.contains(&reading) {
                readings.push(reading);
            }
        }
        readings
    }

    /// Without its `?`; none where the target has no `?`.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The host that the client addressed. Absent only in HTTP/1.0.
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }
}

fn bad(reason: &'static str) -> Rejection {
    Rejection::BadRequest(reason.into())
}

fn authority(
    headers: &HeaderMap,
    in_target: Option<&Authority>,
    version: Version,
) -> Result<Option<Authority>, Rejection> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(bad("the request has more than one Host header"));
    }
    let host = match host {
        Some(value) => Some(
            Authority::try_from(value.as_bytes())
                .map_err(|_| bad("the Host header is not a host name"))?,
        ),
        None if version == Version::HTTP_11 => return Err(bad("the Host header is missing")),
        None => None,
    };
    let found = match (in_target, host) {
        (Some(target), Some(host)) if *target != host => {
            return Err(bad(
                "the Host header and the request target name different hosts",
            ));
        }
        (Some(target), _) => Some(target.clone()),
        (None, host) => host,
    };
    match found {
        Some(authority) if authority.as_str().contains('@') => {
            Err(bad("user information before the host name is not accepted"))
        }
        None if version >= Version::HTTP_2 => Err(bad("the request has no host")),
        found => Ok(found),
    }
}

/// The path with each run of slashes collapsed into one.
fn merged(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !merged.ends_with('/') {
            merged.push(c);
        }
    }
    merged
}

#[cfg(test)]
mod tests;
