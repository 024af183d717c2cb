//! The `Idempotency-Key` field, whose key it is, and what makes two requests the same.

use crate::error::Error;
use http::{HeaderMap, HeaderName};
use sha2::{Digest as _, Sha256};
use std::fmt::Write;
use std::net::IpAddr;

pub const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Characters of a key. A UUID has 36.
const MAX_KEY_CHARS: usize = 255;

/// A SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of `parts`, each with its length in front, so that no two lists give the same bytes.
    fn of(parts: &[&[u8]]) -> Digest {
        let mut sha = Sha256::new();
        for part in parts {
            sha.update((part.len() as u64).to_le_bytes());
            sha.update(part);
        }
        Digest(sha.finalize().into())
    }

    /// 64 characters.
    pub fn hex(&self) -> String {
        self.0.iter().fold(String::new(), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

/// The key of a request, if it has one: the text of a structured-field string (`"…"`, draft-ietf-httpapi-idempotency-key-header-07
/// section 2.1), or the same text bare, as many clients send it.
///
/// # Errors
///
/// Where there are several, or it is no such text of 1 to 255 visible ASCII characters.
pub fn read(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let mut fields = headers.get_all(KEY).iter();
    let Some(field) = fields.next() else {
        return Ok(None);
    };
    if fields.next().is_some() {
        return Err(refused("is there more than once: send one"));
    }
    let key = field.to_str().ok().map(str::trim).and_then(unquoted);
    let Some(key) = key.filter(|key| key.len() <= MAX_KEY_CHARS) else {
        return Err(refused(
            "is no text of 1 to 255 visible ASCII characters: send a new UUID in quotes for each thing to be done",
        ));
    };
    Ok(Some(key))
}

fn refused(reason: &str) -> Error {
    Error::BadRequest(format!("the field Idempotency-Key {reason}"))
}

fn unquoted(text: &str) -> Option<String> {
    let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    let Some(rest) = text.strip_prefix('"') else {
        // What a list, a parameter or half a string would have.
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

/// Where a key holds: one route, and one user; the client's address where there is no user.
pub fn scope(route: &str, user: Option<&str>, client: IpAddr, key: &str) -> Digest {
    let address = client.to_canonical().to_string();
    let (kind, who) = match user {
        Some(user) => ("user", user),
        None => ("address", address.as_str()),
    };
    Digest::of(&[
        route.as_bytes(),
        kind.as_bytes(),
        who.as_bytes(),
        key.as_bytes(),
    ])
}

/// What two requests with one key must have in common: method, path with query, content type and body.
pub fn fingerprint(
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

    fn key(values: &[&str]) -> Result<Option<String>, Error> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(KEY, value.parse().unwrap());
        }
        read(&headers)
    }

    #[test]
    fn a_key_is_read_in_quotes_and_bare() {
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
    fn what_is_broken_or_ambiguous_is_400() {
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
                matches!(key(&[sent]), Err(Error::BadRequest(_))),
                "{sent:?}"
            );
        }
        assert!(matches!(key(&["a", "a"]), Err(Error::BadRequest(_))));
    }

    #[test]
    fn each_route_and_user_has_keys_of_its_own() {
        let here: IpAddr = "192.0.2.7".parse().unwrap();
        let there: IpAddr = "192.0.2.8".parse().unwrap();
        let all = [
            scope("pay", Some("alice"), here, "k"),
            scope("pay", Some("bob"), here, "k"),
            scope("docs", Some("alice"), here, "k"),
            scope("pay", Some("alice"), here, "l"),
            scope("pay", None, here, "k"),
            scope("pay", None, there, "k"),
            // A user that is named like an address, and names that run into each other.
            scope("pay", Some("192.0.2.7"), here, "k"),
            scope("payalice", Some(""), here, "k"),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(!all[..i].contains(one), "{i}");
        }
        assert_eq!(all[0], scope("pay", Some("alice"), there, "k"));
        let mapped = "::ffff:192.0.2.7".parse().unwrap();
        assert_eq!(all[4], scope("pay", None, mapped, "k"));
    }

    #[test]
    fn a_fingerprint_tells_method_target_type_and_body_apart() {
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
