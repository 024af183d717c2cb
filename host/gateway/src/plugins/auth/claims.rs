//! From a token's claims to the caller.

use crate::request::caller::Caller;
use serde_json::{Map, Value};

/// Characters of a subject. OpenID Connect allows 255. With an issuer's name in front, a user has
/// at most 321.
const MAX_USER: usize = 256;

/// Scopes of one token, and their total bytes: they are sent in one header. Entra puts up to 200
/// groups into a token, each with a name of 36 characters.
const MAX_SCOPES: usize = 256;
const MAX_SCOPE_BYTES: usize = 8192;

/// Names of members, and characters of each, that are logged for a token.
const SHOWN_MEMBERS: usize = 20;
const SHOWN_CHARS: usize = 40;

/// The claims of a token that name the caller. Times, issuer and audience are checked elsewhere.
pub(super) type Claims = Map<String, Value>;

/// The claims that may have the scopes, if none is configured for the issuer: RFC 8693 section 4.2,
/// then what some providers send.
const SCOPE_CLAIMS: [&str; 3] = ["scope", "scp", "scopes"];

/// The caller that these claims name, by the subject alone. A value that cannot be a header is
/// refused, not changed.
pub(super) fn caller(claims: &Claims, scope_claim: Option<&str>) -> Result<Caller, &'static str> {
    let user = match member(claims, "sub") {
        Some(Value::String(user)) => user.clone(),
        Some(_) => return Err("the token's subject (sub) is not a string"),
        None => return Err("the token has no subject (sub)"),
    };
    check_user(&user)?;
    let claim = match scope_claim {
        Some(place) => at(claims, place),
        None => SCOPE_CLAIMS.iter().find_map(|name| member(claims, name)),
    };
    let scopes = claim.map(scopes).transpose()?.unwrap_or_default();
    check_scopes(&scopes)?;
    Ok(Caller { user, scopes })
}

/// A member that exists and is not null.
pub(super) fn member<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    claims.get(name).filter(|value| !value.is_null())
}

/// The claim at `place`, as an operator writes it: a JSON pointer (RFC 6901) if it begins with a
/// slash; else the name of a claim or, if there is no such claim, names of nested members separated
/// by dots.
pub(super) fn at<'a>(claims: &'a Claims, place: &str) -> Option<&'a Value> {
    let found = match place.strip_prefix('/') {
        Some(path) => {
            let (first, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
            let first = first.replace("~1", "/").replace("~0", "~");
            claims.get(&first)?.pointer(rest)
        }
        None => claims.get(place).or_else(|| {
            let mut names = place.split('.');
            let first = claims.get(names.next()?)?;
            names.try_fold(first, |inner, name| inner.as_object()?.get(name))
        }),
    };
    found.filter(|value| !value.is_null())
}

/// Validates the place of a claim.
///
/// # Errors
///
/// A sentence.
pub(super) fn parse_place(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("it is empty".into());
    }
    let mut escapes = text.split('~').skip(1);
    if text.starts_with('/') && !escapes.all(|rest| rest.starts_with(['0', '1'])) {
        return Err(format!(
            "'{text}' is not a JSON pointer (RFC 6901): write '~' as '~0', and '/' in a name as \
             '~1'"
        ));
    }
    Ok(text.to_string())
}

/// The names of a token's members, for the log.
pub(super) fn names(claims: &Claims) -> String {
    let shown = claims.keys().take(SHOWN_MEMBERS).map(|name| {
        let name: String = name.chars().take(SHOWN_CHARS).collect();
        name.escape_debug().to_string()
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// Words in one string, or a list with one scope each.
fn scopes(claim: &Value) -> Result<Vec<String>, &'static str> {
    const WRONG: &str = "the token's scopes are neither a string nor a list of strings";
    match claim {
        Value::String(text) => Ok(text
            .split(' ')
            .filter(|scope| !scope.is_empty())
            .map(str::to_string)
            .collect()),
        Value::Array(list) => list
            .iter()
            .map(|scope| scope.as_str().map(str::to_string).ok_or(WRONG))
            .collect(),
        _ => Err(WRONG),
    }
}

/// 1 to 256 printable ASCII characters, without a space at either end.
fn check_user(user: &str) -> Result<(), &'static str> {
    let fits = (1..=MAX_USER).contains(&user.len())
        && user.bytes().all(|b| matches!(b, 0x20..=0x7e))
        && user.trim() == user;
    fits.then_some(())
        .ok_or("the token's subject (sub) cannot be sent as a header")
}

/// Validates a name and scopes that an operator assigns.
///
/// # Errors
///
/// A sentence for the operator.
pub(super) fn check_grant(user: &str, scopes: &[String]) -> Result<(), String> {
    check_user(user).map_err(|_| {
        format!(
            "'{}' cannot be a user: 1 to {MAX_USER} printable ASCII characters, no space at the ends",
            user.escape_debug()
        )
    })?;
    check_scopes(scopes).map_err(|_| {
        format!(
            "'{}' cannot be scopes: printable ASCII without spaces, '\"' and '\\', at most {MAX_SCOPES}, {MAX_SCOPE_BYTES} bytes together",
            scopes.join("', '").escape_debug()
        )
    })
}

fn check_scopes(scopes: &[String]) -> Result<(), &'static str> {
    let bytes: usize = scopes.iter().map(|scope| scope.len() + 1).sum();
    if scopes.len() > MAX_SCOPES || bytes > MAX_SCOPE_BYTES {
        return Err("the token has too many scopes");
    }
    let fit = scopes.iter().all(|scope| is_scope(scope));
    fit.then_some(()).ok_or("the token has an invalid scope")
}

/// RFC 6749 section 3.3: printable ASCII but for space, `"` and `\`.
pub(super) fn is_scope(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn claim_is_found_by_name_pointer_or_dotted_path() {
        let claims = json!({
            "roles": ["top"],
            "realm_access": {"roles": ["realm"], "none": null},
            "resource_access": {"my.client": {"roles": ["client"]}, "a/b~c": "odd"},
            "https://example.org/roles": "url",
            "a.b": "literal",
            "a": {"b": "nested"},
            "list": [{"name": "first"}],
            "": "empty",
        });
        let claims = claims.as_object().unwrap();
        for (place, expected) in [
            ("roles", Some(json!(["top"]))),
            ("/roles", Some(json!(["top"]))),
            ("/realm_access/roles", Some(json!(["realm"]))),
            ("realm_access.roles", Some(json!(["realm"]))),
            ("/resource_access/my.client/roles", Some(json!(["client"]))),
            ("/resource_access/a~1b~0c", Some(json!("odd"))),
            ("https://example.org/roles", Some(json!("url"))),
            ("/https:~1~1example.org~1roles", Some(json!("url"))),
            ("a.b", Some(json!("literal"))),
            ("/a/b", Some(json!("nested"))),
            ("/list/0/name", Some(json!("first"))),
            ("/", Some(json!("empty"))),
            ("/realm_access/none", None),
            ("realm_access.none", None),
            ("/realm_access/roles/x", None),
            ("realm_access.roles.x", None),
            ("/nothing", None),
            (".", None),
            ("nothing", None),
        ] {
            assert_eq!(at(claims, place), expected.as_ref(), "{place}");
        }
        for (text, fits) in [
            ("/a~0b/c~1d", true),
            ("a~b", true),
            ("/a~b", false),
            ("/a~", false),
            (" ", false),
        ] {
            assert_eq!(parse_place(text).is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn scopes_hold_as_many_groups_as_providers_put_into_a_token() {
        let groups = |count: usize| {
            let group = |n: usize| format!("6c1d{n:04}-0000-4000-8000-000000000000");
            json!({"sub": "a", "groups": (0..count).map(group).collect::<Vec<_>>()})
        };
        let of = |claims: Value| caller(claims.as_object().unwrap(), Some("groups"));
        assert_eq!(of(groups(200)).unwrap().scopes.len(), 200);
        assert!(of(groups(300)).is_err());
    }

    proptest! {
        #[test]
        fn claim_lookup_never_panics(place in "[/~.a0-]{0,12}") {
            let claims = json!({"a": {"a": ["a", {"": 0}]}, "": {"0": 1}});
            let _ = at(claims.as_object().unwrap(), &place);
        }
    }
}
