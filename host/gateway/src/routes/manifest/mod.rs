//! A manifest: the YAML text of one file becomes one checked [`Route`], or the [`Fault`]s that say
//! where and why: all of them, not only the first.
//!
//! `tree` reads the text -> `node` walks it by tables of fields -> what is found becomes the route.
//! [`FIELDS`] says what a manifest holds, and [`schema`] makes a JSON Schema of it.

mod claim;
mod host;
mod node;
mod pattern;
pub mod schema;
mod strip;
mod suggest;
mod tree;
mod upstream;

pub use claim::Claim;
pub use host::{HostPattern, fold};
pub use node::{Field, Kind, Map, Node, unknown};
pub use pattern::{MAX_SEGMENTS, Pattern, Segment, segments_of};
pub use tree::Tree;
pub use upstream::{Destination, Endpoint, Upstream, is_window_name};

use crate::plugins::Rules;
use crate::request::target::Oddities;
use http::Method;
use node::Faults;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// Bytes of one manifest. A real one has some hundred.
pub const MAX_MANIFEST_BYTES: u64 = 64 * 1024;

/// An editor that has just begun to write leaves such a file for a moment.
const EMPTY: &str = "the file is empty";

/// Hosts, and methods, of one route.
const MAX_HOSTS: usize = 64;
const MAX_METHODS: usize = 16;

/// What a manifest holds.
pub const FIELDS: &[Field] = &[
    Field {
        name: "uri",
        kind: Kind::Text("/api/v1/payments/**"),
        doc: "The paths that the route takes: '/a/b' this one alone, '{name}' any one segment, '/**' at the end everything below as well.",
    },
    Field {
        name: "hosts",
        kind: Kind::Texts(MAX_HOSTS, "[api.example.org, \"*.example.org\"]"),
        doc: "The hosts that the route takes, without port. Default: any.",
    },
    Field {
        name: "methods",
        kind: Kind::Texts(MAX_METHODS, "[GET, POST]"),
        doc: "The methods that the route takes; GET takes HEAD as well. Default: any.",
    },
    Field {
        name: "upstream",
        kind: Kind::Own("upstream"),
        doc: "Where the route leads: 'http://hms-svc-NAME:8080' for the window NAME, else an http, https or h2c URL; or several of them.",
    },
    Field {
        name: "host",
        kind: Kind::Choice(&["upstream", "pass"]),
        doc: "The Host that a service sees: that of its own URL, or the client's. Default: upstream.",
    },
    Field {
        name: "strip-prefix",
        kind: Kind::Own(r#"{"type": ["string", "boolean"]}"#),
        doc: "What is cut off the path before the upstream sees it: a prefix of 'uri', or false. Default: the '/api/vN' in front.",
    },
    Field {
        name: "rewrite-location",
        kind: Kind::Flag,
        doc: "Whether Location, Content-Location and the Path and Domain of cookies are put back behind what was cut off the path. Default: true.",
    },
    Field {
        name: "encoded-slashes",
        kind: Kind::Choice(&["refuse", "allow"]),
        doc: "Whether the path may have '%2F'. Default: refuse.",
    },
    Field {
        name: "empty-segments",
        kind: Kind::Choice(&["refuse", "allow"]),
        doc: "Whether the path may have '//'. Default: refuse.",
    },
    Field {
        name: "plugins",
        kind: Kind::Own("plugins"),
        doc: "The steps that a request passes; of each, its name alone or with settings.",
    },
];

/// A checked manifest.
#[derive(Debug, PartialEq)]
pub struct Route {
    /// The manifest's file name without its extension: the route's name in logs, metrics and rate
    /// limits.
    pub name: Arc<str>,
    pub uri: Pattern,
    /// Empty for any.
    pub hosts: Vec<HostPattern>,
    /// Empty for any.
    pub methods: Vec<Method>,
    pub upstream: Upstream,
    /// Whether a service sees the Host that the client asked for, in place of its own.
    pub pass_host: bool,
    /// Cut off the front of the path; on segment borders, without a slash at its end, often empty.
    pub strip: String,
    /// Whether answers lead back behind `strip` ([`crate::upstream::location`]).
    pub rewrite_location: bool,
    /// What its paths may hold.
    pub paths: Oddities,
    pub rules: Rules,
    /// The manifest.
    pub text: String,
}

/// What is wrong with a manifest, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Counted from 1. 1 where the fault is in no one line.
    pub line: usize,
    /// Counted from 1.
    pub column: usize,
    pub reason: String,
}

impl Fault {
    /// One of the whole file.
    pub fn whole(reason: impl Into<String>) -> Fault {
        Fault {
            line: 1,
            column: 1,
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: {}",
            self.line, self.column, self.reason
        )
    }
}

impl Route {
    /// Reads the manifest `text` of the route `name`.
    ///
    /// # Errors
    ///
    /// Every fault, in the order of the text; at least one.
    pub fn parse(name: &str, text: &str) -> Result<Route, Vec<Fault>> {
        read_document(text, |node| read(name, text, node))
    }

    /// The path that the upstream sees for a `path` that this route matches.
    pub fn stripped<'a>(&self, path: &'a str) -> &'a str {
        match path.strip_prefix(self.strip.as_str()) {
            Some("") => "/",
            Some(rest) if rest.starts_with('/') => rest,
            _ => path,
        }
    }

    /// Whether the route takes the method. GET takes HEAD as well.
    pub fn takes(&self, method: &Method) -> bool {
        self.methods.is_empty()
            || self.methods.contains(method)
            || (*method == Method::HEAD && self.methods.contains(&Method::GET))
    }
}

/// Reads a YAML text, of which JSON is a part, by `read`, which notes the faults that it finds in
/// the nodes. A byte order mark in front, which editors on Windows leave, is passed over.
///
/// # Errors
///
/// Every fault, in the order of the text; at least one.
pub fn read_document<T>(
    text: &str,
    read: impl FnOnce(&Node<'_>) -> Option<T>,
) -> Result<T, Vec<Fault>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(vec![Fault::whole(EMPTY)]);
    }
    let tree: Tree = serde_yaml::from_str(text).map_err(|error| vec![broken(error)])?;
    if tree == Tree::Nothing {
        return Err(vec![Fault::whole(EMPTY)]);
    }
    let found = Faults::default();
    let document = read(&Node::root(&tree, &found));
    let found = found.into_inner();
    match document {
        Some(document) if found.is_empty() => Ok(document),
        _ => Err(faults(text, found)),
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

/// Methods that a route may name: those of HTTP, QUERY, WebDAV's, and some that caches and
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

pub fn method(text: &str) -> Result<Method, String> {
    match Method::from_bytes(text.as_bytes()) {
        Ok(method) if METHODS.contains(&text) => Ok(method),
        _ => Err(unknown("method", text, METHODS)),
    }
}

/// A text that is no YAML.
fn broken(error: serde_yaml::Error) -> Fault {
    let (line, column) = error
        .location()
        .map_or((1, 1), |at| (at.line(), at.column()));
    let text = error.to_string();
    // serde_yaml repeats the place at the end of its sentence.
    let reason = match text.rsplit_once(" at line ") {
        Some((reason, place)) if place.starts_with(|c: char| c.is_ascii_digit()) => {
            reason.to_string()
        }
        _ if text.contains("more than one document") => {
            "the file holds more than one YAML document ('---'): one file is one route".into()
        }
        _ => text,
    };
    Fault {
        line,
        column,
        reason,
    }
}

fn faults(text: &str, found: Vec<(Vec<tree::Step>, String)>) -> Vec<Fault> {
    let mut faults: Vec<Fault> = found
        .into_iter()
        .map(|(steps, reason)| {
            let (line, column) = tree::locate(text, &steps);
            Fault {
                line,
                column,
                reason,
            }
        })
        .collect();
    faults.sort_by_key(|fault| (fault.line, fault.column));
    if faults.is_empty() {
        faults.push(Fault::whole("the manifest cannot be read"));
    }
    faults
}

/// The line of a top-level field, or 1.
pub fn line_of(text: &str, field: &str) -> usize {
    let is_field = |line: &str| {
        line.strip_prefix(field)
            .is_some_and(|rest| rest.trim_start().starts_with(':'))
    };
    text.lines().position(is_field).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests;
