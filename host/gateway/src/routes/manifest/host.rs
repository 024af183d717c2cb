//! The hosts that a route matches.

use std::fmt;

/// Bytes of a host name (RFC 1035 section 2.3.4).
const MAX_HOST: usize = 253;

/// A host name, or a suffix `*.NAME`, which matches one or more labels in front.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// This host alone, in lower case.
    Exact(String),
    /// The name without the `*.`.
    Below(String),
}

impl HostPattern {
    /// Reads `example.org` or `*.example.org`. The error is for the author of the manifest.
    pub fn parse(text: &str) -> Result<HostPattern, String> {
        let folded = fold(text);
        let (name, below) = match folded.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (folded.as_str(), false),
        };
        if !is_host(name) {
            return Err(format!(
                "'{text}' is not a host name without a port, such as 'api.example.org' or \
                 '*.example.org'"
            ));
        }
        Ok(if below {
            HostPattern::Below(name.into())
        } else {
            HostPattern::Exact(name.into())
        })
    }

    /// Whether `host`, folded by [`fold`], matches one of these.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            HostPattern::Exact(name) => host == name,
            HostPattern::Below(name) => host
                .strip_suffix(name.as_str())
                .and_then(|front| front.strip_suffix('.'))
                .is_some_and(|front| !front.is_empty()),
        }
    }
}

/// The canonical form of a host name: lower case, without a trailing dot.
pub fn fold(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

fn is_host(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let address = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Some(address) = address {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    (1..=MAX_HOST).contains(&name.len()) && name.split('.').all(label)
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Exact(name) => f.write_str(name),
            HostPattern::Below(name) => write!(f, "*.{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_matches_by_name_or_below_a_name_at_label_boundaries() {
        let exact = HostPattern::parse("API.Example.org").unwrap();
        let below = HostPattern::parse("*.example.org").unwrap();
        for (host, is_exact, is_below) in [
            ("api.example.org", true, true),
            ("API.EXAMPLE.ORG.", true, true),
            ("a.b.example.org", false, true),
            ("example.org", false, false),
            (".example.org", false, false),
            ("badexample.org", false, false),
        ] {
            assert_eq!(exact.matches(&fold(host)), is_exact, "{host}");
            assert_eq!(below.matches(&fold(host)), is_below, "{host}");
        }
        assert!(HostPattern::parse("[::1]").unwrap().matches("[::1]"));
    }

    #[test]
    fn invalid_host_name_is_rejected() {
        for text in [
            "", "*", "*.", "a:80", "http://a", "a..b", "*.*.org", "a/b", "[::g]",
        ] {
            assert!(HostPattern::parse(text).is_err(), "{text}");
        }
    }
}
