//! The settings of `auth` in a manifest, and what they admit.

use super::claims::is_scope;
use super::issuers_file::{MAX_ISSUERS, parse_name};
use crate::plugins::auth::AuthError;
use crate::request::caller::Caller;
use hms_manifest::{Field, Kind, Map, unknown};
use http::Method;

/// Scopes in one rule.
const MAX_SCOPES: usize = 64;

pub(super) const FIELDS: &[Field] = &[
    Field {
        name: "scopes",
        kind: Kind::Texts(MAX_SCOPES, "[payments.write, payments.read]"),
        doc: "The credential needs one scope that admits the method: '.read' admits GET, HEAD and OPTIONS, '.write' all other methods, any other scope all methods. Default: any valid credential.",
    },
    Field {
        name: "match",
        kind: Kind::Choice(&["any", "all"]),
        doc: "'all' requires every scope, whatever the method. Default: any.",
    },
    Field {
        name: "issuers",
        kind: Kind::Texts(MAX_ISSUERS, "[staff]"),
        doc: "The issuers whose tokens are accepted, by their names in the host's configuration. Default: any.",
    },
    Field {
        name: "accept",
        kind: Kind::Texts(2, "[token, key]"),
        doc: "The accepted kind of credential: token or API key. Default: both.",
    },
    Field {
        name: "pass-credentials",
        kind: Kind::Flag,
        doc: "Whether Authorization and x-api-key are forwarded to the upstream; API keys of this host never are. Default: to services, not to windows.",
    },
];

/// The only kind of credential that a route accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// Bearer tokens only.
    Token,
    /// API keys only.
    Key,
}

/// The credentials and scopes that a route requires. The default requires only a valid token.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Each is a word of the token's scope claim. Empty: any valid token will do.
    pub scopes: Vec<String>,
    /// `match: all`: every scope, whatever the method. Otherwise one that admits the method.
    pub all: bool,
    /// Names of issuers; empty for any. An unknown name admits nobody.
    pub issuers: Vec<String>,
    /// None: tokens and API keys.
    pub accept: Option<Accept>,
    /// Whether the credentials are forwarded. None: to services, not to windows.
    pub pass_credentials: Option<bool>,
}

impl Rule {
    pub(super) fn parse(map: &Map<'_>) -> Rule {
        Rule {
            scopes: map.each("scopes", parse_scope).unwrap_or_default(),
            all: map.choice("match") == Some("all"),
            issuers: map.each("issuers", parse_name).unwrap_or_default(),
            accept: accept(map),
            pass_credentials: map.flag("pass-credentials"),
        }
    }

    /// Admits the caller's request, or says which scope is missing.
    pub fn admit(&self, caller: &Caller, method: &Method) -> Result<(), AuthError> {
        if self.scopes.is_empty() {
            return Ok(());
        }
        let asked: Vec<&str> = self
            .scopes
            .iter()
            .map(String::as_str)
            .filter(|scope| self.all || admits(scope, method))
            .collect();
        if asked.is_empty() {
            return Err(AuthError::NoScopeForMethod {
                method: method.to_string(),
            });
        }
        let has = |scope: &&str| caller.scopes.iter().any(|own| own == scope);
        let enough = if self.all {
            asked.iter().all(has)
        } else {
            asked.iter().any(has)
        };
        if enough {
            Ok(())
        } else {
            Err(AuthError::Forbidden {
                needed: asked.join(" "),
            })
        }
    }
}

fn accept(map: &Map<'_>) -> Option<Accept> {
    let parse = |text: &str| match text {
        "token" => Ok(Accept::Token),
        "key" => Ok(Accept::Key),
        _ => Err(unknown("credential", text, &["token", "key"])),
    };
    let taken = map.each("accept", parse)?;
    let (first, rest) = taken.split_first()?;
    rest.iter().all(|other| other == first).then_some(*first)
}

/// `.read` admits methods that only read, `.write` all others, any other scope all methods.
fn admits(scope: &str, method: &Method) -> bool {
    let looks = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
    if scope.ends_with(".read") {
        looks
    } else if scope.ends_with(".write") {
        !looks
    } else {
        true
    }
}

fn parse_scope(text: &str) -> Result<String, String> {
    if is_scope(text) {
        Ok(text.to_string())
    } else {
        Err(format!(
            "'{text}' is not a valid scope: use printable ASCII without spaces, '\"' and '\\'"
        ))
    }
}
