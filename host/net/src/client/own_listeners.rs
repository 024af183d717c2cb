//! The socket addresses that this host listens on.
//!
//! A client that acts for somebody else must not reach them: a request from this machine could pass
//! for one of an operator, or of a proxy that is trusted.

use parking_lot::RwLock;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

/// The socket addresses that this host listens on, known once they are bound. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct OwnListeners(Arc<RwLock<Vec<SocketAddr>>>);

impl OwnListeners {
    /// Replaces the addresses, as the listeners have them after they are bound. One of all of the
    /// machine's addresses (`0.0.0.0`, `[::]`) stands for each of them.
    pub fn set(&self, addresses: Vec<SocketAddr>) {
        *self.0.write() = addresses;
    }

    /// Whether a connection to `to` would be one to a listener of this host.
    pub(super) fn include(&self, to: SocketAddr) -> bool {
        let listening = self.0.read();
        let mut same_port = listening.iter().filter(|own| own.port() == to.port());
        same_port.any(|own| leads_to(to, own.ip().to_canonical()))
    }
}

/// Whether `to` is an address of a listener at `own`.
fn leads_to(to: SocketAddr, own: IpAddr) -> bool {
    let ip = to.ip().to_canonical();
    // The system takes the unspecified address for this machine.
    ip == own || ip.is_unspecified() || (own.is_unspecified() && is_local(to))
}

/// Whether this machine has the address. The system answers an address of its own from that same
/// address; a datagram socket says so without sending anything. Where it cannot be said, a
/// connection would fail as well.
fn is_local(to: SocketAddr) -> bool {
    let ip = to.ip().to_canonical();
    if ip.is_loopback() || ip.is_unspecified() {
        return true;
    }
    let mut to = to;
    to.set_ip(ip);
    let any: SocketAddr = match ip {
        IpAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        IpAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let from = UdpSocket::bind(any).and_then(|socket| {
        socket.connect(to)?;
        socket.local_addr()
    });
    from.is_ok_and(|from| from.ip() == ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(addresses: &[&str]) -> OwnListeners {
        let own = OwnListeners::default();
        own.set(addresses.iter().map(|addr| addr.parse().unwrap()).collect());
        own
    }

    #[test]
    fn listener_of_one_address_is_met_at_that_address_and_port_however_it_is_written() {
        let own = own(&["127.0.0.1:9000", "[::1]:9000"]);
        for (to, included) in [
            ("127.0.0.1:9000", true),
            ("[::1]:9000", true),
            ("[::ffff:127.0.0.1]:9000", true),
            ("0.0.0.0:9000", true),
            ("[::]:9000", true),
            ("127.0.0.1:9001", false),
            ("127.0.0.2:9000", false),
            ("192.0.2.1:9000", false),
        ] {
            assert_eq!(own.include(to.parse().unwrap()), included, "{to}");
        }
    }

    #[test]
    fn listener_of_all_addresses_is_met_at_each_of_the_machine() {
        // The machine's address on its way out, where it has one.
        let out = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
            socket.connect("192.0.2.1:9")?;
            socket.local_addr()
        });
        for listener in ["0.0.0.0:9000", "[::]:9000"] {
            let own = own(&[listener]);
            for (to, included) in [
                ("127.0.0.1:9000", true),
                ("127.1.2.3:9000", true),
                ("[::1]:9000", true),
                ("[::ffff:127.0.0.1]:9000", true),
                ("192.0.2.1:9000", false),
                ("[2001:db8::1]:9000", false),
                ("127.0.0.1:9001", false),
            ] {
                assert_eq!(own.include(to.parse().unwrap()), included, "{to}");
            }
            if let Ok(out) = &out {
                let to = |port| SocketAddr::new(out.ip(), port);
                assert!(own.include(to(9000)) && !own.include(to(9001)), "{out}");
            }
        }
    }

    #[test]
    fn addresses_come_to_all_clones_when_they_are_set() {
        let first = OwnListeners::default();
        let second = first.clone();
        let to = "127.0.0.1:9000".parse().unwrap();
        assert!(!second.include(to));
        first.set(vec![to]);
        assert!(second.include(to));
    }
}
