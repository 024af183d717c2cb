//! The field `Forwarded` (RFC 7239), and node names, which `X-Forwarded-For` uses as well.

use http::HeaderMap;
use http::header::FORWARDED;
use std::net::{IpAddr, Ipv6Addr};

/// The node that an entry names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// An IP address; its port, if any, is dropped.
    Address(IpAddr),
    /// `unknown` or `_hidden` (sections 6.2 and 6.3), or an empty entry: the proxy does not say.
    Unknown,
    /// Malformed.
    Unreadable,
}

impl Node {
    /// `nodename [":" node-port]` of section 6. IPv6 may also lack its brackets, as in
    /// `X-Forwarded-For`.
    pub fn read(bytes: &[u8]) -> Node {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Node::Unreadable;
        };
        if let Some(rest) = text.strip_prefix('[') {
            let address = rest.split_once(']').filter(|(_, port)| is_after(port));
            let address = address.and_then(|(address, _)| address.parse::<Ipv6Addr>().ok());
            return address.map_or(Node::Unreadable, |address| Node::of(address.into()));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Node::of(address);
        }
        let end = text.find(':').unwrap_or(text.len());
        match text.split_at(end) {
            (_, port) if !is_after(port) => Node::Unreadable,
            (name, _) if name.eq_ignore_ascii_case("unknown") || is_hidden(name) => Node::Unknown,
            (name, _) => match name.parse::<IpAddr>() {
                Ok(address) => Node::of(address),
                Err(_) => Node::Unreadable,
            },
        }
    }

    fn of(address: IpAddr) -> Node {
        Node::Address(address.to_canonical())
    }
}

/// Nothing, or a colon and a port, numeric or obfuscated.
fn is_after(text: &str) -> bool {
    let Some(port) = text.strip_prefix(':') else {
        return text.is_empty();
    };
    is_hidden(port) || ((1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit()))
}

/// Section 6.3.
fn is_hidden(text: &str) -> bool {
    text.len() > 1
        && text.starts_with('_')
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// One element: what one proxy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// The node that it forwards for.
    pub node: Node,
    /// The protocol by which it was asked.
    pub proto: Option<Vec<u8>>,
}

/// Every element of a request's `Forwarded`, in order.
///
/// # Errors
///
/// If a line breaks the grammar of section 4. It is not repaired: if a client opens a quote and a
/// proxy appends its own element, readers would split the line in different ways. A quote that is
/// never closed is always found, because a proxy appends only whole elements.
pub fn elements(headers: &HeaderMap) -> Result<Vec<Element>, &'static str> {
    let mut elements = Vec::new();
    for line in headers.get_all(FORWARDED) {
        let mut rest = Rest(line.as_bytes());
        loop {
            elements.push(rest.element().ok_or("it does not follow RFC 7239")?);
            if !rest.skip(b',') {
                break;
            }
        }
        if !rest.0.is_empty() {
            return Err("it does not follow RFC 7239");
        }
    }
    Ok(elements)
}

/// The rest of a line.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// `[ forwarded-pair ] *( ";" [ forwarded-pair ] )`. Blanks around `;` are accepted: many
    /// configurations have them.
    fn element(&mut self) -> Option<Element> {
        let (mut node, mut proto, mut is_empty) = (None, None, true);
        loop {
            self.blanks();
            let name = self.take(is_token);
            if !name.is_empty() {
                is_empty = false;
                if !self.skip(b'=') {
                    return None;
                }
                let value = self.value()?;
                // No parameter may occur twice.
                if name.eq_ignore_ascii_case(b"for") {
                    if node.replace(Node::read(&value)).is_some() {
                        return None;
                    }
                } else if name.eq_ignore_ascii_case(b"proto") && proto.replace(value).is_some() {
                    return None;
                }
            }
            self.blanks();
            if !self.skip(b';') {
                let nobody = if is_empty {
                    Node::Unreadable
                } else {
                    Node::Unknown
                };
                let node = node.unwrap_or(nobody);
                return Some(Element { node, proto });
            }
        }
    }

    /// `token / quoted-string`. An address with a port should be quoted; it is accepted without
    /// quotes too.
    fn value(&mut self) -> Option<Vec<u8>> {
        if !self.skip(b'"') {
            let plain = self.take(|byte| is_token(byte) || b":[]".contains(&byte));
            return (!plain.is_empty()).then(|| plain.to_vec());
        }
        let mut value = Vec::new();
        loop {
            match self.next()? {
                b'"' => return Some(value),
                b'\\' => value.push(self.next()?),
                byte => value.push(byte),
            }
        }
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn skip(&mut self, byte: u8) -> bool {
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn blanks(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }

    fn take(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|byte| !wanted(*byte));
        let (taken, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn node_is_an_address_unknown_or_invalid() {
        let at = |text: &str| Node::Address(text.parse().unwrap());
        for (text, node) in [
            (&b"198.51.100.1"[..], at("198.51.100.1")),
            (b"198.51.100.1:4711", at("198.51.100.1")),
            (b"198.51.100.1:_port", at("198.51.100.1")),
            (b"2001:db8::1", at("2001:db8::1")),
            (b"[2001:db8::1]", at("2001:db8::1")),
            (b"[2001:db8::1]:80", at("2001:db8::1")),
            (b"::ffff:198.51.100.1", at("198.51.100.1")),
            (b"[::ffff:198.51.100.1]:1", at("198.51.100.1")),
            (b"unknown", Node::Unknown),
            (b"Unknown:80", Node::Unknown),
            (b"_SEVKISEK", Node::Unknown),
            (b"", Node::Unreadable),
            (b"_", Node::Unreadable),
            (b"_a b", Node::Unreadable),
            (b"\xff", Node::Unreadable),
            (b"198.51.100.1\xff", Node::Unreadable),
            (b"198.51.100.01", Node::Unreadable),
            (b"198.51.100.1:", Node::Unreadable),
            (b"198.51.100.1:x", Node::Unreadable),
            (b"198.51.100.1 6.6.6.6", Node::Unreadable),
            (b"[2001:db8::1", Node::Unreadable),
            (b"[198.51.100.1]", Node::Unreadable),
            (b"[2001:db8::1]80", Node::Unreadable),
            (b"fe80::1%eth0", Node::Unreadable),
            (b"example.org", Node::Unreadable),
        ] {
            assert_eq!(Node::read(text), node, "{}", text.escape_ascii());
        }
    }

    fn read(lines: &[&[u8]]) -> Option<Vec<(Node, Option<String>)>> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED, HeaderValue::from_bytes(line).unwrap());
        }
        let elements = elements(&headers).ok()?.into_iter();
        let told = |proto: Vec<u8>| String::from_utf8_lossy(&proto).into_owned();
        Some(elements.map(|e| (e.node, e.proto.map(told))).collect())
    }

    #[test]
    fn elements_are_split_at_commas_outside_quotes() {
        let (a, b) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let (a, b) = (Node::Address(a), Node::Address(b));
        let https = || Some("https".to_owned());
        for (lines, expected) in [
            (&[&b"for=192.0.2.1"[..]][..], vec![(a, None)]),
            (
                &[b"For=\"192.0.2.1:80\";Proto=https ; by=_x"],
                vec![(a, https())],
            ),
            (
                &[b"for=192.0.2.1, for=192.0.2.2;proto=https"],
                vec![(a, None), (b, https())],
            ),
            (
                &[b"for=192.0.2.1", b"for=192.0.2.2"],
                vec![(a, None), (b, None)],
            ),
            (
                &[b"for=192.0.2.1;host=\"a, for=6.6.6.6;proto=http\""],
                vec![(a, None)],
            ),
            (
                &[b"for=192.0.2.1;host=\"\\\", for=6.6.6.6;\xff\""],
                vec![(a, None)],
            ),
            (&[b"proto=https"], vec![(Node::Unknown, https())]),
            (&[b"for=\"\""], vec![(Node::Unreadable, None)]),
            (&[b""], vec![(Node::Unreadable, None)]),
            (
                &[b"for=192.0.2.1,"],
                vec![(a, None), (Node::Unreadable, None)],
            ),
        ] {
            assert_eq!(read(lines).as_ref(), Some(&expected));
        }
        assert_eq!(read(&[]), Some(vec![]));
    }

    #[test]
    fn malformed_forwarded_field_is_not_read() {
        for line in [
            &b"\xff"[..],
            b"for",
            b"for=",
            b"for=\xff",
            b"for = 192.0.2.1",
            b"for=\"192.0.2.1",
            b"for=\"192.0.2.1\\\"",
            b"for=\"a\"b",
            b"for=192.0.2.1 for=6.6.6.6",
            b"for=192.0.2.1;for=6.6.6.6",
            b"proto=http;proto=https",
            b"for=a=b",
            b"=a",
            // What a client has begun, and a proxy then wrote.
            b"for=6.6.6.6;host=\", for=192.0.2.1;host=\"x\"",
            b"for=6.6.6.6;host=\", for=\"[2001:db8::1]\"",
        ] {
            assert_eq!(read(&[line]), None, "{}", line.escape_ascii());
        }
    }
}
