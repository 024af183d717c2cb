//! The caller under the one name that is used everywhere: by windows, `rate-limit`, `idempotency`,
//! canaries and the log.

use super::config::IssuerConfig;

/// The prefix for users of API keys. No issuer may have this name.
pub(super) const KEYS: &str = "key";

/// How the users of one issuer, or those of API keys, are named.
///
/// A subject is unique only within its issuer (OpenID Connect Core 1.0 section 2). If a host has
/// several issuers, a user is `ISSUER:SUBJECT`, with the issuer's name in the host's file. That
/// name has no colon, so the part before the first colon is always the issuer, even if the subject
/// has colons.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Naming {
    /// The subject alone: there is one issuer.
    #[default]
    Bare,
    /// This prefix, a colon, then the subject.
    Under(String),
    /// The subject alone, beside issuers with these names. It must not begin like one of their
    /// users.
    BareBeside(Vec<String>),
}

impl Naming {
    /// For each of a host's issuers, in order, and for its API keys.
    pub(super) fn of(issuers: &[IssuerConfig]) -> (Vec<Naming>, Naming) {
        if issuers.len() < 2 {
            return (vec![Naming::Bare; issuers.len()], Naming::Bare);
        }
        let names = issuers.iter().map(|issuer| issuer.name.clone());
        let others: Vec<String> = names.chain([KEYS.to_owned()]).collect();
        let naming = |issuer: &IssuerConfig| match issuer.bare_users {
            true => Naming::BareBeside(others.clone()),
            false => Naming::Under(issuer.name.clone()),
        };
        let all = issuers.iter().map(naming).collect();
        (all, Naming::Under(KEYS.into()))
    }

    /// The unique name of the user `subject` of this issuer.
    ///
    /// # Errors
    ///
    /// If it would be the name of another issuer's user.
    pub(super) fn user(&self, subject: String) -> Result<String, &'static str> {
        match self {
            Naming::Bare => Ok(subject),
            Naming::Under(issuer) => Ok(format!("{issuer}:{subject}")),
            Naming::BareBeside(others) => {
                let first = subject.split_once(':').map(|(first, _)| first);
                match others.iter().any(|other| first == Some(other)) {
                    true => Err("the token's subject (sub) begins like one of another issuer"),
                    false => Ok(subject),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::JwksSource;
    use super::*;
    use proptest::prelude::*;

    fn issuer(name: &str, bare_users: bool) -> IssuerConfig {
        IssuerConfig {
            name: name.into(),
            bare_users,
            ..IssuerConfig::only(JwksSource::File("keys.json".into()))
        }
    }

    #[test]
    fn users_of_one_issuer_are_named_by_subject_and_of_several_by_issuer_too() {
        let (one, keys) = Naming::of(&[issuer("staff", false)]);
        assert_eq!((one, keys), (vec![Naming::Bare], Naming::Bare));
        let (two, keys) = Naming::of(&[issuer("staff", false), issuer("town", true)]);
        let user = |naming: &Naming, subject: &str| naming.user(subject.into());
        assert_eq!(user(&two[0], "1001").unwrap(), "staff:1001");
        assert_eq!(user(&two[1], "1001").unwrap(), "1001");
        assert_eq!(user(&two[1], "1001:staff:").unwrap(), "1001:staff:");
        assert_eq!(user(&keys, "1001").unwrap(), "key:1001");
        for forged in ["staff:1001", "town:1001", "key:1001", "key:", "staff:"] {
            assert!(user(&two[1], forged).is_err(), "{forged}");
        }
    }

    /// Few, so that two are often the same, and one is often another behind an issuer's name.
    fn subject() -> impl Strategy<Value = String> {
        let front = prop::sample::select(vec!["", ":", "a:", "b:", "a:b:", "key:", "x:"]);
        let back = prop::sample::select(vec!["x", "a", "a:", ":x"]);
        (front, back).prop_map(|(front, back)| format!("{front}{back}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]

        /// Whatever colons subjects have, no two users share a name, and an issuer alone calls its
        /// users as before.
        #[test]
        fn no_two_users_share_a_name(
            bare in prop::option::of(0usize..3),
            one in (0usize..4, subject()),
            other in (0usize..4, subject()),
        ) {
            let issuer = |(i, name)| issuer(name, bare == Some(i));
            let issuers: Vec<_> = ["a", "b", "c"].into_iter().enumerate().map(issuer).collect();
            let (mut namings, keys) = Naming::of(&issuers);
            namings.push(keys);
            let user = |(issuer, subject): &(usize, String)| namings[*issuer].user(subject.clone());
            if let (Ok(first), Ok(second)) = (user(&one), user(&other)) {
                prop_assert_eq!(first == second, one == other, "{} {}", first, second);
            }
        }
    }
}
