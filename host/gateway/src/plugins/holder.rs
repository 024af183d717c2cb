//! Whom a request is counted against: the caller, or the client's network if there is no caller.

use crate::request::caller::Caller;
use std::net::{IpAddr, Ipv6Addr};

/// The name by which a caller is counted and its data is kept. Counters, shares and idempotency
/// keys all use it, so two callers are the same for all of them or for none.
pub fn identity(caller: &Caller) -> &str {
    &caller.user
}

/// Whom a share belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    /// By [`identity`].
    User(Box<str>),
    /// By [`client_network`].
    Address(IpAddr),
}

impl Holder {
    /// `user` if there is one, else the network of `client`.
    pub(super) fn of(user: Option<&str>, client: IpAddr) -> Holder {
        match user {
            Some(user) => Holder::User(user.into()),
            None => Holder::Address(client_network(client)),
        }
    }
}

/// The part of an address that stands for one client: all of IPv4; the first 64 bits of IPv6,
/// because one client has at least a /64.
pub(super) fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let prefix = u128::from(v6) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(prefix))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_client_counts_as_its_64_bit_network() {
        let network = |text: &str| client_network(text.parse().unwrap());
        assert_eq!(network("2001:db8:0:1::1"), network("2001:db8:0:1:ffff::2"));
        assert_ne!(network("2001:db8:0:1::1"), network("2001:db8:0:2::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
    }

    #[test]
    fn user_named_like_an_address_is_not_that_address() {
        let client = IpAddr::from([192, 0, 2, 7]);
        let user = Holder::of(Some("192.0.2.7"), client);
        assert_ne!(user, Holder::of(None, client));
        assert_eq!(user, Holder::of(Some("192.0.2.7"), [192, 0, 2, 8].into()));
    }
}
