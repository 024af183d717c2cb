//! The proven identity of whoever sends a request.

/// The caller, as proven by a verified token or an API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Issuer and subject as one name, made by `auth`: printable ASCII, without a space at either
    /// end. Two callers are the same if and only if these names are equal.
    pub user: String,
    /// Scope tokens (RFC 6749 section 3.3), so none contains a space.
    pub scopes: Vec<String>,
}
