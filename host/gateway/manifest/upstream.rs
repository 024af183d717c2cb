//! Where a route leads.

use super::node::Node;
use crate::gateway::target::normalise;
use http::Uri;
use http::uri::{Authority, Scheme};
use std::fmt;

/// Host names that begin so are windows. They are resolved in this process, never by DNS.
const WINDOW_PREFIX: &str = "hms-svc-";

/// Bytes of a window's name: with the prefix it stays a DNS label.
const MAX_WINDOW_NAME: usize = 63 - WINDOW_PREFIX.len();

/// The upstream of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// `http://hms-svc-NAME[:port][/base]`. The port is for people who come from containers; it means nothing.
    Window { name: String, base: String },
    /// Any other http(s) URL: an ordinary service on the network.
    Service {
        scheme: Scheme,
        authority: Authority,
        base: String,
    },
}

impl Upstream {
    /// Reads a manifest's `upstream`.
    pub fn read(node: &Node<'_>) -> Option<Upstream> {
        let text = node.text("a URL like 'http://hms-svc-payments:8080'")?;
        Upstream::parse(text)
            .map_err(|reason| node.fault(reason))
            .ok()
    }

    pub fn parse(text: &str) -> Result<Upstream, String> {
        let refuse = |reason: &str| Err(format!("'{text}' {reason}"));
        let Ok(uri) = text.parse::<Uri>() else {
            return refuse("is no URL like 'http://hms-svc-payments:8080'");
        };
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return refuse("is no URL like 'http://hms-svc-payments:8080'");
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return refuse("must begin with 'http://' or 'https://'");
        }
        if authority.as_str().contains('@') {
            // Not repeated: it goes into logs.
            return Err("it must not hold a user name or password".into());
        }
        if text.contains(['?', '#']) {
            return refuse("must not have a query or fragment");
        }
        // `http::Uri` takes a port that is no number, and an empty host, for granted.
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
            return Ok(Upstream::Service {
                scheme,
                authority,
                base,
            });
        };
        if scheme == Scheme::HTTPS {
            return refuse("is a window, which is reached inside of the process: write 'http://'");
        }
        if !is_window_name(name) {
            return refuse(
                "has no valid window name after 'hms-svc-': small letters, digits and inner hyphens, at most 55",
            );
        }
        Ok(Upstream::Window {
            name: name.to_string(),
            base,
        })
    }

    /// The name for logs: `window:NAME`, or the host of a service.
    pub fn label(&self) -> &str {
        match self {
            Upstream::Window { name, .. } => name,
            Upstream::Service { authority, .. } => authority.as_str(),
        }
    }

    /// Joined in front of the request's path: without a slash at its end, often empty.
    pub fn base(&self) -> &str {
        match self {
            Upstream::Window { base, .. } | Upstream::Service { base, .. } => base,
        }
    }
}

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
        match self {
            Upstream::Window { name, base } => write!(f, "http://{WINDOW_PREFIX}{name}{base}"),
            Upstream::Service {
                scheme,
                authority,
                base,
            } => {
                write!(f, "{scheme}://{authority}{base}")
            }
        }
    }
}
