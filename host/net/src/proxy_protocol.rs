//! The PROXY protocol, versions 1 and 2, by which a proxy that only passes bytes on says who its
//! client is. <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>
//!
//! It is to be read from trusted proxies alone, and from those always: as the specification asks,
//! nothing is guessed. No byte beyond it is taken off the stream.

use ppp::{v1, v2};
use std::io;
use std::net::IpAddr;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Section 2.2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of the longest header of version 1, section 2.1.
const MAX_V1: usize = 107;

/// Bytes after the first 16 of a header of version 2. Proxies send some hundred, where they add a
/// certificate's names.
const MAX_V2: usize = 4096;

/// What comes before those.
const V2_START: usize = 16;

/// Whose bytes a proxy passes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// Its own, as for a health check.
    Own,
    /// Somebody else's.
    Client {
        /// None where the proxy does not say whose, as for a client of a Unix socket: still it is
        /// not the proxy that speaks. IPv4 where the address is a mapped one.
        address: Option<IpAddr>,
        /// Whether the header says that the client came to the proxy by TLS.
        secure: bool,
    },
}

/// Reads the header in front of a stream, without a limit of time.
///
/// # Errors
///
/// Where the stream does not begin with a header.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<ProxyHeader> {
    let mut header = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header == SIGNATURE {
        header.resize(V2_START, 0);
        let rest = header.get_mut(SIGNATURE.len()..).unwrap_or_default();
        stream.read_exact(rest).await?;
        let length = match header.last_chunk::<2>() {
            Some(length) => usize::from(u16::from_be_bytes(*length)),
            None => 0,
        };
        if length > MAX_V2 {
            return Err(broken("the PROXY header is too long"));
        }
        header.resize(V2_START + length, 0);
        let rest = header.get_mut(V2_START..).unwrap_or_default();
        stream.read_exact(rest).await?;
        return version_2(&header);
    }
    // Byte by byte: what follows is not the header's.
    while header.starts_with(b"PROXY ") && header.len() < MAX_V1 && !header.ends_with(b"\r\n") {
        header.push(stream.read_u8().await?);
    }
    version_1(&header)
}

fn version_1(header: &[u8]) -> io::Result<ProxyHeader> {
    let header = v1::Header::try_from(header).map_err(broken)?;
    let source: Option<IpAddr> = match header.addresses {
        v1::Addresses::Tcp4(addresses) => Some(addresses.source_address.into()),
        v1::Addresses::Tcp6(addresses) => Some(addresses.source_address.into()),
        v1::Addresses::Unknown => None,
    };
    Ok(client(source, false))
}

fn version_2(header: &[u8]) -> io::Result<ProxyHeader> {
    let header = v2::Header::try_from(header).map_err(broken)?;
    // The proxy's own health checks.
    if header.command == v2::Command::Local {
        return Ok(ProxyHeader::Own);
    }
    let source: Option<IpAddr> = match header.addresses {
        v2::Addresses::IPv4(addresses) => Some(addresses.source_address.into()),
        v2::Addresses::IPv6(addresses) => Some(addresses.source_address.into()),
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
    };
    // Section 2.2.6: the first bit of an SSL field says that the client came by TLS.
    let by_tls = header.tlvs().flatten().any(|field| {
        field.kind == u8::from(v2::Type::SSL)
            && field.value.first().is_some_and(|bits| bits & 1 == 1)
    });
    Ok(client(source, by_tls))
}

fn client(source: Option<IpAddr>, secure: bool) -> ProxyHeader {
    ProxyHeader::Client {
        address: source.map(|address| address.to_canonical()),
        secure,
    }
}

fn broken(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Who the client is, and what is left on the stream.
    async fn header(bytes: &[u8]) -> Result<(ProxyHeader, Vec<u8>), String> {
        let mut stream = bytes;
        match read(&mut stream).await {
            Ok(header) => Ok((header, stream.to_vec())),
            Err(error) => Err(error.to_string()),
        }
    }

    fn v2_header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([0x20 | command, family]);
        header.extend((rest.len() as u16).to_be_bytes());
        header.extend(rest);
        header
    }

    const V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0x01, 0xbb];

    #[tokio::test]
    async fn both_header_versions_name_the_client_and_leave_what_follows() {
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        let ssl = [0x20, 0, 5, 1, 0, 0, 0, 0];
        let named = |address: &str, secure| client(Some(address.parse().unwrap()), secure);
        for (sent, expected) in [
            (
                b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\r\n".to_vec(),
                named("192.0.2.7", false),
            ),
            (
                b"PROXY TCP6 2001:db8:: ::1 12345 443\r\n".to_vec(),
                named("2001:db8::", false),
            ),
            (
                b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 443\r\n".to_vec(),
                ProxyHeader::Client {
                    address: Some("192.0.2.7".parse().unwrap()),
                    secure: false,
                },
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), client(None, false)),
            (v2_header(1, 0x11, &V4), named("192.0.2.7", false)),
            (v2_header(1, 0x21, &v6), named("2001:db8::", false)),
            (
                v2_header(1, 0x11, &[&V4[..], &ssl].concat()),
                named("192.0.2.7", true),
            ),
            (v2_header(0, 0x00, &[]), ProxyHeader::Own),
            (v2_header(1, 0x00, &[]), client(None, false)),
        ] {
            let bytes = [&sent[..], b"GET / HTTP/1.1\r\n"].concat();
            let (found, rest) = header(&bytes).await.unwrap();
            assert_eq!(found, expected, "{}", sent.escape_ascii());
            assert_eq!(rest, b"GET / HTTP/1.1\r\n");
        }
    }

    #[tokio::test]
    async fn invalid_header_is_rejected() {
        for bytes in [
            b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.300 10.0.0.1 12345 443\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 12345\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\n\n".to_vec(),
            [b"PROXY TCP4 ".to_vec(), vec![b'1'; 200]].concat(),
            b"PROXY".to_vec(),
            v2_header(1, 0x11, &V4[..8]),
            v2_header(7, 0x11, &V4),
            v2_header(1, 0x11, &[0; MAX_V2 + 1]),
            SIGNATURE.to_vec(),
            Vec::new(),
        ] {
            assert!(header(&bytes).await.is_err(), "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn proxy_header_parser_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), signed: bool) {
            if signed {
                bytes.splice(..0, SIGNATURE);
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _ = runtime.block_on(header(&bytes));
        }
    }
}
