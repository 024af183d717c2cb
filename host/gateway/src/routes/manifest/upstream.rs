//! The upstream of a route.

use super::schema;
use hms_core::path::normalise;
use hms_manifest::{Field, Kind, Map, Node, Tree};
use hms_net::client::Protocol;
use http::Uri;
use http::uri::Authority;
use std::fmt;
use std::time::Duration;

/// The prefix of host names that are windows. They are resolved in this process, never by DNS.
const WINDOW_PREFIX: &str = "hms-svc-";

/// Bytes of a window's name: with the prefix it is still a DNS label.
const MAX_WINDOW_NAME: usize = 63 - WINDOW_PREFIX.len();

/// Targets of one upstream.
const MAX_TARGETS: usize = 64;

const EXAMPLE: &str = "a URL like 'http://hms-svc-payments:8080', or a mapping with 'targets'";

/// The fields of an upstream that is not just one URL.
pub(super) const FIELDS: &[Field] = &[
    Field {
        name: "targets",
        kind: Kind::Own(schema::targets),
        doc: "The URLs that share the requests; of each, the URL alone or with its weight. All have the same path.",
    },
    Field {
        name: "retries",
        kind: Kind::Number(0..=5),
        doc: "Retries of a request that may safely be repeated. Default: 1.",
    },
    Field {
        name: "try-timeout",
        kind: Kind::Time(1..=600_000),
        doc: "How long one try waits for the head of its answer. Default: 30s, after which there is no retry.",
    },
    Field {
        name: "max-fails",
        kind: Kind::Number(1..=1000),
        doc: "Consecutive failures after which a target is ejected. Default: 3.",
    },
    Field {
        name: "fail-timeout",
        kind: Kind::Time(100..=3_600_000),
        doc: "How long a target is ejected; then one request tries it. Default: 10s.",
    },
];

/// The fields of a target with a weight.
pub(super) const TARGET: &[Field] = &[
    Field {
        name: "url",
        kind: Kind::Text("http://hms-svc-payments:8080"),
        doc: "Where its requests go: a window, or an http, https or h2c URL.",
    },
    Field {
        name: "weight",
        kind: Kind::Number(1..=1000),
        doc: "Its share of the requests, relative to the other weights. Default: 1.",
    },
];

/// The upstream of a route: one target, or several that share its requests.
#[derive(Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Not empty. If there are several, all places differ.
    pub endpoints: Vec<Endpoint>,
    /// The prefix of the request's path: without a trailing slash, often empty.
    pub base: String,
    /// Tries beyond the first.
    pub retries: u32,
    /// None: the host's limit, after which there is no other try.
    pub try_timeout: Option<Duration>,
    /// Consecutive failures after which a target is ejected.
    pub max_fails: u32,
    /// How long it then gets no requests. After that, one request tries it.
    pub fail_timeout: Duration,
}

/// One target of an upstream.
#[derive(Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where its requests go.
    pub place: Destination,
    /// Its share of the requests, relative to the other targets.
    pub weight: u32,
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// `http://hms-svc-NAME[:port]`. The port is ignored; people who come from containers write
    /// one.
    Window(String),
    /// Any other http, https or h2c URL: an ordinary service on the network.
    Service {
        /// How the connection speaks.
        protocol: Protocol,
        /// Host and port.
        authority: Authority,
    },
}

/// By the scheme of a manifest's URL.
fn protocol_of(scheme: &str) -> Option<Protocol> {
    let all = [Protocol::Http, Protocol::Https, Protocol::H2c];
    all.into_iter()
        .find(|protocol| scheme_of(*protocol).eq_ignore_ascii_case(scheme))
}

/// As URLs of manifests have it.
fn scheme_of(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "http",
        Protocol::Https => "https",
        Protocol::H2c => "h2c",
    }
}

impl Upstream {
    /// Parses a manifest's `upstream`.
    pub fn read(node: &Node<'_>) -> Option<Upstream> {
        if let Tree::Map(_) = node.tree() {
            return Upstream::several(&node.map(FIELDS, EXAMPLE)?);
        }
        let text = node.text(EXAMPLE)?;
        Upstream::parse(text)
            .map_err(|reason| node.fault(reason))
            .ok()
    }

    /// One URL.
    pub fn parse(text: &str) -> Result<Upstream, String> {
        let (place, base) = Destination::parse(text)?;
        Ok(Upstream::of(vec![Endpoint { place, weight: 1 }], base))
    }

    fn of(endpoints: Vec<Endpoint>, base: String) -> Upstream {
        Upstream {
            endpoints,
            base,
            retries: 1,
            try_timeout: None,
            max_fails: 3,
            fail_timeout: Duration::from_secs(10),
        }
    }

    fn several(map: &Map<'_>) -> Option<Upstream> {
        let targets = map.require("targets").and_then(targets);
        let (retries, try_timeout) = (map.number("retries"), map.time("try-timeout"));
        let (max_fails, fail_timeout) = (map.number("max-fails"), map.time("fail-timeout"));
        let (endpoints, base) = targets?;
        let mut upstream = Upstream::of(endpoints, base);
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        upstream.retries = retries.map_or(upstream.retries, small);
        upstream.try_timeout = try_timeout;
        upstream.max_fails = max_fails.map_or(upstream.max_fails, small);
        upstream.fail_timeout = fail_timeout.unwrap_or(upstream.fail_timeout);
        Some(upstream)
    }

    /// The windows among the targets, by name.
    pub fn windows(&self) -> impl Iterator<Item = &str> {
        self.endpoints
            .iter()
            .filter_map(|endpoint| match &endpoint.place {
                Destination::Window(name) => Some(name.as_str()),
                Destination::Service { .. } => None,
            })
    }

    /// Whether a target is an ordinary service.
    pub fn has_services(&self) -> bool {
        let is_service =
            |endpoint: &Endpoint| matches!(endpoint.place, Destination::Service { .. });
        self.endpoints.iter().any(is_service)
    }

    /// Whether a target may speak HTTP/2.
    pub fn may_be_http2(&self) -> bool {
        self.endpoints.iter().any(|endpoint| match &endpoint.place {
            Destination::Window(_) => false,
            Destination::Service { protocol, .. } => protocol.may_be_http2(),
        })
    }

    /// The name for logs: that of its only target, or the number of targets.
    pub fn label(&self) -> String {
        match self.endpoints.as_slice() {
            [one] => one.place.label().to_string(),
            several => format!("{} targets", several.len()),
        }
    }
}

fn targets(node: &Node<'_>) -> Option<(Vec<Endpoint>, String)> {
    let items =
        node.list("a list of URLs, as in 'targets: [http://10.0.0.1:8080, http://10.0.0.2:8080]'")?;
    if items.is_empty() {
        node.fault("the list is empty: an upstream has at least one target");
        return None;
    }
    if items.len() > MAX_TARGETS {
        node.fault(format_args!("more than {MAX_TARGETS}"));
        return None;
    }
    let (mut found, mut whole) = (Vec::<(Endpoint, String)>::new(), true);
    for item in &items {
        let Some((endpoint, base)) = target(item) else {
            whole = false;
            continue;
        };
        if found.iter().any(|(other, _)| other.place == endpoint.place) {
            item.fault(format_args!(
                "'{}' is duplicated: give it a weight",
                endpoint.place
            ));
            whole = false;
        } else if let Some((_, first)) = found.first()
            && *first != base
        {
            item.fault(format_args!(
                "its path is '{base}', and that of the first target '{first}': all targets have the same path"
            ));
            whole = false;
        } else {
            found.push((endpoint, base));
        }
    }
    let base = found.first()?.1.clone();
    whole.then(|| {
        (
            found.into_iter().map(|(endpoint, _)| endpoint).collect(),
            base,
        )
    })
}

fn target(node: &Node<'_>) -> Option<(Endpoint, String)> {
    let (text, weight, at) = match node.tree() {
        Tree::Map(_) => {
            let map = node.map(TARGET, EXAMPLE)?;
            let weight = map.number("weight").unwrap_or(1);
            let at = map.require("url")?.clone();
            (at.text(EXAMPLE)?, weight, at)
        }
        _ => (
            node.text("a URL, or a mapping with 'url' and 'weight'")?,
            1,
            node.clone(),
        ),
    };
    let (place, base) = Destination::parse(text)
        .map_err(|reason| at.fault(reason))
        .ok()?;
    let weight = u32::try_from(weight).unwrap_or(1);
    Some((Endpoint { place, weight }, base))
}

impl Destination {
    /// Parses a URL: the destination, and the path prefix of every request.
    pub fn parse(text: &str) -> Result<(Destination, String), String> {
        let refuse = |reason: &str| Err(format!("'{text}' {reason}"));
        let Ok(uri) = text.parse::<Uri>() else {
            return refuse("is not a URL such as 'http://hms-svc-payments:8080'");
        };
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return refuse("is not a URL such as 'http://hms-svc-payments:8080'");
        };
        let Some(protocol) = protocol_of(scheme.as_str()) else {
            return refuse("must begin with 'http://', 'https://' or 'h2c://'");
        };
        if authority.as_str().contains('@') {
            // Not repeated in the message, which is logged.
            return Err("it must not hold a user name or password".into());
        }
        if text.contains(['?', '#']) {
            return refuse("must not have a query or fragment");
        }
        // `http::Uri` accepts a port that is not a number, and an empty host.
        let has_port = authority.as_str().len() > authority.host().len();
        if authority.host().is_empty() || (has_port && authority.port_u16().is_none()) {
            return refuse("has no valid host and port");
        }
        let base = match parts
            .path_and_query
            .as_ref()
            .map_or("/", |path| path.path())
        {
            "/" => String::new(),
            path => match normalise(path) {
                Ok(path) => path.trim_end_matches('/').to_string(),
                Err(reason) => return refuse(&format!("is refused: {reason}")),
            },
        };
        let host = authority.host().to_ascii_lowercase();
        let Some(name) = host.strip_prefix(WINDOW_PREFIX) else {
            return Ok((
                Destination::Service {
                    protocol,
                    authority,
                },
                base,
            ));
        };
        if protocol != Protocol::Http {
            return refuse("is a window, which is reached inside of the process: write 'http://'");
        }
        if !is_window_name(name) {
            return refuse(
                "has no valid window name after 'hms-svc-': use at most 55 lower-case letters, \
                 digits and inner hyphens",
            );
        }
        Ok((Destination::Window(name.to_string()), base))
    }

    /// The name for logs: the window's, or the host of a service.
    pub fn label(&self) -> &str {
        match self {
            Destination::Window(name) => name,
            Destination::Service { authority, .. } => authority.as_str(),
        }
    }
}

/// Whether a window may have this name: 1 to 63 of a-z, 0-9 and '-'.
pub fn is_window_name(name: &str) -> bool {
    (1..=MAX_WINDOW_NAME).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}{}", endpoint.place, self.base)?;
            if self.endpoints.len() > 1 {
                write!(f, " ({})", endpoint.weight)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Window(name) => write!(f, "http://{WINDOW_PREFIX}{name}"),
            Destination::Service {
                protocol,
                authority,
            } => write!(f, "{}://{authority}", scheme_of(*protocol)),
        }
    }
}
