//! Which requests a canary gets.

use crate::canary::analysis::GROUPS;
use sha2::{Digest, Sha256};
use std::net::IpAddr;

/// A caller, as a canary distinguishes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller<'a> {
    User(&'a [u8]),
    /// An IPv6 address stands for its /64: whoever has one address of it has them all.
    Address(&'a [u8]),
    /// The key of an event that is delivered.
    Event(&'a [u8]),
}

impl Caller<'_> {
    /// The group of a caller, constant as long as the canary runs, also over a restart. `salt` is
    /// secret and random for each canary: so nobody is in every canary, and nobody can choose an
    /// address in a certain group.
    pub(crate) fn group(self, salt: u64) -> u32 {
        let hash = Sha256::new().chain_update(salt.to_le_bytes());
        let digest = match self {
            Caller::Event(key) => hash.chain_update(b"e").chain_update(key),
            Caller::User(user) => hash.chain_update(b"u").chain_update(user),
            Caller::Address(address) => match network(address) {
                Some(network) => hash.chain_update(b"6").chain_update(network),
                None => hash.chain_update(b"a").chain_update(address),
            },
        };
        let digest: [u8; 32] = digest.finalize().into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        let number = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        // Below `GROUPS`, which is a `u32`.
        (number % u64::from(GROUPS)) as u32
    }
}

/// The /64 of an IPv6 address.
fn network(address: &[u8]) -> Option<[u8; 8]> {
    match std::str::from_utf8(address).ok()?.parse().ok()? {
        IpAddr::V6(address) => Some(((u128::from(address) >> 64) as u64).to_be_bytes()),
        IpAddr::V4(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canary::analysis::STEPS;

    #[test]
    fn larger_share_contains_the_callers_of_every_smaller_one() {
        let group = |i: u32| Caller::User(&i.to_be_bytes()).group(4) % STEPS;
        let taken = (0..20_000).filter(|i| group(*i) < 1000).count();
        assert!((1800..2200).contains(&taken), "{taken}");
        assert!((0..20_000).all(|i| group(i) < STEPS));
    }

    /// Callers keep their side over a restart, and over an update of the host.
    #[test]
    fn groups_never_change() {
        assert_eq!(Caller::User(b"alice").group(7), 918);
        assert_eq!(Caller::Address(b"203.0.113.9").group(7), 17619);
        assert_eq!(Caller::Address(b"2001:db8::1").group(7), 3366);
        assert_ne!(Caller::User(b"alice").group(8), 918);
        assert_ne!(Caller::Event(b"alice").group(7), 918);
    }

    #[test]
    fn ipv6_caller_counts_as_its_64_bit_network_and_a_user_is_no_address() {
        let group = |address: &'static str| Caller::Address(address.as_bytes()).group(1);
        assert_eq!(group("2001:db8::1"), group("2001:db8::ffff:1"));
        assert_ne!(group("2001:db8::1"), group("2001:db8:0:1::1"));
        assert_ne!(group("203.0.113.9"), group("203.0.113.10"));
        assert_ne!(group("203.0.113.9"), Caller::User(b"203.0.113.9").group(1));
    }
}
