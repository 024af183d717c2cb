//! Which addresses a client connects to.
//!
//! Whoever writes a route's manifest or a window, or rules a name that one leads to, must not reach
//! what only this machine or its network can: the admin API, a database, the cloud's metadata at
//! 169.254.169.254. So addresses that are not of the public internet (RFC 6890 and its registries)
//! are refused, unless the operator allows them. The check is on the address that is connected to,
//! after its name was resolved ([`super::dial`]), so that a name which changes its address
//! meanwhile gains nothing.

use super::OwnListeners;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, LazyLock};

/// What is not of the public internet. Of those that hold an IPv4 address, that one is looked at as
/// well.
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

/// The address is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// The operator may allow it.
    #[error("{0} is not an address of the public internet")]
    NotPublic(IpAddr),
    /// Whatever is allowed.
    #[error("{0} is an address that this host itself listens on")]
    OwnListener(SocketAddr),
}

/// The addresses that may be connected to.
#[derive(Debug, Clone)]
pub struct Screen {
    /// None: all.
    allowed: Option<Arc<[IpNet]>>,
    refused: Option<OwnListeners>,
}

impl Screen {
    /// All addresses: for what the operator names on the command line.
    pub fn open() -> Self {
        Screen {
            allowed: None,
            refused: None,
        }
    }

    /// The public internet, and `allowed`.
    pub fn public_and(allowed: &[IpNet]) -> Self {
        Screen {
            allowed: Some(allowed.into()),
            refused: None,
        }
    }

    /// The same without the listeners of this host, even where their addresses are allowed. What is
    /// set in `own` later counts as well, for connections that begin after it.
    pub fn without(self, own: &OwnListeners) -> Self {
        Screen {
            refused: Some(own.clone()),
            ..self
        }
    }

    /// Checks an address that is about to be connected to.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn check(&self, to: SocketAddr) -> Result<(), NotAllowed> {
        self.check_ip(to.ip())?;
        let v4 = embedded(to.ip()).map(|v4| SocketAddr::from((v4, to.port())));
        let is_own = |own: &OwnListeners| own.include(to) || v4.is_some_and(|to| own.include(to));
        match self.refused.as_ref().is_some_and(is_own) {
            true => Err(NotAllowed::OwnListener(to)),
            false => Ok(()),
        }
    }

    /// Checks a host of a URL, if it is an address, for a connection that somebody else makes, such
    /// as a proxy. A name passes.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn check_host(&self, host: &str) -> Result<(), NotAllowed> {
        let plain = host.trim_matches(['[', ']']);
        plain.parse().map_or(Ok(()), |ip| self.check_ip(ip))
    }

    fn check_ip(&self, address: IpAddr) -> Result<(), NotAllowed> {
        let Some(allowed) = &self.allowed else {
            return Ok(());
        };
        let address = address.to_canonical();
        let within = |nets: &[IpNet], address| nets.iter().any(|net| net.contains(&address));
        let special = within(&SPECIAL, address)
            || !is_allocated(address)
            || embedded(address).is_some_and(|v4| within(&SPECIAL, IpAddr::V4(v4)));
        if special && !within(allowed, address) {
            return Err(NotAllowed::NotPublic(address));
        }
        Ok(())
    }
}

/// Whether the public internet has such addresses at all. Of IPv6 that is 2000::/3 (RFC 4291
/// section 2.4 and IANA's registry) and the prefix of NAT64; translators on the way may take
/// others for IPv4 addresses (`::ffff:0:10.0.0.1`, RFC 2765).
fn is_allocated(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(v6) => match v6.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, _, _] => true,
            [first, ..] => first & 0xe000 == 0x2000,
        },
    }
}

/// The IPv4 address that an IPv6 address leads to: NAT64 (RFC 6052), 6to4 (RFC 3056),
/// IPv4-compatible.
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

#[cfg(test)]
mod tests {
    use super::*;

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
            ("[::93.184.215.14]", false),
            ("[::ffff:0:10.2.0.1]", false),
            ("[::ffff:0:93.184.215.14]", false),
            ("[64:ff9b:2::1]", false),
            ("[4000::1]", false),
            ("example.org", true),
        ] {
            assert_eq!(screen.check_host(host).is_ok(), passes, "{host}");
        }
        assert!(Screen::open().check_host("127.0.0.1").is_ok());
    }

    #[test]
    fn listeners_of_this_host_are_refused_even_where_their_network_is_allowed() {
        let own = OwnListeners::default();
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        for screen in [
            Screen::public_and(&["127.0.0.0/8".parse().unwrap()]),
            Screen::open(),
        ] {
            own.set(Vec::new());
            let screen = screen.without(&own);
            assert_eq!(screen.check(at(9000)), Ok(()));
            own.set(vec![at(9000)]);
            assert_eq!(
                screen.check(at(9000)),
                Err(NotAllowed::OwnListener(at(9000)))
            );
            assert_eq!(screen.check(at(9001)), Ok(()));
        }
    }

    #[test]
    fn listener_of_this_host_is_refused_by_an_address_that_is_translated_to_its_own() {
        let own = OwnListeners::default();
        own.set(vec!["93.184.215.14:443".parse().unwrap()]);
        let screen = Screen::public_and(&[]).without(&own);
        for (to, passes) in [
            ("[64:ff9b::93.184.215.14]:443", false),
            ("[64:ff9b::93.184.215.14]:444", true),
            ("[64:ff9b::93.184.215.15]:443", true),
            ("[2002:5db8:d70e::1]:443", false),
        ] {
            assert_eq!(screen.check(to.parse().unwrap()).is_ok(), passes, "{to}");
        }
    }
}
