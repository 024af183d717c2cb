//! What of a token's claims becomes the caller.

use super::Caller;
use serde::Deserialize;

/// Characters of a user. OpenID Connect allows 255.
const MAX_USER: usize = 256;

/// Scopes of one token, and the bytes of all together: they travel in one header.
const MAX_SCOPES: usize = 256;
const MAX_SCOPE_BYTES: usize = 4096;

/// The claims that we read. Times, issuer and audience are checked before.
#[derive(Deserialize)]
pub struct Claims {
    sub: Option<String>,
    scope: Option<ScopeClaim>,
    scp: Option<ScopeClaim>,
    scopes: Option<ScopeClaim>,
}

/// A space-separated text (RFC 8693 section 4.2), or a list as some providers send it.
#[derive(Deserialize)]
#[serde(untagged)]
enum ScopeClaim {
    Text(String),
    List(Vec<String>),
}

impl Claims {
    /// The caller that these claims name. What cannot be sent as a header is refused, not mangled.
    pub fn caller(self) -> Result<Caller, &'static str> {
        let user = self.sub.ok_or("the token names no user (sub)")?;
        check_user(&user)?;
        let scopes: Vec<String> = match self.scope.or(self.scp).or(self.scopes) {
            None => Vec::new(),
            Some(ScopeClaim::Text(text)) => text
                .split(' ')
                .filter(|scope| !scope.is_empty())
                .map(str::to_string)
                .collect(),
            Some(ScopeClaim::List(list)) => list,
        };
        check_scopes(&scopes)?;
        Ok(Caller { user, scopes })
    }
}

/// 1 to 256 printable ASCII characters, without a space at either end.
pub fn check_user(user: &str) -> Result<(), &'static str> {
    let fits = (1..=MAX_USER).contains(&user.len())
        && user.bytes().all(|b| matches!(b, 0x20..=0x7e))
        && user.trim() == user;
    fits.then_some(())
        .ok_or("the token's user (sub) cannot be sent as a header")
}

pub fn check_scopes(scopes: &[String]) -> Result<(), &'static str> {
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
