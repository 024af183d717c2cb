//! What of a token's claims becomes the caller.

use super::Caller;
use serde_json::{Map, Value};

/// Characters of a subject. OpenID Connect allows 255. With an issuer's name in front a user has at
/// most 321.
const MAX_USER: usize = 256;

/// Scopes of one token, and the bytes of all together: they travel in one header.
const MAX_SCOPES: usize = 256;
const MAX_SCOPE_BYTES: usize = 4096;

/// The members of a token's claims. Times, issuer and audience are checked elsewhere.
pub type Claims = Map<String, Value>;

/// The claims that have the scopes, where the issuer's is not configured: RFC 8693 section 4.2, then what some providers send.
const SCOPE_CLAIMS: [&str; 3] = ["scope", "scp", "scopes"];

/// The caller that these claims name, called by the subject alone. What cannot be sent as a header
/// is refused, not mangled.
pub fn caller(claims: &Claims, scope_claim: Option<&str>) -> Result<Caller, &'static str> {
    let user = match member(claims, "sub") {
        Some(Value::String(user)) => user.clone(),
        Some(_) => return Err("the token's user (sub) is no text"),
        None => return Err("the token names no user (sub)"),
    };
    check_user(&user)?;
    let claim = match scope_claim {
        Some(name) => member(claims, name),
        None => SCOPE_CLAIMS.iter().find_map(|name| member(claims, name)),
    };
    let scopes = claim.map(scopes).transpose()?.unwrap_or_default();
    check_scopes(&scopes)?;
    Ok(Caller { user, scopes })
}

/// A member that is there and not null.
pub fn member<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    claims.get(name).filter(|value| !value.is_null())
}

/// A text of words, or a list with a scope each.
fn scopes(claim: &Value) -> Result<Vec<String>, &'static str> {
    const WRONG: &str = "the token's scopes are neither a text nor a list of texts";
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
        .ok_or("the token's user (sub) cannot be sent as a header")
}

/// Whether somebody may be given this name and these scopes.
///
/// # Errors
///
/// A sentence for whoever gives them.
pub fn check_grant(user: &str, scopes: &[String]) -> Result<(), String> {
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
    fit.then_some(())
        .ok_or("the token has a scope that is no scope token")
}

/// RFC 6749 section 3.3: printable ASCII but for space, `"` and `\`.
pub fn is_scope(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}
