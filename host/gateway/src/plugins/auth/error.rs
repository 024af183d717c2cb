//! Why a caller is refused, and the challenge for its client.

use hms_core::error::{Problem, RequestError};
use http::header::WWW_AUTHENTICATE;

/// A request whose caller is unknown or lacks a scope.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuthError {
    /// No valid credential: 401.
    #[error("{reason}")]
    Unauthorized {
        /// Public; it reveals nothing about other callers.
        reason: &'static str,
        /// Whether a credential was presented. Only then is the challenge `invalid_token` (RFC
        /// 6750).
        token_sent: bool,
    },
    /// The caller lacks a scope of the route: 403.
    #[error("the token lacks a required scope: {needed}")]
    Forbidden {
        /// The scopes, separated by spaces, for the challenge.
        needed: String,
    },
    /// No scope of the route would allow this method: 403.
    #[error("no scope of this route allows {method}")]
    NoScopeForMethod {
        /// The method of the request.
        method: String,
    },
    /// The issuer's keys could not be fetched: 503.
    #[error("token verification keys are unavailable; retry shortly")]
    KeysUnavailable,
}

impl AuthError {
    /// RFC 6750 section 3: without an error code if no token was sent (section 3.1 requires that),
    /// with an error code if the token was not accepted, and with the required scopes if some are
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

/// The characters that a challenge allows between its quotes (RFC 6750 section 3): printable ASCII
/// except `"` and `\`.
fn quotable(text: &str) -> String {
    text.chars()
        .filter(|c| matches!(c, ' ' | '!' | '#'..='[' | ']'..='~'))
        .collect()
}
