//! Which addresses the gateway connects to for a route.
//!
//! Whoever writes a manifest, or rules a name that one leads to, must not reach what only this machine or its network can:
//! the admin API, a database, the cloud's metadata at 169.254.169.254. So addresses that are not of the public internet
//! (RFC 6890 and its registries) are refused, unless the operator allows them. The check is on the address that is
//! connected to, after its name was resolved, so that a name which changes its address meanwhile gains nothing.

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use ipnet::IpNet;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use tower_service::Service;

/// What is not of the public internet. Of those that hold an IPv4 address, that one is looked at as well.
static SPECIAL: LazyLock<Vec<IpNet>> = LazyLock::new(|| {
    let nets = [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/128",
        "::1/128",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    ];
    nets.iter().filter_map(|net| net.parse().ok()).collect()
});

/// The address may not be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is not an address of the public internet: where it is meant, allow it with --upstream-allow"
)]
pub struct NotAllowed(pub IpAddr);

/// The addresses that may be connected to.
#[derive(Debug, Clone)]
pub struct Screen {
    /// None: all.
    allowed: Option<Arc<[IpNet]>>,
}

impl Screen {
    /// For what the operator names on the command line.
    pub fn open() -> Self {
        Screen { allowed: None }
    }

    /// The public internet, and `allowed`.
    pub fn public_and(allowed: &[IpNet]) -> Self {
        Screen {
            allowed: Some(allowed.into()),
        }
    }

    pub fn check(&self, address: IpAddr) -> Result<(), NotAllowed> {
        let Some(allowed) = &self.allowed else {
            return Ok(());
        };
        let address = address.to_canonical();
        let within = |nets: &[IpNet], address| nets.iter().any(|net| net.contains(&address));
        let special = within(&SPECIAL, address)
            || embedded(address).is_some_and(|v4| within(&SPECIAL, IpAddr::V4(v4)));
        if special && !within(allowed, address) {
            return Err(NotAllowed(address));
        }
        Ok(())
    }

    /// Checks a host that is an address; a name is checked when it is resolved.
    pub fn check_host(&self, host: &str) -> Result<(), NotAllowed> {
        let plain = host.trim_matches(['[', ']']);
        plain.parse().map_or(Ok(()), |address| self.check(address))
    }
}

/// The IPv4 address that an IPv6 address leads to: NAT64 (RFC 6052), 6to4 (RFC 3056), IPv4-compatible.
fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else {
        return None;
    };
    let low = |v6: Ipv6Addr| Ipv4Addr::from(u128::from(v6) as u32);
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] | [0, 0, 0, 0, 0, 0, _, _] => Some(low(v6)),
        [0x2002, high, low, ..] => Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))),
        _ => None,
    }
}

/// Resolves names by the system, and leaves out what the screen does not let through.
#[derive(Clone)]
pub(crate) struct Resolver {
    system: GaiResolver,
    screen: Screen,
}

impl Resolver {
    pub(crate) fn new(screen: Screen) -> Self {
        Resolver {
            system: GaiResolver::new(),
            screen,
        }
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.system.poll_ready(cx)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (resolving, screen) = (self.system.call(name), self.screen.clone());
        Box::pin(async move {
            let found: Vec<SocketAddr> = resolving.await?.collect();
            let (mut passed, mut refused) = (Vec::new(), None);
            for address in found {
                match screen.check(address.ip()) {
                    Ok(()) => passed.push(address),
                    Err(not_allowed) => refused = Some(not_allowed),
                }
            }
            match refused {
                Some(not_allowed) if passed.is_empty() => Err(io::Error::other(not_allowed)),
                _ => Ok(passed.into_iter()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    #[test]
    fn non_public_address_is_refused_unless_allowed() {
        let screen = Screen::public_and(&["10.1.0.0/16".parse().unwrap()]);
        for (host, passes) in [
            ("93.184.215.14", true),
            ("2606:2800:21f:cb07::1", true),
            ("127.0.0.1", false),
            ("10.1.2.3", true),
            ("10.2.0.1", false),
            ("172.31.255.255", false),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.100.100.200", false),
            ("0.0.0.0", false),
            ("255.255.255.255", false),
            ("[::1]", false),
            ("[::]", false),
            ("[::ffff:127.0.0.1]", false),
            ("[::ffff:10.1.2.3]", true),
            ("[fd00:ec2::254]", false),
            ("[fe80::1]", false),
            ("[64:ff9b::169.254.169.254]", false),
            ("[64:ff9b::93.184.215.14]", true),
            ("[2002:7f00:1::]", false),
            ("[::127.0.0.1]", false),
            ("example.org", true),
        ] {
            assert_eq!(screen.check_host(host).is_ok(), passes, "{host}");
        }
        assert!(Screen::open().check_host("127.0.0.1").is_ok());
    }

    #[tokio::test]
    async fn name_resolving_to_a_non_public_address_is_refused() {
        let name = || Name::from_str("localhost").unwrap();
        let mut screened = Resolver::new(Screen::public_and(&[]));
        let refused = screened.call(name()).await.unwrap_err();
        let cause = refused
            .get_ref()
            .and_then(|cause| cause.downcast_ref::<NotAllowed>());
        assert!(
            cause.is_some_and(|cause| cause.0.is_loopback()),
            "{refused}"
        );
        let mut open = Resolver::new(Screen::open());
        assert!(open.call(name()).await.unwrap().next().is_some());
    }
}
