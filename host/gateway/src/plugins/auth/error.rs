//! Why a caller is not let in, and how its client is challenged for what is missing.

use hms_core::error::{Problem, RequestError};
use http::header::WWW_AUTHENTICATE;

/// A request whose caller is not known, or may not.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuthError {
    #[error("{reason}")]
    Unauthorized {
        reason: &'static str,
        token_sent: bool,
    },
    #[error("the token lacks a required scope: {needed}")]
    Forbidden { needed: String },
    #[error("no scope of this route allows {method}")]
    NoScopeForMethod { method: String },
    #[error("token verification keys are unavailable; retry shortly")]
    KeysUnavailable,
}

impl AuthError {
    /// RFC 6750 section 3: bare when no token came (section 3.1 wants no error code then), with an
    /// error code when one came and did not do, and with the scopes that would do where they are
    /// missing.
    fn challenge(&self) -> Option<String> {
        match self {
            AuthError::Unauthorized {
                token_sent: false, ..
            } => Some("Bearer realm=\"hms\"".into()),
            AuthError::Unauthorized { reason, .. } => Some(format!(
                "Bearer realm=\"hms\", error=\"invalid_token\", error_description=\"{}\"",
                quotable(reason)
            )),
            AuthError::NoScopeForMethod { .. } => {
                Some("Bearer realm=\"hms\", error=\"insufficient_scope\"".into())
            }
            AuthError::Forbidden { needed } => Some(format!(
                "Bearer realm=\"hms\", error=\"insufficient_scope\", scope=\"{}\"",
                quotable(needed)
            )),
            AuthError::KeysUnavailable => None,
        }
    }
}

impl From<AuthError> for RequestError {
    fn from(error: AuthError) -> Self {
        let problem = match error {
            AuthError::Unauthorized { .. } => Problem::Unauthorized,
            AuthError::Forbidden { .. } | AuthError::NoScopeForMethod { .. } => {
                Problem::InsufficientScope
            }
            AuthError::KeysUnavailable => Problem::KeysUnavailable,
        };
        let request_error = RequestError::new(problem, error.to_string());
        match error.challenge() {
            Some(challenge) => request_error.with_header(WWW_AUTHENTICATE, &challenge),
            None => request_error,
        }
    }
}

/// What may stand between the quotes of a challenge (RFC 6750 section 3): printable ASCII but for
/// `"` and `\`.
fn quotable(text: &str) -> String {
    text.chars()
        .filter(|c| matches!(c, ' ' | '!' | '#'..='[' | ']'..='~'))
        .collect()
}
