//! The PROXY protocol, versions 1 and 2, by which a proxy that only passes bytes on says who its client is.
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>
//!
//! It is read from trusted proxies alone, and from those always: as the specification asks, nothing is guessed. No byte
//! beyond it is taken off the stream.

use crate::request::origin::Origin;
use ppp::{v1, v2};
use std::io;
use std::net::IpAddr;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Section 2.2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of the longest header of version 1, section 2.1.
const MAX_V1: usize = 107;

/// Bytes after the first 16 of a header of version 2. Proxies send some hundred, where they add a certificate's names.
const MAX_V2: usize = 4096;

/// What comes before those.
const V2_START: usize = 16;

/// The one at the other end of the proxy, which is `proxy` where the header says that it speaks for itself.
///
/// # Errors
///
/// Where the stream does not begin with a header.
pub(super) async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    proxy: Origin,
) -> io::Result<Origin> {
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
        return version_2(&header, proxy);
    }
    // Byte by byte: what follows is not the header's.
    while header.starts_with(b"PROXY ") && header.len() < MAX_V1 && !header.ends_with(b"\r\n") {
        header.push(stream.read_u8().await?);
    }
    version_1(&header, proxy)
}

fn version_1(header: &[u8], proxy: Origin) -> io::Result<Origin> {
    let header = v1::Header::try_from(header).map_err(broken)?;
    let source: Option<IpAddr> = match header.addresses {
        v1::Addresses::Tcp4(addresses) => Some(addresses.source_address.into()),
        v1::Addresses::Tcp6(addresses) => Some(addresses.source_address.into()),
        v1::Addresses::Unknown => None,
    };
    Ok(behind(proxy, source, proxy.secure))
}

fn version_2(header: &[u8], proxy: Origin) -> io::Result<Origin> {
    let header = v2::Header::try_from(header).map_err(broken)?;
    // The proxy's own health checks.
    if header.command == v2::Command::Local {
        return Ok(proxy);
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
    Ok(behind(proxy, source, proxy.secure || by_tls))
}

/// Somebody whose bytes the proxy passes on. Where it does not say whose, as for a client of a Unix
/// socket, it still is not the proxy that speaks.
fn behind(proxy: Origin, source: Option<IpAddr>, secure: bool) -> Origin {
    Origin {
        client: source.unwrap_or(proxy.client).to_canonical(),
        secure,
        untold: source.is_none(),
    }
}

fn broken(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PROXY: Origin = Origin {
        client: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)),
        secure: false,
        untold: false,
    };

    /// Who the client is, and what is left on the stream.
    async fn origin(bytes: &[u8]) -> Result<(Origin, Vec<u8>), String> {
        let mut stream = bytes;
        match read(&mut stream, PROXY).await {
            Ok(origin) => Ok((origin, stream.to_vec())),
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
        for (header, client, secure, untold) in [
            (
                b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\r\n".to_vec(),
                "192.0.2.7",
                false,
                false,
            ),
            (
                b"PROXY TCP6 2001:db8:: ::1 12345 443\r\n".to_vec(),
                "2001:db8::",
                false,
                false,
            ),
            (
                b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 443\r\n".to_vec(),
                "192.0.2.7",
                false,
                false,
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), "10.0.0.1", false, true),
            (v2_header(1, 0x11, &V4), "192.0.2.7", false, false),
            (v2_header(1, 0x21, &v6), "2001:db8::", false, false),
            (
                v2_header(1, 0x11, &[&V4[..], &ssl].concat()),
                "192.0.2.7",
                true,
                false,
            ),
            (v2_header(0, 0x00, &[]), "10.0.0.1", false, false),
            (v2_header(1, 0x00, &[]), "10.0.0.1", false, true),
        ] {
            let bytes = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            let (origin, rest) = origin(&bytes).await.unwrap();
            let expected = Origin {
                client: client.parse().unwrap(),
                secure,
                untold,
            };
            assert_eq!(origin, expected, "{}", header.escape_ascii());
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
            assert!(origin(&bytes).await.is_err(), "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn proxy_header_parser_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), signed: bool) {
            if signed {
                bytes.splice(..0, SIGNATURE);
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _ = runtime.block_on(origin(&bytes));
        }
    }
}
