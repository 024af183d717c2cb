//! `cors`: allows pages of other origins to read the answers (WHATWG Fetch, section 3.2).
//!
//! The gateway answers preflights itself, before `auth`, because browsers send them without a
//! token. On other answers it replaces the upstream's CORS fields, so that one place decides.

use super::{Exchange, Plugin, Setup};
use crate::request::rejection::Rejection;
use crate::routes::manifest::{Route, method};
use hms_core::body::{self, Body};
use hms_core::error::RequestError;
use hms_manifest::{Field, Kind, Map};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode, Uri};

/// Origins, methods and names of one rule.
const MAX_ENTRIES: usize = 64;

/// A day in seconds: browsers allow no more.
const MAX_AGE_S: u64 = 86_400;

/// Seconds that a browser may cache a preflight. Chromium's default of 5 s is short; 10 minutes
/// avoid most preflights.
const DEFAULT_AGE_S: u64 = 600;

const FIELDS: &[Field] = &[
    Field {
        name: "origins",
        kind: Kind::Texts(
            MAX_ENTRIES,
            "[\"https://app.example.org\", \"https://*.example.org\"]",
        ),
        doc: "The allowed origins; '*' for all, without credentials.",
    },
    Field {
        name: "methods",
        kind: Kind::Texts(MAX_ENTRIES, "[GET, POST]"),
        doc: "Methods that pages may use besides GET, HEAD and POST. Default: all methods of the route.",
    },
    Field {
        name: "headers",
        kind: Kind::Texts(MAX_ENTRIES, "[authorization, content-type]"),
        doc: "Request header fields that pages may send. Default: those that they ask for.",
    },
    Field {
        name: "expose",
        kind: Kind::Texts(MAX_ENTRIES, "[ratelimit, x-request-id]"),
        doc: "Response header fields that pages may read besides the CORS-safelisted ones.",
    },
    Field {
        name: "credentials",
        kind: Kind::Flag,
        doc: "Whether cookies and client certificates may be sent. Default: false.",
    },
    Field {
        name: "max-age",
        kind: Kind::Number(0..=MAX_AGE_S),
        doc: "How long a browser may cache a preflight, in seconds. Default: 600.",
    },
];

#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Empty for all.
    origins: Vec<Origin>,
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    credentials: bool,
    max_age_s: u64,
}

/// `https://app.example.org[:port]`, or with `*.` in front of the host.
#[derive(Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    /// Any prefix of the host, on label borders.
    below: bool,
    /// With the port, if there is one.
    authority: String,
}

impl Plugin for Rule {
    const NAME: &'static str = "cors";
    const DOC: &'static str =
        "Allows pages of other origins to read the answers; the gateway answers preflights.";
    const FIELDS: &'static [Field] = FIELDS;
    const REQUIRED: &'static [&'static str] = &["origins"];
    const ANSWERS_UNMATCHED: bool = true;

    type Shared = ();
    /// The origin of the requesting page.
    type Notes = Option<HeaderValue>;

    fn shared(_: &Setup<'_>) {}

    fn read(map: &Map<'_>) -> Option<Rule> {
        Rule::parse(map)
    }

    fn note(&self, head: &Parts) -> Option<HeaderValue> {
        head.headers.get(header::ORIGIN).cloned()
    }

    async fn request(
        &self,
        (): &(),
        route: &Route,
        exchange: &mut Exchange,
    ) -> Result<Option<Response<Body>>, RequestError> {
        let headers = &exchange.head.headers;
        match preflight_for(&exchange.method, headers) {
            Some(_) => Ok(Some(self.preflight(headers, &route.methods)?)),
            None => Ok(None),
        }
    }

    fn response(
        &self,
        (): &(),
        exchange: &Exchange,
        mut response: Response<Body>,
    ) -> Response<Body> {
        self.stamp(exchange.notes.cors.as_ref(), response.headers_mut());
        response
    }
}

impl Rule {
    fn parse(map: &Map<'_>) -> Option<Rule> {
        let origins = map.require("origins")?;
        let any = map.each("origins", |text| Ok(text.to_string()));
        let any = any.is_some_and(|list| list.iter().any(|origin| origin == "*"));
        let credentials = map.flag("credentials").unwrap_or(false);
        if any && credentials {
            origins.fault("'*' and 'credentials: true' exclude each other: name the origins");
            return None;
        }
        let list = if any {
            Vec::new()
        } else {
            map.each("origins", Origin::parse)?
        };
        let methods = map.each("methods", |text| method(text).map(|m| m.to_string()));
        let names = |field| map.each(field, name).and_then(|names| value(&names));
        Some(Rule {
            origins: list,
            methods: methods.and_then(|methods| value(&methods)),
            headers: names("headers"),
            expose: names("expose"),
            credentials,
            max_age_s: map.number("max-age").unwrap_or(DEFAULT_AGE_S),
        })
    }

    /// The answer to a preflight of an origin.
    ///
    /// # Errors
    ///
    /// If pages of that origin are not allowed.
    fn preflight(
        &self,
        headers: &HeaderMap,
        taken: &[Method],
    ) -> Result<Response<Body>, Rejection> {
        let allowed = headers
            .get(header::ORIGIN)
            .is_some_and(|origin| self.allows(origin));
        if !allowed {
            return Err(Rejection::OriginRefused);
        }
        let mut response = Response::new(body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let out = response.headers_mut();
        let wanted = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD);
        let methods = match (&self.methods, taken) {
            (Some(methods), _) => Some(methods.clone()),
            (None, []) => wanted.cloned(),
            (None, taken) => value(taken),
        };
        let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
        let mut set = |name, value: Option<HeaderValue>| {
            if let Some(value) = value {
                out.insert(name, value);
            }
        };
        set(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        set(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            self.headers.clone().or(asked.cloned()),
        );
        set(header::ACCESS_CONTROL_MAX_AGE, Some(self.max_age_s.into()));
        Ok(response)
    }

    /// Sets on an answer what pages of `origin` may do with it.
    fn stamp(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        let own = |name: &HeaderName| {
            name.as_str().starts_with("access-control-")
                && ![
                    header::ACCESS_CONTROL_ALLOW_METHODS,
                    header::ACCESS_CONTROL_ALLOW_HEADERS,
                    header::ACCESS_CONTROL_MAX_AGE,
                ]
                .contains(name)
        };
        crate::request::headers::drop_where(headers, own);
        if self.origins.is_empty() {
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_ORIGIN,
                HeaderValue::from_static("*"),
            );
        } else {
            // Without it, a shared cache would give one origin's answer to another.
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
            let Some(origin) = origin.filter(|origin| self.allows(origin)) else {
                return;
            };
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        if self.credentials {
            let yes = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
        if let Some(expose) = &self.expose {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        self.origins.is_empty() || self.origins.iter().any(|own| own.matches(origin))
    }
}

/// Whether the request is a preflight, and for which method.
pub fn preflight_for(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if *method != Method::OPTIONS || !headers.contains_key(header::ORIGIN) {
        return None;
    }
    let wanted = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    Method::from_bytes(wanted.as_bytes()).ok()
}

impl Origin {
    fn parse(text: &str) -> Result<Origin, String> {
        let wrong = || {
            Err(format!(
                "'{text}' is not an origin: write scheme, host and port without a path, such as \
                 'https://app.example.org' or 'https://*.example.org'"
            ))
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong();
        };
        let (authority, below) = match rest.strip_prefix("*.") {
            Some(authority) => (authority, true),
            None => (rest, false),
        };
        let plain = format!("{scheme}://{authority}");
        let is_origin = plain.parse::<Uri>().is_ok_and(|uri| {
            uri.host().is_some_and(|host| !host.is_empty())
                && uri.path() == "/"
                && uri.query().is_none()
        });
        if !is_origin || authority.contains(['/', '@', '*', '?', '#']) {
            return wrong();
        }
        Ok(Origin {
            scheme: scheme.to_ascii_lowercase(),
            below,
            authority: authority.to_ascii_lowercase(),
        })
    }

    /// Browsers send an origin normalised: lower case, no default port.
    fn matches(&self, origin: &str) -> bool {
        let Some((scheme, authority)) = origin.split_once("://") else {
            return false;
        };
        if scheme != self.scheme {
            return false;
        }
        if !self.below {
            return authority == self.authority;
        }
        authority
            .strip_suffix(self.authority.as_str())
            .and_then(|front| front.strip_suffix('.'))
            .is_some_and(|front| {
                !front.is_empty()
                    && front
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
            })
    }
}

fn name(text: &str) -> Result<String, String> {
    HeaderName::try_from(text)
        .map(|name| name.to_string())
        .map_err(|_| format!("'{text}' is not a valid header name"))
}

fn value(list: &[impl ToString]) -> Option<HeaderValue> {
    let list: Vec<String> = list.iter().map(ToString::to_string).collect();
    HeaderValue::try_from(list.join(", ")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_matches_exactly_or_below_a_host_at_label_boundaries() {
        let exact = Origin::parse("https://app.example.org").unwrap();
        let below = Origin::parse("https://*.example.org:8443").unwrap();
        for (origin, is_exact, is_below) in [
            ("https://app.example.org", true, false),
            ("http://app.example.org", false, false),
            ("https://app.example.org.evil.org", false, false),
            ("https://evilapp.example.org", false, false),
            ("https://a.example.org:8443", false, true),
            ("https://a.b.example.org:8443", false, true),
            ("https://example.org:8443", false, false),
            ("https://evil/.example.org:8443", false, false),
            ("null", false, false),
        ] {
            assert_eq!(exact.matches(origin), is_exact, "{origin}");
            assert_eq!(below.matches(origin), is_below, "{origin}");
        }
    }

    #[test]
    fn invalid_origin_is_rejected() {
        for text in [
            "app.example.org",
            "https://",
            "https://a/b",
            "https://u@a",
            "https://*.*.a",
            "null",
            "",
        ] {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
    }
}
