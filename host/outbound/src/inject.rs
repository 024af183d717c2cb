//! Secrets on their way into header fields: by the templates of a grant, and in place of
//! placeholders that the guest sends. The guest sees neither.

use hms_core::headers::drop_where;
use hms_grants::outbound::{PLACEHOLDER, TemplatePart};
use hms_grants::{OutboundGrant, Secret, Secrets};
use http::{HeaderMap, HeaderValue};
use std::collections::{BTreeMap, BTreeSet};

/// Why a request does not get its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Missing {
    /// It has no value.
    Secret(String),
    /// Its value holds a byte that no header field may have.
    NoField(String),
}

impl Missing {
    /// For the window's log. `faults` are those of secrets whose values cannot be read.
    pub(crate) fn line(
        &self,
        origin: &str,
        file: &str,
        faults: &BTreeMap<String, String>,
    ) -> String {
        let (name, why) = match self {
            Missing::Secret(name) => match faults.get(name) {
                Some(fault) => (name, format!("has no value: {fault}")),
                None => (name, "has no value".into()),
            },
            Missing::NoField(name) => (name, "has a value that no header field can hold".into()),
        };
        format!("outgoing request to {origin} refused: the secret '{name}' of {file} {why}")
    }
}

/// Replaces the placeholders of the grant's secrets in the fields of the guest, then sets what the
/// grant injects. Gives the names of the secrets that were used.
///
/// # Errors
/// Which secret cannot be used. Nothing is to be sent then.
pub(crate) fn give_secrets<'a>(
    headers: &mut HeaderMap,
    grant: &'a OutboundGrant,
    secrets: &Secrets,
) -> Result<BTreeSet<&'a str>, Missing> {
    let mut used = BTreeSet::new();
    if !grant.placeholders.is_empty() {
        for value in headers.values_mut() {
            if let Some(filled) = fill(value.as_bytes(), &grant.placeholders, secrets, &mut used)? {
                *value = filled;
            }
        }
    }
    for inject in &grant.inject {
        let (mut bytes, mut last) = (Vec::new(), "");
        for part in &inject.parts {
            match part {
                TemplatePart::Text(text) => bytes.extend_from_slice(text.as_bytes()),
                TemplatePart::Secret(name) => {
                    bytes.extend_from_slice(value(secrets, name)?);
                    used.insert(name.as_str());
                    last = name;
                }
            }
        }
        // A service that takes `_` for `-` would read a field of the guest beside it.
        drop_where(headers, |name| inject.reads_as(name));
        headers.insert(inject.header.clone(), field(&bytes, last)?);
    }
    Ok(used)
}

/// The value with its placeholders replaced; none where it has none.
fn fill<'a>(
    given: &[u8],
    listed: &'a [String],
    secrets: &Secrets,
    used: &mut BTreeSet<&'a str>,
) -> Result<Option<HeaderValue>, Missing> {
    let (mut filled, mut rest, mut last) = (Vec::new(), given, None);
    while let Some(at) = find(rest, PLACEHOLDER.as_bytes()) {
        let (before, behind) = rest.split_at(at + PLACEHOLDER.len());
        let end = behind.iter().position(|byte| !is_of_name(*byte));
        let (name, after) = behind.split_at(end.unwrap_or(behind.len()));
        match listed.iter().find(|listed| listed.as_bytes() == name) {
            Some(name) => {
                filled.extend_from_slice(before.get(..at).unwrap_or_default());
                filled.extend_from_slice(value(secrets, name)?);
                used.insert(name.as_str());
                last = Some(name);
            }
            None => {
                filled.extend_from_slice(before);
                filled.extend_from_slice(name);
            }
        }
        rest = after;
    }
    let Some(last) = last else { return Ok(None) };
    filled.extend_from_slice(rest);
    field(&filled, last).map(Some)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|found| found == wanted)
}

/// As the names of secrets are made.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

fn value<'a>(secrets: &'a Secrets, name: &str) -> Result<&'a [u8], Missing> {
    let found = secrets.get(name).map(Secret::expose);
    found.ok_or_else(|| Missing::Secret(name.to_owned()))
}

/// Sensitive, so that it is shown nowhere, and kept in no table of HTTP/2.
fn field(bytes: &[u8], secret: &str) -> Result<HeaderValue, Missing> {
    let value = HeaderValue::from_bytes(bytes);
    let mut value = value.map_err(|_| Missing::NoField(secret.to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::grant;
    use hms_grants::Inject;
    use proptest::prelude::*;

    fn secrets(values: &[(&str, &str)]) -> Secrets {
        let secret = |value: &str| Secret::new(value.as_bytes().to_vec());
        let values = values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), secret(value)));
        values.collect()
    }

    fn bearer() -> OutboundGrant {
        let parts = vec![
            TemplatePart::Text("Bearer ".into()),
            TemplatePart::Secret("card-key".into()),
        ];
        let header = http::header::AUTHORIZATION;
        OutboundGrant {
            inject: vec![Inject { header, parts }],
            ..grant()
        }
    }

    #[test]
    fn template_stands_over_whatever_the_guest_says() {
        let mut headers = HeaderMap::new();
        headers.append("authorization", "Bearer forged".parse().unwrap());
        headers.append("authorization", "Basic forged".parse().unwrap());
        let (grant, known) = (bearer(), secrets(&[("card-key", "sk_live_42")]));
        let used = give_secrets(&mut headers, &grant, &known).unwrap();
        assert_eq!(Vec::from_iter(used), ["card-key"]);
        let values: Vec<_> = headers.get_all("authorization").iter().collect();
        assert_eq!(values, ["Bearer sk_live_42"]);
        assert!(values[0].is_sensitive());
        assert!(!format!("{headers:?}").contains("sk_live"), "{headers:?}");
    }

    #[test]
    fn field_of_the_guest_that_reads_as_the_injected_one_does_not_leave() {
        let parts = vec![TemplatePart::Secret("card-key".into())];
        for (injected, others) in [
            ("x-key", ["x_key", "x.key", "x~key"]),
            ("x_key", ["x-key", "x.key", "x~key"]),
        ] {
            let mut headers = HeaderMap::new();
            for name in others.iter().chain(&[injected, "x-keys"]) {
                headers.append(*name, "guessed".parse().unwrap());
            }
            let header = http::HeaderName::from_static(injected);
            let inject = vec![Inject {
                header,
                parts: parts.clone(),
            }];
            let grant = OutboundGrant { inject, ..grant() };
            give_secrets(&mut headers, &grant, &secrets(&[("card-key", "sk_1")])).unwrap();
            assert_eq!(headers.len(), 2, "{headers:?}");
            assert_eq!(
                (&headers[injected], &headers["x-keys"]),
                (
                    &HeaderValue::from_static("sk_1"),
                    &HeaderValue::from_static("guessed"),
                )
            );
        }
    }

    #[test]
    fn secret_without_a_usable_value_refuses_the_request_by_its_name() {
        let grant = bearer();
        let refused = |known: Secrets| give_secrets(&mut HeaderMap::new(), &grant, &known).err();
        assert_eq!(
            refused(secrets(&[])),
            Some(Missing::Secret("card-key".into()))
        );
        let broken = refused(secrets(&[("card-key", "sk_live\r\nx: y")])).unwrap();
        assert_eq!(broken, Missing::NoField("card-key".into()));
        let faults = BTreeMap::from([("card-key".to_owned(), "card-key: mode 0644".to_owned())]);
        let line = |missing: &Missing| {
            missing.line("https://api.card.example", "windows/payments.yaml", &faults)
        };
        let missing = line(&Missing::Secret("card-key".into()));
        assert!(
            missing.ends_with("has no value: card-key: mode 0644"),
            "{missing}"
        );
        let line = line(&broken);
        assert!(
            line.contains("'card-key'") && !line.contains("sk_live"),
            "{line}"
        );
    }

    #[test]
    fn placeholder_is_replaced_where_the_grant_lists_it_and_nowhere_else() {
        let listed = OutboundGrant {
            placeholders: vec!["key".into(), "key-2".into()],
            ..grant()
        };
        let known = secrets(&[("key", "ONE"), ("key-2", "TWO"), ("other", "THREE")]);
        for (grant, sent, expected) in [
            (&listed, "Bearer hms-secret:key", "Bearer ONE"),
            (&listed, "hms-secret:key-2", "TWO"),
            (
                &listed,
                "a hms-secret:key, hms-secret:key-2;b",
                "a ONE, TWO;b",
            ),
            (&listed, "hms-secret:other", "hms-secret:other"),
            (&listed, "hms-secret:key-3", "hms-secret:key-3"),
            (
                &listed,
                "hms-secret:other hms-secret:key",
                "hms-secret:other ONE",
            ),
            (
                &listed,
                "hms-secret:hms-secret:key",
                "hms-secret:hms-secret:key",
            ),
            (&grant(), "Bearer hms-secret:key", "Bearer hms-secret:key"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-api-key", sent.parse().unwrap());
            give_secrets(&mut headers, grant, &known).unwrap();
            assert_eq!(headers["x-api-key"], expected, "{sent}");
            assert_eq!(
                headers["x-api-key"].is_sensitive(),
                sent != expected,
                "{sent}"
            );
        }
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", "hms-secret:key".parse().unwrap());
        let missing = give_secrets(&mut headers, &listed, &secrets(&[]));
        assert_eq!(missing.err(), Some(Missing::Secret("key".into())));
    }

    proptest! {
        /// A secret that is not listed is in no value, whatever the guest writes.
        #[test]
        fn only_listed_secrets_are_put_into_fields(parts in prop::collection::vec("hms-secret:|key|other|[ -~]{0,4}", 0..8)) {
            let sent = parts.concat();
            let Ok(value) = HeaderValue::from_bytes(sent.as_bytes()) else { return Ok(()) };
            let grant = OutboundGrant { placeholders: vec!["key".into()], ..grant() };
            let known = secrets(&[("key", "\u{1}"), ("other", "SECRET")]);
            let mut headers = HeaderMap::new();
            headers.insert("x-a", value);
            let known_key = secrets(&[("key", "ONE"), ("other", "SECRET")]);
            give_secrets(&mut headers, &grant, &known_key).unwrap();
            let made = headers["x-a"].to_str().unwrap();
            prop_assert!(!made.contains("SECRET") || sent.contains("SECRET"), "{made}");
            // One whose value cannot be in a field is refused if, and only if, it would be used.
            let mut headers = HeaderMap::new();
            headers.insert("x-a", sent.parse().unwrap());
            let refused = give_secrets(&mut headers, &grant, &known).is_err();
            prop_assert_eq!(refused, made != sent);
        }
    }
}
