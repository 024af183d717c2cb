//! Who the client is: the peer of the socket, or, if that is a trusted proxy, the client that it
//! forwards for.
//!
//! A proxy appends the address that it saw to `X-Forwarded-For`, often on the client's own line. So
//! the list is read as bytes, from its end: entries of trusted proxies are skipped, and the first
//! other one is the client. Everything before it is the client's own claim. An entry that names no
//! address ends the search at the last one that did. `Forwarded` (RFC 7239) is read the same way.
//!
//! The peer's own entry must be valid, or the request is refused. If both fields exist, nobody can
//! tell which of them the proxy wrote and which the client. So they must agree.

use crate::request::forwarded::{Element, Node, elements};
use crate::request::headers::{FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PORT, FORWARDED_PROTO};
use crate::request::rejection::Rejection;
use hms_core::fields::members;
use hms_net::connection_limit::Holder;
use hms_net::proxy_protocol::ProxyHeader;
use http::header::{FORWARDED, HeaderName};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use std::net::IpAddr;

/// Entries that are read, and so proxies in a row. More are a loop or a lie.
const MAX_PROXIES: usize = 32;

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The client's address, or the nearest one on the way to it that is known.
    pub client: IpAddr,
    /// Whether the client speaks TLS, to us or to the trusted proxy.
    pub secure: bool,
    /// Whether a proxy forwarded for a client that it did not name. `client` is then the proxy, and
    /// what the request says about its path is unknown.
    pub client_unknown: bool,
}

/// What a trusted proxy says about the address that the client asked for, if it says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// `X-Forwarded-Host`.
    pub host: Option<HeaderValue>,
    /// `X-Forwarded-Port`.
    pub port: Option<HeaderValue>,
}

impl Origin {
    /// Whether the peer is a trusted proxy.
    pub fn is_trusted(&self, trusted: &[IpNet]) -> bool {
        trusted.iter().any(|net| net.contains(&self.client))
    }

    /// Whom the request is counted against. A trusted proxy speaks for many clients.
    pub fn holder(&self, trusted: &[IpNet]) -> Holder {
        match self.is_trusted(trusted) {
            true => Holder::Proxy,
            false => Holder::of(self.client),
        }
    }

    /// Who speaks on a connection of this proxy, by the PROXY header in front of it.
    pub fn behind(self, header: ProxyHeader) -> Origin {
        match header {
            ProxyHeader::Own => self,
            ProxyHeader::Client { address, secure } => Origin {
                client: address.unwrap_or(self.client),
                secure: self.secure || secure,
                client_unknown: address.is_none(),
            },
        }
    }

    /// The scheme that the client used.
    pub fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// The address that the client asked for, as the request says it; empty if no trusted proxy
    /// says so. The last entry is that of the nearest proxy.
    ///
    /// # Errors
    ///
    /// If it is not a host, or not a port.
    pub fn asked(&self, headers: &HeaderMap, trusted: &[IpNet]) -> Result<Asked, Rejection> {
        if self.client_unknown || !self.is_trusted(trusted) {
            return Ok(Asked::default());
        }
        let last = |name: &HeaderName| {
            let told = members(headers, name).next_back();
            told.filter(|told| !told.is_empty())
        };
        let host = last(&FORWARDED_HOST).map(|told| {
            let authority = Authority::try_from(told).ok();
            let is_host = authority.is_some_and(|authority| !authority.as_str().contains('@'));
            let host = HeaderValue::from_bytes(told).ok().filter(|_| is_host);
            host.ok_or_else(|| bad("X-Forwarded-Host", "its last entry is not a host"))
        });
        let port = last(&FORWARDED_PORT).map(|told| {
            let number = std::str::from_utf8(told)
                .ok()
                .filter(|text| text.len() <= 5);
            let is_port = number.and_then(|text| text.parse::<u16>().ok());
            let is_port =
                is_port.is_some_and(|port| port > 0 && told.iter().all(u8::is_ascii_digit));
            let port = HeaderValue::from_bytes(told).ok().filter(|_| is_port);
            port.ok_or_else(|| bad("X-Forwarded-Port", "its last entry is not a port"))
        });
        Ok(Asked {
            host: host.transpose()?,
            port: port.transpose()?,
        })
    }

    /// The origin of a request with these headers, as they came, on a connection from `self`.
    ///
    /// # Errors
    ///
    /// If a trusted proxy's statement cannot be read, or its two fields disagree.
    pub fn of(self, headers: &HeaderMap, trusted: &[IpNet]) -> Result<Origin, Rejection> {
        if self.client_unknown || !self.is_trusted(trusted) {
            return Ok(self);
        }
        let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
        let listed = members(headers, &FORWARDED_FOR).rev().map(Node::read);
        let listed = Walk::over(listed, is_trusted).map_err(|why| bad("X-Forwarded-For", why))?;
        let elements = elements(headers).map_err(|why| bad("Forwarded", why))?;
        let told = elements.iter().rev().map(|element| element.node);
        let told = Walk::over(told, is_trusted).map_err(|why| bad("Forwarded", why))?;
        let (both, clients) = (
            headers.contains_key(&FORWARDED_FOR) && headers.contains_key(FORWARDED),
            (listed.client, told.client),
        );
        if both && clients.0 != clients.1 {
            return Err(Rejection::BadRequest(
                "X-Forwarded-For and Forwarded name different clients".into(),
            ));
        }
        let by_list = members(headers, &FORWARDED_PROTO).next_back().map(is_https);
        let by_list = by_list
            .transpose()
            .map_err(|why| bad("X-Forwarded-Proto", why))?;
        let by_element = proto(&elements, told.position).map_err(|why| bad("Forwarded", why))?;
        let secure = match (by_list, by_element) {
            (Some(one), Some(other)) if one != other => {
                return Err(Rejection::BadRequest(
                    "X-Forwarded-Proto and Forwarded name different schemes".into(),
                ));
            }
            (one, other) => one.or(other).unwrap_or(self.secure),
        };
        Ok(Origin {
            client: clients.0.or(clients.1).unwrap_or(self.client),
            secure,
            client_unknown: false,
        })
    }
}

fn bad(field: &'static str, why: &'static str) -> Rejection {
    Rejection::BadRequest(["the proxy sent an invalid ", field, ": ", why].into())
}

/// What a list says, read from its end.
struct Walk {
    /// None if the last entry names no address, or the list is empty.
    client: Option<IpAddr>,
    /// Which entry named the client, counted from the end.
    position: usize,
}

impl Walk {
    /// Reads up to the first address that is not trusted; if all are trusted, up to the last named
    /// one.
    fn over(
        entries: impl Iterator<Item = Node>,
        is_trusted: impl Fn(&IpAddr) -> bool,
    ) -> Result<Walk, &'static str> {
        let mut walk = Walk {
            client: None,
            position: 0,
        };
        for (position, entry) in entries.enumerate() {
            if position >= MAX_PROXIES {
                return Err("it names too many trusted proxies");
            }
            match (entry, walk.client) {
                (Node::Address(address), _) => {
                    let client = Some(address);
                    walk = Walk { client, position };
                    if !is_trusted(&address) {
                        break;
                    }
                }
                (Node::Unknown, _) | (Node::Unreadable, Some(_)) => break,
                (Node::Unreadable, None) => return Err("its last entry is not an address"),
            }
        }
        Ok(walk)
    }
}

/// Whether the element at `place` from the end says TLS.
fn proto(elements: &[Element], position: usize) -> Result<Option<bool>, &'static str> {
    let element = elements.iter().rev().nth(position);
    let proto = element.and_then(|element| element.proto.as_deref());
    proto.map(is_https).transpose()
}

/// Some proxies say `wss` and `ws` for the handshake of a WebSocket.
fn is_https(scheme: &[u8]) -> Result<bool, &'static str> {
    let is = |one: &str, other: &str| {
        scheme.eq_ignore_ascii_case(one.as_bytes()) || scheme.eq_ignore_ascii_case(other.as_bytes())
    };
    match (is("https", "wss"), is("http", "ws")) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        _ => Err("it is neither http nor https"),
    }
}

#[cfg(test)]
mod tests;
