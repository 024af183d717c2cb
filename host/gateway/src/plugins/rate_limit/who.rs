//! Determines who is counted for a request.

use super::By;
use crate::plugins::holder::Holder;
use hms_core::fields::only;
use http::HeaderMap;
use sha2::{Digest, Sha256};
use std::net::IpAddr;

/// What a counter is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Who {
    Holder(Holder),
    /// The first half of the SHA-256 of a field's value, which may be long.
    Value([u8; 16]),
    All,
}

/// Who is counted for a request.
pub(super) fn who(key: &By, user: Option<&str>, headers: &HeaderMap, client: IpAddr) -> Who {
    let value = match key {
        By::Route => return Who::All,
        By::Address => return Who::Holder(Holder::of(None, client)),
        By::User => None,
        // A proxy may add its line after the client's own. Of two lines, it is unknown which one
        // the proxy guarantees.
        By::Header(name) => only(headers, name),
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
    fn rule_decides_who_is_counted() {
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

    #[test]
    fn duplicate_field_does_not_choose_who_is_counted() {
        let here = IpAddr::from([192, 0, 2, 7]);
        let tenant = http::HeaderName::from_static("x-tenant");
        let key = By::Header(tenant.clone());
        let mut headers = HeaderMap::new();
        for line in ["the-clients", "the-proxys"] {
            headers.append(tenant.clone(), line.parse().unwrap());
        }
        let who = |user| who(&key, user, &headers, here);
        assert_eq!(who(None), Who::Holder(Holder::Address(here)));
        assert_eq!(
            who(Some("alice")),
            Who::Holder(Holder::User("alice".into()))
        );
    }
}
