//! `outbound`: which services a window may call.

use super::{MAX_ENTRIES, named, template};
use crate::outbound::{ClientCert, canonical_host};
use crate::{HostPattern, Inject, NamedFile, OutboundGrant};
use hms_core::headers::{claims_identity, reads_as};
use hms_core::path::Pattern;
use hms_core::units::{Time, network};
use hms_manifest::{Field, Kind, Map, Node, object};
use http::uri::Scheme;
use http::{HeaderName, Method};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

const OUTBOUND: &[Field] = &[
    Field {
        name: "to",
        kind: Kind::Text("https://api.card.example"),
        doc: "Scheme, host and port of the service, exact, or '*.' in front of a name for everything below it. The port's default is the scheme's.",
    },
    Field {
        name: "methods",
        kind: Kind::Texts(MAX_ENTRIES, "[POST]"),
        doc: "The methods allowed. Default: GET and HEAD.",
    },
    Field {
        name: "paths",
        kind: Kind::Texts(MAX_ENTRIES, "[/v1/charges/**]"),
        doc: "The paths allowed, as in the 'uri' of a route. Default: all.",
    },
    Field {
        name: "inject",
        kind: Kind::TextMap("{authorization: \"Bearer {card-key}\"}"),
        doc: "Headers that the host sets on each request, over the window's own. {NAME} stands for a secret.",
    },
    Field {
        name: "placeholders",
        kind: Kind::Texts(MAX_ENTRIES, "[card-key]"),
        doc: "Secrets that the host puts in place of 'hms-secret:NAME' where the window sends that in a header.",
    },
    Field {
        name: "timeout",
        kind: Kind::Time(1..=Time::MAX.ms()),
        doc: "The longest time of one call, its answer's body included. Default: the window's limit outgoing-time.",
    },
    Field {
        name: "at-once",
        kind: Kind::Number(1..=4096),
        doc: "Concurrent calls by this entry. Default: the window's limit outgoing-calls.",
    },
    Field {
        name: "private",
        kind: Kind::Texts(MAX_ENTRIES, "[10.1.0.0/16]"),
        doc: "Networks that may be connected to besides the public internet.",
    },
    Field {
        name: "ca",
        kind: Kind::Text("card-ca.pem"),
        doc: "A PEM file of certificate authorities to trust besides the system's, relative to the folder of the grants.",
    },
    Field {
        name: "client-cert",
        kind: Kind::Map(CLIENT_CERT),
        doc: "The certificate by which the host identifies itself to the service.",
    },
];

const CLIENT_CERT: &[Field] = &[
    Field {
        name: "cert",
        kind: Kind::Text("card-client.pem"),
        doc: "The certificate chain, a PEM file.",
    },
    Field {
        name: "key",
        kind: Kind::Text("secrets/card-client.key"),
        doc: "Its private key, a PEM file of mode 0400 or 0600.",
    },
];

/// Headers that no file may set: they frame the message, or the host sets them.
const OWN_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "traceparent",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-request-id",
];

pub(super) fn schema() -> Value {
    json!({ "type": "array", "items": object(OUTBOUND, &["to"]), "maxItems": MAX_ENTRIES })
}

/// `text` is the file's; `declared` checks the name of a secret. The files that it names are added
/// to `files`.
pub(super) fn read(
    text: &str,
    node: &Node<'_>,
    declared: &dyn Fn(&str) -> Result<String, String>,
    files: &mut Vec<NamedFile>,
) -> Vec<OutboundGrant> {
    let Some(items) = node.list("a list, as in 'outbound: [{to: https://api.card.example}]'")
    else {
        return Vec::new();
    };
    if items.len() > MAX_ENTRIES {
        node.fault(format_args!("more than {MAX_ENTRIES} entries"));
        return Vec::new();
    }
    let one = |item: &Node<'_>| entry(text, item, declared, files);
    items.iter().filter_map(one).collect()
}

fn entry(
    text: &str,
    item: &Node<'_>,
    declared: &dyn Fn(&str) -> Result<String, String>,
    files: &mut Vec<NamedFile>,
) -> Option<OutboundGrant> {
    let map = item.map(
        OUTBOUND,
        "a mapping, as in '{to: https://api.card.example}'",
    )?;
    let to = map
        .require("to")
        .and_then(|_| map.parsed("to", Origin::parse));
    let methods = map.each("methods", method);
    let paths = map.each("paths", path);
    let inject = map.pairs("inject", |name, value| {
        let header = header(name)?;
        let parts = template::parse(value, declared)?;
        Ok(Inject { header, parts })
    });
    if let (Some(inject), Some(node)) = (&inject, map.get("inject")) {
        for (index, one) in inject.iter().enumerate() {
            if inject
                .iter()
                .take(index)
                .any(|other| other.reads_as(&one.header))
            {
                node.key_fault(
                    index,
                    format_args!(
                        "the header '{}' is set twice: services may take '_' for '-'",
                        one.header
                    ),
                );
            }
        }
    }
    let grant = Some(OutboundGrant {
        line: item.line(text),
        methods: methods.unwrap_or_else(|| vec![Method::GET, Method::HEAD]),
        paths: paths.unwrap_or_default(),
        inject: inject.unwrap_or_default(),
        placeholders: map.each("placeholders", declared).unwrap_or_default(),
        timeout: map.time("timeout"),
        at_once: map
            .number("at-once")
            .and_then(|count| usize::try_from(count).ok()),
        private: map.each("private", network).unwrap_or_default(),
        ca: file_of(text, &map, "ca", files),
        client_cert: map
            .map("client-cert")
            .and_then(|map| client_cert(text, &map, files)),
        scheme: to.as_ref()?.scheme.clone(),
        host: to.as_ref()?.host.clone(),
        port: to?.port,
    });
    let is_plain = grant
        .as_ref()
        .is_some_and(|grant| grant.scheme == Scheme::HTTP);
    for name in ["ca", "client-cert"] {
        if let (true, Some(node)) = (is_plain, map.get(name)) {
            node.fault("it is for TLS, and 'to' begins with http://");
        }
    }
    grant
}

fn client_cert(text: &str, map: &Map<'_>, files: &mut Vec<NamedFile>) -> Option<ClientCert> {
    let (cert, key) = (map.require("cert").is_some(), map.require("key").is_some());
    match (cert, key) {
        (true, true) => Some(ClientCert {
            cert: file_of(text, map, "cert", files)?,
            key: file_of(text, map, "key", files)?,
        }),
        _ => None,
    }
}

/// The file that a field names, which is added to `files`.
fn file_of(text: &str, map: &Map<'_>, field: &str, files: &mut Vec<NamedFile>) -> Option<PathBuf> {
    let path = map.parsed(field, file)?;
    files.extend(map.get(field).map(|node| named(text, node, &path)));
    Some(path)
}

fn file(text: &str) -> Result<PathBuf, String> {
    match text.is_empty() || text.contains('\0') {
        true => Err(format!("'{}' is not a path", text.escape_debug())),
        false => Ok(PathBuf::from(text)),
    }
}

fn method(text: &str) -> Result<Method, String> {
    let method = Method::from_bytes(text.as_bytes()).ok();
    let upper = !text.bytes().any(|b| b.is_ascii_lowercase());
    match method {
        Some(Method::CONNECT) => Err("CONNECT opens a tunnel, which no window is granted".into()),
        Some(method) if method.as_str() == "*" => {
            Err("'*' is not a method: name each that is allowed, as in [GET, POST]".into())
        }
        Some(method) if upper => Ok(method),
        _ => Err(format!(
            "'{}' is not a method: write it in capital letters, as in POST",
            text.escape_debug()
        )),
    }
}

fn path(text: &str) -> Result<String, String> {
    match Pattern::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(reason) => Err(format!(
            "'{}' is not a path pattern, as '/a/b', '/a/{{id}}', or '/a/**' for everything below: \
             no request fits it: {reason}",
            text.escape_debug()
        )),
    }
}

fn header(name: &str) -> Result<HeaderName, String> {
    let header = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("'{}' is not the name of a header", name.escape_debug()))?;
    let own = OWN_HEADERS.iter().any(|own| reads_as(&header, own)) || claims_identity(&header);
    match own {
        true => Err(format!(
            "the header '{header}' is the host's own: it cannot be set here"
        )),
        false => Ok(header),
    }
}

/// Scheme, host and port.
pub(super) struct Origin {
    pub(super) scheme: Scheme,
    pub(super) host: HostPattern,
    pub(super) port: u16,
}

impl Origin {
    pub(super) fn parse(text: &str) -> Result<Origin, String> {
        // Before anything repeats the text: it may have a password.
        if text.contains('@') {
            return Err(
                "the URL names a user: credentials belong in 'inject', as a secret (the text is \
                 not repeated here, because it may have a password)"
                    .into(),
            );
        }
        let wrong = |why: &str| Err(format!("'{}' {why}", text.escape_debug()));
        let (scheme, rest) = match text.split_once("://") {
            Some(("https", rest)) => (Scheme::HTTPS, rest),
            Some(("http", rest)) => (Scheme::HTTP, rest),
            _ => return wrong("does not begin with https:// or http://"),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return wrong("has more than scheme, host and port: paths belong in 'paths'");
        }
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => match port.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None => return wrong("has something behind the address that is not a port"),
            },
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let default = if scheme == Scheme::HTTPS { 443 } else { 80 };
        let port = match port {
            None => default,
            Some(port) => match port.parse() {
                Ok(port @ 1..) if port.to_string().len() == port_len(rest) => port,
                _ => return wrong("has a port that is not from 1 to 65535"),
            },
        };
        let host = host_pattern(&host.to_ascii_lowercase(), rest.starts_with('['))
            .map_err(|why| format!("'{}' {why}", text.escape_debug()))?;
        Ok(Origin { scheme, host, port })
    }
}

/// Characters of the port as written: '+80' and '080' parse as numbers, and are no ports.
fn port_len(rest: &str) -> usize {
    rest.rsplit_once(':').map_or(0, |(_, port)| port.len())
}

fn host_pattern(host: &str, bracketed: bool) -> Result<HostPattern, String> {
    if bracketed {
        let address = host.parse::<Ipv6Addr>();
        let address = address.map_err(|_| "has no IPv6 address in its brackets")?;
        return Ok(HostPattern::Exact(address.to_string()));
    }
    if host.starts_with("hms-svc-") || host.ends_with(".spin.internal") {
        return Err("is a window: grant it with 'calls: [NAME]'".into());
    }
    let (name, below) = match host.strip_prefix("*.") {
        Some(name) => (name, true),
        None => (host, false),
    };
    if name.contains('*') {
        return Err("has a '*' that is not in front: '*.card.example' is everything below".into());
    }
    if let Some(name) = name.strip_suffix('.') {
        return Err(format!(
            "has a dot at the end of its host: leave it out, as in '{name}'"
        ));
    }
    let canonical = canonical_host(name).map_err(|why| match inet_aton(name) {
        Some(address) => format!("is not canonical: {why}; write {address}"),
        None => format!("cannot be called: {why}"),
    })?;
    if name.split('.').any(|label| label.len() > 63) {
        return Err("has a host with a label of more than 63 characters".into());
    }
    let name = canonical.as_str();
    match below {
        true if !name.contains('.') => {
            Err("has a wildcard over a whole top-level domain: name at least two labels".into())
        }
        true => Ok(HostPattern::Below(name.to_owned())),
        false => Ok(HostPattern::Exact(name.to_owned())),
    }
}

/// The address that the system's resolver makes of a number with fewer than four parts, or in
/// another base (inet_aton(3)).
fn inet_aton(host: &str) -> Option<Ipv4Addr> {
    let number = |part: &str| match part.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None if part.len() > 1 && part.starts_with('0') => u32::from_str_radix(part, 8).ok(),
        None => part.parse().ok(),
    };
    let parts: Option<Vec<u32>> = host.split('.').map(number).collect();
    let parts = parts?;
    let (last, front) = parts.split_last().filter(|(_, front)| front.len() < 4)?;
    let mut address = 0u32;
    for (index, part) in front.iter().enumerate() {
        let byte = u8::try_from(*part).ok()?;
        address |= u32::from(byte) << (24 - 8 * index);
    }
    // What the last part may be depends on how many bytes are left for it.
    let left = 32 - 8 * front.len();
    (u64::from(*last) < 1 << left).then(|| Ipv4Addr::from(address | last))
}
