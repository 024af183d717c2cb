//! Who is at the other end: the socket's peer, or, where that is a proxy which the operator trusts, the client that it
//! speaks for.
//!
//! A proxy appends the address that it saw to `X-Forwarded-For`. So the list is read from its end: entries of trusted
//! proxies are passed over, and the first other one is the client. What stands before that is the client's own word. An
//! entry that is no address ends the walk at the last one that was. `Forwarded` (RFC 7239) is read the same way; where a
//! request has both and they disagree, one of them was not checked by the proxy, and the request is refused.

use crate::error::Error;
use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Entries that are looked at; more proxies do not stand in a row.
const MAX_ENTRIES: usize = 32;

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    pub client: IpAddr,
    /// Whether the client speaks TLS, to us or to the trusted proxy.
    pub secure: bool,
}

impl Origin {
    /// Whether a proxy that the operator trusts is at the other end.
    pub fn is_trusted(&self, trusted: &[IpNet]) -> bool {
        trusted.iter().any(|net| net.contains(&self.client))
    }

    /// The scheme that the client used.
    pub fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// Of a request with these headers, as they came, from the connection's `self`.
    ///
    /// # Errors
    ///
    /// Where a trusted proxy's two words disagree.
    pub fn of(self, headers: &HeaderMap, trusted: &[IpNet]) -> Result<Origin, Error> {
        if !self.is_trusted(trusted) {
            return Ok(self);
        }
        let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
        let listed = walk(list(headers, &FORWARDED_FOR).map(address), is_trusted);
        let elements: Vec<&str> = list(headers, &FORWARDED).collect();
        let told = walk(
            elements
                .iter()
                .map(|element| parameter(element, "for").and_then(address)),
            is_trusted,
        );
        let client = match (listed, told) {
            (Some(listed), Some(told)) if listed != told => {
                return Err(Error::BadRequest(
                    "X-Forwarded-For and Forwarded name different clients".into(),
                ));
            }
            (listed, told) => listed.or(told).unwrap_or(self.client),
        };
        let scheme = list(headers, &FORWARDED_PROTO).next().or_else(|| {
            elements
                .first()
                .and_then(|element| parameter(element, "proto"))
        });
        let secure = match scheme {
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => true,
            Some(scheme) if scheme.eq_ignore_ascii_case("http") => false,
            _ => self.secure,
        };
        Ok(Origin { client, secure })
    }
}

/// The entries of a list field, the last first.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values: Vec<&str> = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    values
        .into_iter()
        .rev()
        .flat_map(|value| value.rsplit(','))
        .map(str::trim)
        .take(MAX_ENTRIES)
}

/// The first address that is not trusted; the last that could be read where all are.
fn walk(
    entries: impl Iterator<Item = Option<IpAddr>>,
    is_trusted: impl Fn(&IpAddr) -> bool,
) -> Option<IpAddr> {
    let mut last = None;
    for entry in entries {
        let Some(address) = entry else {
            return last;
        };
        last = Some(address);
        if !is_trusted(&address) {
            return last;
        }
    }
    last
}

/// An address, also with a port, in brackets, in quotes.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let plain = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = plain.unwrap_or(text).parse::<IpAddr>();
    let address = address.or_else(|_| text.parse::<SocketAddr>().map(|addr| addr.ip()));
    address.ok().map(|address| address.to_canonical())
}

/// A parameter of one element of `Forwarded`.
fn parameter<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    element
        .split(';')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(peer: &str, fields: &[(&str, &str)]) -> Result<(String, &'static str), Error> {
        let trusted = [
            "10.0.0.0/8".parse().unwrap(),
            "2001:db8::/32".parse().unwrap(),
        ];
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        let peer = Origin {
            client: peer.parse().unwrap(),
            secure: false,
        };
        let origin = peer.of(&headers, &trusted)?;
        Ok((origin.client.to_string(), origin.scheme()))
    }

    #[test]
    fn only_a_trusted_proxys_word_counts_and_of_a_list_its_end() {
        let xff = "x-forwarded-for";
        for (peer, fields, client) in [
            ("192.0.2.9", &[(xff, "198.51.100.1")][..], "192.0.2.9"),
            ("10.0.0.1", &[(xff, "198.51.100.1")], "198.51.100.1"),
            (
                "10.0.0.1",
                &[(xff, "6.6.6.6, 198.51.100.1")],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                &[(xff, "6.6.6.6, 198.51.100.1, 10.0.0.2")],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                &[(xff, "6.6.6.6"), (xff, "198.51.100.1")],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                &[(xff, "198.51.100.1, unknown, 10.0.0.2")],
                "10.0.0.2",
            ),
            ("10.0.0.1", &[(xff, "nonsense")], "10.0.0.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[(xff, "198.51.100.1:4711")], "198.51.100.1"),
            ("10.0.0.1", &[(xff, "::ffff:198.51.100.1")], "198.51.100.1"),
            (
                "10.0.0.1",
                &[(
                    "forwarded",
                    "for=6.6.6.6, for=\"[2001:db9::1]:80\";proto=https",
                )],
                "2001:db9::1",
            ),
            (
                "2001:db8::1",
                &[("forwarded", "For=198.51.100.1")],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                &[("forwarded", "for=198.51.100.1"), (xff, "198.51.100.1")],
                "198.51.100.1",
            ),
        ] {
            assert_eq!(origin(peer, fields).unwrap().0, client, "{peer} {fields:?}");
        }
        let both = [("forwarded", "for=198.51.100.1"), (xff, "198.51.100.2")];
        assert!(origin("10.0.0.1", &both).is_err());
    }

    #[test]
    fn the_scheme_is_a_trusted_proxys_word_as_well() {
        let proto = [("x-forwarded-proto", "https")];
        assert_eq!(origin("10.0.0.1", &proto).unwrap().1, "https");
        assert_eq!(origin("192.0.2.9", &proto).unwrap().1, "http");
        let told = [("forwarded", "for=1.2.3.4;proto=https")];
        assert_eq!(origin("10.0.0.1", &told).unwrap().1, "https");
    }
}
