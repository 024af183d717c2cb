//! A manifest: the YAML text of one file becomes a checked [`Route`], or all the [`Fault`]s in it,
//! with their places.
//!
//! `tree` parses the text -> `node` walks it by tables of fields -> the values become the route.
//! [`FIELDS`] defines the fields of a manifest, and [`schema`] makes a JSON Schema of them.

mod claim;
mod host;
pub mod schema;
mod strip;
mod upstream;

pub use claim::Claim;
pub use host::{HostPattern, fold};
pub use upstream::{Destination, Endpoint, Upstream, is_window_name};

use crate::plugins::Rules;
use hms_core::path::{Oddities, Pattern};
use hms_manifest::{
    Fault, Field, Kind, Manifest, Map, Node, Words, line_of, read_document, unknown,
};
use http::Method;
use serde_json::json;
use std::sync::Arc;

/// Hosts, and methods, of one route.
const MAX_HOSTS: usize = 64;
const MAX_METHODS: usize = 16;

/// The fields of a manifest.
pub const FIELDS: &[Field] = &[
    Field {
        name: "uri",
        kind: Kind::Text("/api/v1/payments/**"),
        doc: "The paths that the route matches: '/a/b' matches only that path, '{name}' any one segment, '/**' at the end also everything below.",
    },
    Field {
        name: "hosts",
        kind: Kind::Texts(MAX_HOSTS, "[api.example.org, \"*.example.org\"]"),
        doc: "The hosts that the route matches, without port. Default: any.",
    },
    Field {
        name: "methods",
        kind: Kind::Texts(MAX_METHODS, "[GET, POST]"),
        doc: "The methods that the route matches; GET includes HEAD. Default: any.",
    },
    Field {
        name: "upstream",
        kind: Kind::Own(schema::upstream),
        doc: "Where the route leads: 'http://hms-svc-NAME:8080' for the window NAME, else an http, https or h2c URL; or several of them.",
    },
    Field {
        name: "host",
        kind: Kind::Choice(&["upstream", "pass"]),
        doc: "The Host that a service gets: that of its own URL (upstream), or the client's (pass). Default: upstream.",
    },
    Field {
        name: "strip-prefix",
        kind: Kind::Own(|| json!({ "type": ["string", "boolean"] })),
        doc: "What is cut off the path before the upstream sees it: a prefix of 'uri', or false. Default: the '/api/vN' in front.",
    },
    Field {
        name: "rewrite-location",
        kind: Kind::Flag,
        doc: "Whether Location, Content-Location and the Path and Domain of cookies are mapped back to the client's paths. Default: true.",
    },
    Field {
        name: "encoded-slashes",
        kind: Kind::Choice(&["refuse", "allow"]),
        doc: "Whether the path may contain '%2F'. Default: refuse.",
    },
    Field {
        name: "empty-segments",
        kind: Kind::Choice(&["refuse", "allow"]),
        doc: "Whether the path may contain '//'. Default: refuse.",
    },
    Field {
        name: "plugins",
        kind: Kind::Own(schema::plugins),
        doc: "The steps that a request passes; of each, its name alone or with settings.",
    },
];

/// A checked manifest.
#[derive(Debug, PartialEq)]
pub struct Route {
    /// The manifest's file name without its extension: the route's name in logs, metrics and rate
    /// limits.
    pub name: Arc<str>,
    /// The paths that it matches.
    pub uri: Pattern,
    /// Empty for any.
    pub hosts: Vec<HostPattern>,
    /// Empty for any.
    pub methods: Vec<Method>,
    /// Where its requests go.
    pub upstream: Upstream,
    /// Whether a service gets the client's Host instead of its own.
    pub pass_host: bool,
    /// The prefix cut off the path: on segment borders, without a trailing slash, often empty.
    pub strip: String,
    /// Whether locations in answers get `strip` back ([`crate::upstream::location`]).
    pub rewrite_location: bool,
    /// The oddities that its paths may contain.
    pub paths: Oddities,
    /// The settings of its plugins.
    pub rules: Rules,
    /// The text of the manifest.
    pub text: String,
}

impl Route {
    /// Parses the manifest `text` of the route `name`.
    ///
    /// # Errors
    ///
    /// Every fault, in the order of the text; at least one.
    pub fn parse(name: &str, text: &str) -> Result<Route, Vec<Fault>> {
        read_document(text, Self::WORDS.one, |node| read(name, text, node))
    }

    /// The path that the upstream gets for a matched `path`.
    pub fn stripped<'a>(&self, path: &'a str) -> &'a str {
        match path.strip_prefix(self.strip.as_str()) {
            Some("") => "/",
            Some(rest) if rest.starts_with('/') => rest,
            _ => path,
        }
    }

    /// Whether the route matches the method. GET includes HEAD.
    pub fn takes(&self, method: &Method) -> bool {
        self.methods.is_empty()
            || self.methods.contains(method)
            || (*method == Method::HEAD && self.methods.contains(&Method::GET))
    }
}

impl Manifest for Route {
    const WORDS: Words = Words {
        one: "route",
        many: "routes",
        folder: "routes folder",
        request: "GET /routes",
        command: "hms routes",
    };

    type Claim = Claim;

    fn parse(name: &str, text: &str) -> Result<Route, Vec<Fault>> {
        Route::parse(name, text)
    }

    fn text(&self) -> &str {
        &self.text
    }

    fn claims(&self) -> Vec<Claim> {
        Route::claims(self)
    }

    fn line_of_claims(text: &str) -> usize {
        line_of(text, "uri")
    }

    fn log_live(&self, file: &str) {
        tracing::info!(file, uri = %self.uri, upstream = %self.upstream, "route live");
    }
}

fn read(name: &str, text: &str, node: &Node<'_>) -> Option<Route> {
    let map = node.map(FIELDS, "a manifest with the fields 'uri' and 'upstream'")?;
    let has_uri = map.require("uri").is_some();
    let uri = has_uri.then(|| map.parsed("uri", Pattern::parse)).flatten();
    let upstream = map.require("upstream").and_then(Upstream::read);
    let hosts = map.each("hosts", HostPattern::parse);
    let methods = map.each("methods", method);
    let rules = map.get("plugins").map(Rules::read).unwrap_or_default();
    let host = map.choice("host");
    let pass_host = host == Some("pass");
    if let (Some(_), Some(node), Some(upstream)) = (host, map.get("host"), &upstream)
        && !upstream.has_services()
    {
        node.fault(
            "it is for ordinary services: a window always sees the host that the client asked for",
        );
    }
    let rewrite_location = map.flag("rewrite-location").unwrap_or(true);
    let allows = |name| map.choice(name) == Some("allow");
    let paths = Oddities {
        encoded_slashes: allows("encoded-slashes"),
        empty_segments: allows("empty-segments"),
    };
    let uri = uri?;
    if paths.encoded_slashes && !uri.is_below() && !uri.has_names() {
        fault_of(
            &map,
            "encoded-slashes",
            "no path of 'uri' has an encoded slash: it has neither '{name}' nor '/**'",
        );
    }
    if paths.empty_segments && !uri.is_below() {
        fault_of(
            &map,
            "empty-segments",
            "no path of 'uri' has an empty segment: it does not end with '/**'",
        );
    }
    let strip = strip::choose(&uri, map.get("strip-prefix"));
    Some(Route {
        name: name.into(),
        uri,
        hosts: hosts.unwrap_or_default(),
        methods: methods.unwrap_or_default(),
        upstream: upstream?,
        pass_host,
        strip: strip?,
        rewrite_location,
        paths,
        rules,
        text: text.into(),
    })
}

fn fault_of(map: &Map<'_>, field: &str, reason: &str) {
    if let Some(node) = map.get(field) {
        node.fault(reason);
    }
}

/// Methods that a route may name: those of HTTP, QUERY, those of WebDAV, and some that caches and
/// registries use.
const METHODS: &[&str] = &[
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "QUERY",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "REPORT",
    "SEARCH",
    "PURGE",
    "LINK",
    "UNLINK",
];

/// Reads the name of a method. Methods are case-sensitive (RFC 9110 section 9.1).
pub fn method(text: &str) -> Result<Method, String> {
    match Method::from_bytes(text.as_bytes()) {
        Ok(method) if METHODS.contains(&text) => Ok(method),
        _ => Err(unknown("method", text, METHODS)),
    }
}

#[cfg(test)]
mod tests;
