//! Which services a window may call, and what the host adds to its requests.

use http::uri::Scheme;
use http::{HeaderName, Method};
use ipnet::IpNet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a guest reads in place of a secret that the host fills in: this, and the secret's name. In
/// the header values of a granted call the host replaces it by the secret's value.
pub const PLACEHOLDER: &str = "hms-secret:";

/// One entry of `outbound`.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboundGrant {
    /// Line of the file, from 1: logs and refusals name it.
    pub line: usize,
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Which hosts.
    pub host: HostPattern,
    /// The port; the scheme's default where the file names none.
    pub port: u16,
    /// Methods allowed; none: GET and HEAD.
    pub methods: Vec<Method>,
    /// Paths allowed, as patterns of routes (`/v1/charges/**`); none: every path.
    pub paths: Vec<String>,
    /// Headers that the host sets, over whatever the guest says.
    pub inject: Vec<Inject>,
    /// Secrets whose placeholder in a header value the host replaces.
    pub placeholders: Vec<String>,
    /// Longest time of one call until the body of its answer has ended, beside the window's limit.
    pub timeout: Option<Duration>,
    /// Concurrent calls by this grant, beside the window's limit.
    pub at_once: Option<usize>,
    /// Networks beside the public internet that may be connected to.
    pub private: Vec<IpNet>,
    /// Certificates to trust beside the system's, a PEM file.
    pub ca: Option<PathBuf>,
    /// The client's certificate chain and its private key, PEM files.
    pub client_cert: Option<ClientCert>,
}

impl OutboundGrant {
    /// The PEM files that it names, relative to the folder of the grants.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let identity = self.client_cert.iter();
        let identity = identity.flat_map(|pair| [pair.cert.as_path(), pair.key.as_path()]);
        identity.chain(self.ca.as_deref())
    }

    /// The same, to be changed.
    pub(crate) fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let identity = self.client_cert.iter_mut();
        let identity = identity.flat_map(|pair| [&mut pair.cert, &mut pair.key]);
        identity.chain(self.ca.as_mut())
    }

    /// Whether it says the same, on whatever line.
    pub fn says_the_same_as(&self, other: &OutboundGrant) -> bool {
        let line = self.line;
        *self
            == OutboundGrant {
                line,
                ..other.clone()
            }
    }

    /// Scheme, host and port as a file says them: `https://*.card.example`.
    pub fn to(&self) -> String {
        let host = match &self.host {
            HostPattern::Exact(name) => name.clone(),
            HostPattern::Below(name) => format!("*.{name}"),
        };
        format!(
            "{}://{}",
            self.scheme,
            authority(&self.scheme, &host, self.port)
        )
    }
}

/// The port of `http` or `https` where none is named.
pub fn usual_port(scheme: &Scheme) -> Option<u16> {
    match scheme.as_str() {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// Host and port as URIs and `Host` have them: an IPv6 address, given without brackets, in
/// brackets, and without the scheme's own port.
pub fn authority(scheme: &Scheme, host: &str, port: u16) -> String {
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    match usual_port(scheme) == Some(port) {
        true => host,
        false => format!("{host}:{port}"),
    }
}

/// Bytes of a name (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;

/// The host of a URI in the one form in which it is granted, compared and asked: in lower case,
/// without a dot at its end; addresses in their usual form, without brackets.
///
/// # Errors
/// What is wrong with it, as in "its host is not ...".
pub fn canonical_host(given: &str) -> Result<String, &'static str> {
    if let Some(bracketed) = given.strip_prefix('[') {
        let address = bracketed
            .strip_suffix(']')
            .map(str::parse::<Ipv6Addr>)
            .and_then(Result::ok);
        let address = address.ok_or("its host is not an IPv6 address")?;
        return Ok(address.to_string());
    }
    let name = given.to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    if !name.is_ascii() {
        return Err("its host is not ASCII: write the A-label, which begins with 'xn--'");
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if name.len() > MAX_NAME || !name.split('.').all(is_label) {
        return Err("its host is not a name or an address");
    }
    // `127.1`, `0x7f.1` and the like are addresses to the system's resolver, and names to everybody
    // else: nobody can have granted them in this form.
    let last = name.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    if numeric && name.parse::<Ipv4Addr>().is_err() {
        return Err("its host is an address that is not written as four numbers");
    }
    Ok(name.to_owned())
}

/// A client certificate for TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCert {
    /// The chain, PEM.
    pub cert: PathBuf,
    /// The private key, PEM, readable by its owner alone.
    pub key: PathBuf,
}

/// Which hosts an entry is for. Compared in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// This name or address alone.
    Exact(String),
    /// `*.card.example`: every name below it, and not the name itself. Holds `card.example`.
    Below(String),
}

impl HostPattern {
    /// Whether `host`, in lower case and without brackets, is one of them.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            HostPattern::Exact(name) => host == name,
            HostPattern::Below(name) => host
                .strip_suffix(name.as_str())
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|label| !label.is_empty()),
        }
    }
}

/// A header that the host sets. The value is a template: `Bearer {card-key}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inject {
    /// The header's name.
    pub header: HeaderName,
    /// Text and secrets, in order.
    pub parts: Vec<TemplatePart>,
}

impl Inject {
    /// Whether a careless service could read a field of this name as the one that is set.
    pub fn reads_as(&self, name: &HeaderName) -> bool {
        let folded = |byte: u8| match byte {
            b'a'..=b'z' | b'0'..=b'9' => byte,
            _ => b'-',
        };
        let (name, own) = (name.as_str(), self.header.as_str());
        let mut bytes = name.bytes().zip(own.bytes());
        name.len() == own.len() && bytes.all(|(one, other)| folded(one) == folded(other))
    }
}

/// A piece of a header template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplatePart {
    /// As it stands.
    Text(String),
    /// The value of the secret of this name.
    Secret(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcard_matches_what_is_below_its_name_alone() {
        let below = HostPattern::Below("card.example".into());
        assert!(below.matches("api.card.example") && below.matches("a.b.card.example"));
        for other in [
            "card.example",
            ".card.example",
            "evilcard.example",
            "card.example.org",
        ] {
            assert!(!below.matches(other), "{other}");
        }
        assert!(HostPattern::Exact("::1".into()).matches("::1"));
    }
}
