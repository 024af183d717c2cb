//! What a request shows of itself: a token or an API key, in `Authorization` or `x-api-key`.

use super::api_key::PREFIX;
use super::token::refuse;
use crate::error::Error;
use crate::gateway::headers::{API_KEY, drop_where, is_api_key};
use http::{HeaderMap, HeaderValue, header};

/// The one credential of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Credential<'a> {
    Token(&'a str),
    Key(&'a str),
}

/// The one credential of the request. What stands in `x-api-key` and is no key of ours is the upstream's business.
pub fn read(headers: &HeaderMap) -> Result<Credential<'_>, Error> {
    match (bearer(headers)?, api_key(headers)?) {
        (None, None) => Err(Error::Unauthorized {
            reason: "send a token or an API key: Authorization: Bearer TOKEN",
            token_sent: false,
        }),
        (Some(key), None) | (None, Some(key)) if key.starts_with(PREFIX) => {
            Ok(Credential::Key(key))
        }
        (Some(token), None) => Ok(Credential::Token(token)),
        (Some(bearer), Some(key)) if bearer == key => Ok(Credential::Key(key)),
        (_, Some(_)) => Err(refuse(
            "Authorization and x-api-key name two callers: send one of them",
        )),
    }
}

/// Removes keys of ours: they are good here alone, and whoever else had one could use it.
pub fn strip_keys(headers: &mut HeaderMap) {
    let shows_key = |value: &HeaderValue| value.to_str().is_ok_and(is_ours);
    if headers.get_all(header::AUTHORIZATION).iter().any(|value| {
        let token = value.to_str().ok().and_then(bearer_of);
        token.is_some_and(is_ours)
    }) {
        headers.remove(header::AUTHORIZATION);
    }
    let held: Vec<_> = headers
        .iter()
        .filter(|(name, value)| is_api_key(name) && shows_key(value))
        .map(|(name, _)| name.clone())
        .collect();
    drop_where(headers, |name| held.contains(name));
}

fn is_ours(text: &str) -> bool {
    text.trim().starts_with(PREFIX)
}

/// The token of the Authorization header; none where there is no header, or one of another scheme.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Error> {
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
    Ok(bearer_of(value))
}

/// The scheme is compared without case (RFC 9110 section 11.1).
fn bearer_of(value: &str) -> Option<&str> {
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim()),
        _ => None,
    }
}

/// The key of ours in `x-api-key`.
fn api_key(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let values = headers.get_all(API_KEY);
    let ours = values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .find(|value| is_ours(value));
    if ours.is_some() && values.iter().count() > 1 {
        return Err(refuse("more than one x-api-key header"));
    }
    Ok(ours.map(str::trim))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            let name = http::HeaderName::try_from(*name).unwrap();
            map.append(name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn a_request_has_one_credential_wherever_it_stands() {
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
        ] {
            match read(&headers(fields)) {
                Err(Error::Unauthorized { token_sent, .. }) => assert_eq!(token_sent, sent),
                other => panic!("{fields:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn keys_of_ours_go_no_further_in_any_spelling_and_others_do() {
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
        let kept = [("authorization", "Bearer a.b.c"), ("x-api-key", "theirs")];
        let mut map = headers(&kept);
        strip_keys(&mut map);
        assert_eq!(map, headers(&kept));
    }
}
