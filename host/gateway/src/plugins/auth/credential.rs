//! The credential that a request presents: a token or an API key, in `Authorization` or
//! `x-api-key`.

use super::api_key::{PREFIX, is_key_in};
use super::token::refuse;
use crate::plugins::auth::AuthError;
use crate::request::headers::{API_KEY, drop_where, is_api_key};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hms_core::fields::only;
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The one credential of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Credential<'a> {
    Token(&'a str),
    Key(&'a str),
}

/// The only credential of the request. A value of `x-api-key` that is not a key of ours is for the
/// upstream.
pub(super) fn read(headers: &HeaderMap) -> Result<Credential<'_>, AuthError> {
    match (bearer(headers)?, api_key(headers)?) {
        (None, None) => Err(AuthError::Unauthorized {
            reason: "authentication required: send a token or an API key as 'Authorization: Bearer TOKEN'",
            token_sent: false,
        }),
        (Some(key), None) | (None, Some(key)) if key.starts_with(PREFIX) => {
            Ok(Credential::Key(key))
        }
        (Some(token), None) => Ok(Credential::Token(token)),
        (Some(bearer), Some(key)) if bearer == key => Ok(Credential::Key(key)),
        (_, Some(_)) => Err(refuse(
            "Authorization and x-api-key hold different credentials: send only one",
        )),
    }
}

/// Removes every field that contains a key of ours, whatever its name: a key is valid only here,
/// and whoever else obtains it could use it. Compares bytes, because a byte beyond ASCII would hide
/// a key from a reader of text.
pub fn strip_keys(headers: &mut HeaderMap) {
    let shown = headers
        .iter()
        .filter(|(name, value)| shows_key(name, value));
    let held: Vec<HeaderName> = shown.map(|(name, _)| name.clone()).collect();
    if !held.is_empty() {
        drop_where(headers, |name| held.contains(name));
    }
}

/// Whether the field contains a key of ours. In fields for keys, its prefix is sufficient.
fn shows_key(name: &HeaderName, value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    let here = match *name == header::AUTHORIZATION {
        true => scheme_and_rest(bytes).is_some_and(|(scheme, rest)| {
            (is(scheme, "bearer") && is_ours(rest)) || (is(scheme, "basic") && is_basic(rest))
        }),
        false => is_api_key(name) && is_ours(bytes),
    };
    here || is_key_in(bytes)
}

/// Whether a base64 user and password (RFC 7617) contain a key of ours. Programs that support no
/// other scheme send keys so.
fn is_basic(rest: &[u8]) -> bool {
    STANDARD
        .decode(rest.trim_ascii())
        .is_ok_and(|plain| is_key_in(&plain))
}

fn is_ours(value: &[u8]) -> bool {
    value.trim_ascii().starts_with(PREFIX.as_bytes())
}

fn is(scheme: &[u8], known: &str) -> bool {
    scheme.eq_ignore_ascii_case(known.as_bytes())
}

/// The scheme is compared without case (RFC 9110 section 11.1).
fn scheme_and_rest(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = value.iter().position(|byte| b" \t".contains(byte))?;
    Some(value.split_at(at))
}

/// The token in the Authorization header. None without the header, or with another scheme.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, AuthError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(refuse("more than one Authorization header"));
    }
    let value = value
        .to_str()
        .map_err(|_| refuse("the Authorization header is not ASCII"))?;
    match value.split_once(' ') {
        Some((scheme, token)) if is(scheme.as_bytes(), "bearer") => Ok(Some(token.trim())),
        _ => Ok(None),
    }
}

/// The key of ours in `x-api-key`.
fn api_key(headers: &HeaderMap) -> Result<Option<&str>, AuthError> {
    let mut values = headers.get_all(API_KEY).iter();
    let Some(ours) = values.find(|value| is_ours(value.as_bytes())) else {
        return Ok(None);
    };
    if only(headers, &API_KEY).is_none() {
        return Err(refuse("more than one x-api-key header"));
    }
    let key = ours.to_str();
    key.map(|key| Some(key.trim()))
        .map_err(|_| refuse("the x-api-key header is not ASCII"))
}

#[cfg(test)]
mod tests {
    use super::super::api_key::NewKey;
    use super::*;

    fn headers<V: AsRef<[u8]>>(fields: &[(&str, V)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            let value = HeaderValue::from_bytes(value.as_ref()).unwrap();
            map.append(HeaderName::try_from(*name).unwrap(), value);
        }
        map
    }

    #[test]
    fn request_has_at_most_one_credential_in_any_field() {
        use Credential::{Key, Token};
        for (fields, expected) in [
            (&[("authorization", "Bearer a.b.c")][..], Token("a.b.c")),
            (&[("authorization", "bearer hms_1_x")], Key("hms_1_x")),
            (&[("x-api-key", "hms_1_x")], Key("hms_1_x")),
            (
                &[
                    ("authorization", "Bearer hms_1_x"),
                    ("x-api-key", "hms_1_x"),
                ],
                Key("hms_1_x"),
            ),
            // The upstream's own key, and the upstream's own scheme.
            (
                &[("authorization", "Bearer a.b.c"), ("x-api-key", "theirs")],
                Token("a.b.c"),
            ),
            (
                &[("authorization", "Basic YTpi"), ("x-api-key", "hms_1_x")],
                Key("hms_1_x"),
            ),
        ] {
            assert_eq!(read(&headers(fields)).unwrap(), expected, "{fields:?}");
        }
        for (fields, sent) in [
            (&[][..], false),
            (&[("x-api-key", "theirs")], false),
            (&[("x_api_key", "hms_1_x")], false),
            (
                &[("authorization", "Bearer a.b.c"), ("x-api-key", "hms_1_x")],
                true,
            ),
            (
                &[
                    ("authorization", "Bearer hms_2_y"),
                    ("x-api-key", "hms_1_x"),
                ],
                true,
            ),
            (&[("x-api-key", "hms_1_x"), ("x-api-key", "hms_1_x")], true),
            (&[("x-api-key", "theirs"), ("x-api-key", "hms_1_x")], true),
            (&[("x-api-key", "hms_1_x\u{e9}")], true),
            (&[("x-api-key", "hms_1_x"), ("x-api-key", "\u{e9}")], true),
            (&[("authorization", "Bearer hms_1_x\u{e9}")], true),
        ] {
            match read(&headers(fields)) {
                Err(AuthError::Unauthorized { token_sent, .. }) => assert_eq!(token_sent, sent),
                other => panic!("{fields:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn own_keys_are_stripped_in_any_spelling_and_foreign_ones_kept() {
        let mut map = headers(&[
            ("authorization", "BEARER  hms_1_x"),
            ("x-api-key", "theirs"),
            ("x-api-key", "hms_1_x"),
            ("x_api_key", " hms_1_x"),
            ("x.api.key", "theirs"),
            ("accept", "hms_"),
        ]);
        strip_keys(&mut map);
        assert_eq!(map, headers(&[("x.api.key", "theirs"), ("accept", "hms_")]));
        let kept = [
            ("authorization", "Bearer a.b.c"),
            ("x-api-key", "theirs"),
            ("cookie", "hms_=1; hms_000000000000_short=2"),
        ];
        let mut map = headers(&kept);
        strip_keys(&mut map);
        assert_eq!(map, headers(&kept));
    }

    #[test]
    fn own_key_is_stripped_from_any_field_whatever_surrounds_it() {
        let key = NewKey::make().unwrap().text;
        let with = |front: &[u8], back: &[u8]| [front, key.as_bytes(), back].concat();
        let basic = format!("basic {}", STANDARD.encode(format!("robot:{key}")));
        for (name, value) in [
            ("authorization", with(b"Bearer ", b"\xff")),
            ("authorization", with(b"\xff Bearer ", b"")),
            ("authorization", with(b"bearer\t", b"")),
            ("authorization", with(b"Token ", b"")),
            ("authorization", with(b"", b"")),
            ("authorization", basic.into_bytes()),
            ("x-api-key", with(b"", b"\xff")),
            ("x-api-key", with(b"theirs, ", b"")),
            ("x_api_key", with(b"\xe9 ", b"")),
            ("x-auth-token", with(b"", b"")),
            ("proxy-authorization", with(b"Bearer ", b"")),
            ("cookie", with(b"a=1; hms_; key=", b"; b=2")),
            ("referer", with(b"https://example.org/?key=", b"")),
        ] {
            let mut map = headers(&[("accept", &b"*/*"[..]), (name, &value)]);
            strip_keys(&mut map);
            let expected = headers(&[("accept", "*/*")]);
            assert_eq!(map, expected, "{name}: {}", value.escape_ascii());
        }
    }
}
