//! The `Idempotency-Key` field, the scope of a key, and what makes two requests equal.

use crate::plugins::holder::Holder;
use crate::request::rejection::Rejection;
use http::{HeaderMap, HeaderName};
use sha2::{Digest as _, Sha256};
use std::fmt::Write;
use std::net::IpAddr;

pub(super) const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Characters of a key. A UUID has 36.
const MAX_KEY_CHARS: usize = 255;

/// A SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    /// The hash of `parts`, each prefixed by its length, so that different lists never hash the
    /// same bytes.
    fn of(parts: &[&[u8]]) -> Digest {
        let mut sha = Sha256::new();
        for part in parts {
            sha.update((part.len() as u64).to_le_bytes());
            sha.update(part);
        }
        Digest(sha.finalize().into())
    }

    /// 64 characters.
    pub(super) fn hex(&self) -> String {
        hex(String::new(), &self.0)
    }
}

/// The key of a request, if it has one: a structured-field string (`"…"`,
/// draft-ietf-httpapi-idempotency-key-header-07 section 2.1), or the bare text, as many clients
/// send it.
///
/// # Errors
///
/// If there are several keys, or the key is not 1 to 255 visible ASCII characters.
pub(super) fn read(headers: &HeaderMap) -> Result<Option<String>, Rejection> {
    let mut fields = headers.get_all(KEY).iter();
    let Some(field) = fields.next() else {
        return Ok(None);
    };
    if fields.next().is_some() {
        return Err(refused("appears more than once: send one"));
    }
    let key = field.to_str().ok().map(str::trim).and_then(unquoted);
    let Some(key) = key.filter(|key| key.len() <= MAX_KEY_CHARS) else {
        return Err(refused(
            "is not 1 to 255 visible ASCII characters: send a new UUID in quotes with each new request",
        ));
    };
    Ok(Some(key))
}

fn refused(reason: &'static str) -> Rejection {
    Rejection::BadRequest(["the Idempotency-Key header ", reason, "", ""].into())
}

fn unquoted(text: &str) -> Option<String> {
    let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    let Some(rest) = text.strip_prefix('"') else {
        // Characters of a list, a parameter or half a string.
        let bare = !text.is_empty() && visible(text) && !text.contains(['"', '\\', ',', ';']);
        return bare.then(|| text.to_string());
    };
    let mut key = String::new();
    let mut chars = rest.strip_suffix('"')?.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => return None,
            // RFC 9651 section 3.3.3: only these two are escaped.
            '\\' => key.push(chars.next().filter(|next| ['"', '\\'].contains(next))?),
            other => key.push(other),
        }
    }
    (!key.is_empty() && visible(&key)).then_some(key)
}

/// Whom a key, its answer and its bodies are charged to: a named hash of a [`Holder`], the same in
/// every version of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    pub is_address: bool,
    hash: [u8; 16],
}

impl Owner {
    pub(super) fn of(holder: &Holder) -> Owner {
        let Digest(digest) = match holder {
            Holder::User(user) => Digest::of(&[b"user", user.as_bytes()]),
            Holder::Address(address) => Digest::of(&[b"address", address.to_string().as_bytes()]),
        };
        let mut hash = [0; 16];
        hash.iter_mut()
            .zip(digest)
            .for_each(|(to, from)| *to = from);
        Owner {
            is_address: matches!(holder, Holder::Address(_)),
            hash,
        }
    }

    /// 33 characters; [`Owner::parse`] reads them.
    pub(super) fn name(&self) -> String {
        let kind = if self.is_address { 'a' } else { 'u' };
        hex(kind.into(), &self.hash)
    }

    pub(super) fn parse(name: &str) -> Option<Owner> {
        let is_address = match name.as_bytes().first()? {
            b'a' => true,
            b'u' => false,
            _ => return None,
        };
        let hex = name.get(1..)?;
        // A sign is refused; the parser would accept it.
        let whole = hex.len() == 32 && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = u128::from_str_radix(hex, 16).ok().filter(|_| whole)?;
        Some(Owner {
            is_address,
            hash: number.to_be_bytes(),
        })
    }
}

fn hex(start: String, bytes: &[u8]) -> String {
    bytes.iter().fold(start, |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// What a key belongs to. Not the name of the route's file: the operator may rename it, and a
/// client repeats a request to the same resource.
#[derive(Debug, Clone, Copy)]
pub(super) enum Realm<'a> {
    /// The route's `uri`, without the names in it, and the requested host if the route names
    /// `hosts`.
    Resource { uri: &'a str, host: &'a str },
    /// The name in the manifest.
    Named(&'a str),
}

/// The scope of a key: one realm, and one user; the client's address if there is no user.
pub(super) fn scope(realm: Realm<'_>, user: Option<&str>, client: IpAddr, key: &str) -> Digest {
    let address = client.to_canonical().to_string();
    let (kind, who) = match user {
        Some(user) => ("user", user),
        None => ("address", address.as_str()),
    };
    let (realm, name, host) = match realm {
        Realm::Resource { uri, host } => ("uri", uri, host),
        Realm::Named(name) => ("scope", name, ""),
    };
    Digest::of(&[
        realm.as_bytes(),
        name.as_bytes(),
        host.as_bytes(),
        kind.as_bytes(),
        who.as_bytes(),
        key.as_bytes(),
    ])
}

/// What two requests with one key must have in common: method, path with query, content type and
/// body.
pub(super) fn fingerprint(
    method: &str,
    (path, query): (&str, Option<&str>),
    content_type: &[u8],
    body: &[u8],
) -> Digest {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Digest::of(&[
        method.as_bytes(),
        path.as_bytes(),
        query.as_bytes(),
        content_type,
        body,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(values: &[&str]) -> Result<Option<String>, Rejection> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(KEY, value.parse().unwrap());
        }
        read(&headers)
    }

    #[test]
    fn key_is_read_quoted_or_bare() {
        for (sent, expected) in [
            (
                r#""8e03978e-40d5-43dd-bc93-6894a57f9324""#,
                "8e03978e-40d5-43dd-bc93-6894a57f9324",
            ),
            ("8e03978e-40d5", "8e03978e-40d5"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            (r#"  "a"  "#, "a"),
            ("order/7?x=1", "order/7?x=1"),
        ] {
            assert_eq!(key(&[sent]).unwrap().as_deref(), Some(expected), "{sent}");
        }
        assert_eq!(key(&[]).unwrap(), None);
        assert!(key(&[&"k".repeat(255)]).is_ok());
    }

    #[test]
    fn malformed_or_ambiguous_key_is_400() {
        let long = "k".repeat(256);
        let quoted = format!("\"{long}\"");
        for sent in [
            "",
            "\"",
            "\"\"",
            "\"a",
            "a\"",
            "\"a\"b\"",
            "\"a\\\"",
            "\"a\\n\"",
            "a b",
            "\"a b\"",
            "a,b",
            "a;p=1",
            "\"a\";p=1",
            "a\\b",
            "\u{e9}",
            &long,
            &quoted,
        ] {
            assert!(
                matches!(key(&[sent]), Err(Rejection::BadRequest(_))),
                "{sent:?}"
            );
        }
        assert!(matches!(key(&["a", "a"]), Err(Rejection::BadRequest(_))));
    }

    #[test]
    fn every_resource_and_user_has_separate_keys() {
        let here: IpAddr = "192.0.2.7".parse().unwrap();
        let there: IpAddr = "192.0.2.8".parse().unwrap();
        let at = |uri, host| Realm::Resource { uri, host };
        let pay = at("/pay", "");
        let all = [
            scope(pay, Some("alice"), here, "k"),
            scope(pay, Some("bob"), here, "k"),
            scope(at("/docs", ""), Some("alice"), here, "k"),
            scope(at("/pay", "a.example"), Some("alice"), here, "k"),
            scope(at("/pay", "b.example"), Some("alice"), here, "k"),
            scope(Realm::Named("/pay"), Some("alice"), here, "k"),
            scope(pay, Some("alice"), here, "l"),
            scope(pay, None, here, "k"),
            scope(pay, None, there, "k"),
            // A user that is named like an address, and names that run into each other.
            scope(pay, Some("192.0.2.7"), here, "k"),
            scope(at("/payalice", ""), Some(""), here, "k"),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(!all[..i].contains(one), "{i}");
        }
        assert_eq!(all[0], scope(pay, Some("alice"), there, "k"));
        let mapped = "::ffff:192.0.2.7".parse().unwrap();
        assert_eq!(all[7], scope(pay, None, mapped, "k"));
    }

    #[test]
    fn owner_parses_its_own_name_which_is_stable_across_versions() {
        let alice = Owner::of(&Holder::User("alice".into()));
        let here = Owner::of(&Holder::Address([192, 0, 2, 7].into()));
        for owner in [alice, here] {
            assert_eq!(Owner::parse(&owner.name()), Some(owner));
        }
        assert_ne!(here, Owner::of(&Holder::User("192.0.2.7".into())));
        for broken in [
            "",
            "a",
            "x0123",
            "u12",
            &alice.name()[..32],
            "u+2345678901234567890123456789012",
        ] {
            assert_eq!(Owner::parse(broken), None, "{broken}");
        }
        assert_eq!(alice.name(), "ub386072a653cac59a74cf54a070b44bf");
    }

    #[test]
    fn fingerprint_covers_method_target_type_and_body() {
        let all = [
            fingerprint("POST", ("/a", Some("b")), b"text/plain", b"body"),
            fingerprint("PATCH", ("/a", Some("b")), b"text/plain", b"body"),
            fingerprint("POST", ("/a", Some("c")), b"text/plain", b"body"),
            fingerprint("POST", ("/a", None), b"text/plain", b"body"),
            fingerprint("POST", ("/a", Some("")), b"text/plain", b"body"),
            fingerprint("POST", ("/a", Some("b")), b"text/html", b"body"),
            fingerprint("POST", ("/a", Some("b")), b"text/plain", b"bodY"),
            fingerprint("POST", ("/a", Some("b")), b"text/plainb", b"ody"),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(!all[..i].contains(one), "{i}");
        }
        assert_eq!(all[0].hex().len(), 64);
    }
}
