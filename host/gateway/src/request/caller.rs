//! Who is asking, once that is proven.

/// Who is asking, as a verified token or an API key says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Issuer and subject in one name, as `auth` makes it: printable ASCII characters, without
    /// a space at either end. Two callers are the same if and only if these are.
    pub user: String,
    /// Each a scope token of RFC 6749 section 3.3, so without spaces.
    pub scopes: Vec<String>,
}
