//! Maps the locations in an answer into the paths that clients see.
//!
//! The upstream sees its paths without the prefix that the route strips, and below the path of its
//! URL. So the `Location`, `Content-Location` and cookies in its answers lead a client to a wrong
//! place. They are mapped back, like `ProxyPassReverse` in other gateways. docs/routes.md has the
//! rules.
//!
//! A rewritten reference is a path that begins with one slash, or an absolute URL of which only the
//! path has changed: so what leads to this host before does not lead to another one after. What a
//! browser could read differently than this code (backslashes, blanks, `//host`) is left unchanged.

use crate::request::origin::Asked;
use crate::request::target::Target;
use crate::routes::manifest::{Destination, Route};
use hms_core::fields::only;
use hms_net::client::Protocol;
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::Authority;

/// Browsers refuse cookies whose names begin so unless their path is `/`.
const HOST_COOKIE: &[u8] = b"__host-";

/// Rewrites the fields of an answer from the route's upstream, or from a middleware.
pub(crate) fn rewrite(headers: &mut HeaderMap, route: &Route, target: &Target, asked: &Asked) {
    if !route.rewrite_location {
        return;
    }
    let there = |name| headers.contains_key(name);
    if !there(header::LOCATION) && !there(header::CONTENT_LOCATION) && !there(header::SET_COOKIE) {
        return;
    }
    let told = asked.host.as_ref();
    let told = told.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let view = View {
        route,
        asked: [target.authority(), told.as_ref()],
    };
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        if let Some(new) = only(headers, &name).and_then(|value| view.reference(value)) {
            headers.insert(name, new);
        }
    }
    let cookies = headers.get_all(header::SET_COOKIE).iter();
    let rewritten: Vec<Option<HeaderValue>> = cookies.map(|cookie| view.cookie(cookie)).collect();
    if rewritten.iter().any(Option::is_some) {
        let old: Vec<HeaderValue> = headers
            .get_all(header::SET_COOKIE)
            .iter()
            .cloned()
            .collect();
        headers.remove(header::SET_COOKIE);
        for (new, old) in rewritten.into_iter().zip(old) {
            headers.append(header::SET_COOKIE, new.unwrap_or(old));
        }
    }
}

/// How the client sees the route's upstream.
struct View<'a> {
    route: &'a Route,
    /// The authorities that the client asked for: in `Host`, and according to a trusted proxy.
    asked: [Option<&'a Authority>; 2],
}

/// A path of the upstream, as seen by the client.
enum Mapped {
    To(String),
    /// It begins with the stripped prefix, which the upstream knows (`X-Forwarded-Prefix`).
    Already,
    /// No path of the client leads there.
    Nowhere,
}

impl View<'_> {
    /// The new value of `Location` or `Content-Location`, if it changes.
    fn reference(&self, value: &HeaderValue) -> Option<HeaderValue> {
        let text = std::str::from_utf8(value.as_bytes()).ok()?;
        if !is_plain(text.as_bytes()) || text.starts_with("//") {
            return None;
        }
        let new = if text.starts_with('/') {
            match self.path(text) {
                Mapped::To(path) => path,
                Mapped::Already | Mapped::Nowhere => return None,
            }
        } else {
            self.url(text)?
        };
        HeaderValue::try_from(new).ok()
    }

    /// The new reference for an absolute URL.
    fn url(&self, text: &str) -> Option<String> {
        let (scheme, rest) = text.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return None;
        }
        let authority = authority.parse::<Authority>().ok()?;
        let path = match path.starts_with('/') {
            true => path.to_string(),
            false => format!("/{path}"),
        };
        if self.is_own(scheme, &authority) {
            return match self.path(&path) {
                Mapped::To(mapped) => Some(mapped),
                Mapped::Already => Some(path),
                Mapped::Nowhere => None,
            };
        }
        if !self.is_asked(scheme, &authority) {
            return None;
        }
        match self.path(&path) {
            Mapped::To(mapped) => Some(format!("{scheme}://{authority}{mapped}")),
            Mapped::Already | Mapped::Nowhere => None,
        }
    }

    /// Whether a URL is one of the upstream's own, according to the manifest.
    fn is_own(&self, scheme: &str, authority: &Authority) -> bool {
        let endpoints = self.route.upstream.endpoints.iter();
        endpoints
            .map(|endpoint| &endpoint.place)
            .any(|place| match place {
                Destination::Window(_) => {
                    scheme.eq_ignore_ascii_case("http") && is_host_of(place, authority.host())
                }
                Destination::Service {
                    protocol,
                    authority: own,
                } => {
                    scheme.eq_ignore_ascii_case(protocol.scheme().as_str())
                        && is_host_of(place, authority.host())
                        && port(authority, *protocol) == port(own, *protocol)
                }
            })
    }

    /// Whether a URL names the host that the client asked for, if the upstream saw it in `Host`.
    fn is_asked(&self, scheme: &str, authority: &Authority) -> bool {
        let route = self.route;
        let sees_it = route.pass_host
            || !route.rules.middlewares().is_empty()
            || !route
                .upstream
                .endpoints
                .iter()
                .all(|endpoint| matches!(endpoint.place, Destination::Service { .. }));
        let is_http = ["http", "https"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known));
        let usual = |authority: &Authority| {
            authority
                .port_u16()
                .filter(|port| ![80, 443].contains(port))
        };
        sees_it
            && is_http
            && self.asked.iter().flatten().any(|asked| {
                asked.host().eq_ignore_ascii_case(authority.host())
                    && usual(asked) == usual(authority)
            })
    }

    /// An absolute path of the upstream, with what follows it, as seen by the client.
    fn path(&self, path: &str) -> Mapped {
        let (strip, base) = (&self.route.strip, &self.route.upstream.base);
        if !strip.is_empty() && below(path, strip).is_some() {
            return Mapped::Already;
        }
        let Some(rest) = below(path, base) else {
            return Mapped::Nowhere;
        };
        let slash = if strip.is_empty() && !rest.starts_with('/') {
            "/"
        } else {
            ""
        };
        let mapped = format!("{strip}{slash}{rest}");
        // The result would name another host.
        match mapped.starts_with("//") {
            true => Mapped::Nowhere,
            false => Mapped::To(mapped),
        }
    }

    /// The new value of `Set-Cookie`, if it changes.
    fn cookie(&self, cookie: &HeaderValue) -> Option<HeaderValue> {
        let bytes = cookie.as_bytes();
        let name = bytes.trim_ascii_start().get(..HOST_COOKIE.len());
        if name.is_some_and(|name| name.eq_ignore_ascii_case(HOST_COOKIE)) {
            return None;
        }
        let mut pieces = bytes.split(|byte| *byte == b';');
        let mut new = pieces.next()?.to_vec();
        let mut changed = false;
        for piece in pieces {
            let attribute = std::str::from_utf8(piece).ok();
            let attribute = attribute.and_then(|text| text.split_once('='));
            let (name, value) = attribute.map_or(("", ""), |(n, v)| (n.trim(), v.trim()));
            if name.eq_ignore_ascii_case("domain") && self.is_out_of_place(value) {
                changed = true;
                continue;
            }
            new.push(b';');
            match self
                .cookie_path(value)
                .filter(|_| name.eq_ignore_ascii_case("path"))
            {
                Some(path) => {
                    changed = true;
                    new.extend_from_slice(b" Path=");
                    new.extend_from_slice(path.as_bytes());
                }
                None => new.extend_from_slice(piece),
            }
        }
        let new = changed.then(|| HeaderValue::from_bytes(&new).ok());
        new.flatten()
    }

    /// The path of a cookie, as seen by the client. If it covers all of the upstream, the result
    /// covers all that the client sees of the upstream.
    fn cookie_path(&self, path: &str) -> Option<String> {
        let (strip, base) = (&self.route.strip, &self.route.upstream.base);
        if !path.starts_with('/') || !is_plain(path.as_bytes()) || path.starts_with("//") {
            return None;
        }
        if !strip.is_empty() && below(path, strip).is_some() {
            return None;
        }
        let above = || below(base, path.trim_end_matches('/')).map(|_| "/");
        let rest = below(path, base).or_else(above)?;
        let mapped = match rest {
            "" | "/" if strip.is_empty() => "/".to_string(),
            "" | "/" => strip.clone(),
            rest => format!("{strip}{rest}"),
        };
        (mapped != path && !mapped.starts_with("//")).then_some(mapped)
    }

    /// Whether a cookie for `domain` is for the upstream's own host, and not one that a client
    /// would accept from this host.
    fn is_out_of_place(&self, domain: &str) -> bool {
        let domain = domain.strip_prefix('.').unwrap_or(domain);
        let mut asked = self.asked.iter().flatten();
        let places = self
            .route
            .upstream
            .endpoints
            .iter()
            .map(|endpoint| &endpoint.place);
        !domain.is_empty()
            && places
                .into_iter()
                .any(|place| covers(domain, &host_of(place)))
            && !asked.any(|asked| covers(domain, asked.host()))
    }
}

/// The rest of `path` below `prefix`, on segment borders; all of it without a prefix.
fn below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with(['/', '?', '#'])).then_some(rest)
}

/// Whether a browser reads it unchanged: browsers take `\` for `/`, and drop tabs and line ends.
fn is_plain(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|byte| *byte > b' ' && *byte != 0x7f && *byte != b'\\')
}

fn host_of(place: &Destination) -> String {
    match place {
        Destination::Window(name) => format!("hms-svc-{name}"),
        Destination::Service { authority, .. } => authority.host().to_string(),
    }
}

fn is_host_of(place: &Destination, host: &str) -> bool {
    host_of(place).eq_ignore_ascii_case(host)
}

/// Whether a cookie for `domain` goes to `host` (RFC 6265 section 5.1.3).
fn covers(domain: &str, host: &str) -> bool {
    let at = host.len().checked_sub(domain.len());
    let tail = at.and_then(|at| host.get(at..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(domain))
        && at.is_some_and(|at| at == 0 || host.as_bytes().get(at - 1) == Some(&b'.'))
}

fn port(authority: &Authority, protocol: Protocol) -> u16 {
    let usual = if protocol == Protocol::Https { 443 } else { 80 };
    authority.port_u16().unwrap_or(usual)
}

#[cfg(test)]
mod tests;
