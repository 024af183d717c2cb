//! Who is counted for a request.

use super::By;
use crate::gateway::plugins::holder::Holder;
use http::HeaderMap;
use sha2::{Digest, Sha256};
use std::net::IpAddr;

/// What a counter is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Who {
    Holder(Holder),
    /// The first half of the SHA-256 of a field's value, which may be long.
    Value([u8; 16]),
    All,
}

/// Who is counted for a request.
pub fn who(key: &By, user: Option<&str>, headers: &HeaderMap, client: IpAddr) -> Who {
    let value = match key {
        By::Route => return Who::All,
        By::Address => return Who::Holder(Holder::of(None, client)),
        By::User => None,
        By::Header(name) => headers.get(name),
    };
    let Some(value) = value else {
        return Who::Holder(Holder::of(user, client));
    };
    let [low, ..] = *Sha256::digest(value.as_bytes()).as_chunks::<16>().0 else {
        return Who::All;
    };
    Who::Value(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_counted_is_what_the_rule_says() {
        let here = IpAddr::from([192, 0, 2, 7]);
        let mut headers = HeaderMap::new();
        let tenant = http::HeaderName::from_static("x-tenant");
        let key = By::Header(tenant.clone());
        let of = |key: &By, headers: &HeaderMap, user| who(key, user, headers, here);
        let address = Who::Holder(Holder::Address(here));
        let alice = Who::Holder(Holder::User("alice".into()));
        assert_eq!(of(&By::User, &headers, Some("alice")), alice);
        assert_eq!(of(&By::User, &headers, None), address);
        assert_eq!(of(&By::Address, &headers, Some("alice")), address);
        assert_eq!(of(&By::Route, &headers, Some("alice")), Who::All);
        assert_eq!(of(&key, &headers, Some("alice")), alice);
        headers.insert(tenant.clone(), "a".parse().unwrap());
        let a = of(&key, &headers, Some("alice"));
        assert_eq!(of(&key, &headers, Some("bob")), a);
        headers.insert(tenant, "b".parse().unwrap());
        assert_ne!(of(&key, &headers, Some("bob")), a);
    }
}
