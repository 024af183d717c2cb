//! `/keys`: API keys of machine callers.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use time::OffsetDateTime;

/// The answer to `GET /keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyList {
    /// All keys, without their secrets.
    pub keys: Vec<Key>,
    /// Changes that the disk does not have yet.
    pub unsaved: Option<UnsavedKeys>,
}

/// One key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// By which it is revoked.
    pub id: String,
    /// The user that it identifies, like a token's `sub`.
    pub user: String,
    /// What it grants.
    pub scopes: Vec<String>,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// When it expires. None: never.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub expires: Option<OffsetDateTime>,
}

/// Keys that are in effect, and that the disk does not have yet. A restart before it does restores
/// the keys of before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnsavedKeys {
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Why the disk did not accept them, the last time.
    pub why: String,
    /// The keys that are revoked, and may not be after a restart.
    pub revoked: BTreeSet<String>,
}

/// The body of `POST /keys`. Unknown fields are refused: a misspelt `expires-in` must not create a
/// key that never expires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// The user that it identifies.
    pub user: String,
    /// What it grants.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// How long it is valid, as a number with a unit: `30d`. None: until it is revoked.
    #[serde(
        rename = "expires-in",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub expires_in: Option<String>,
}

/// The answer to `POST /keys`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedKey {
    /// The key without its secret.
    #[serde(flatten)]
    pub about: Key,
    /// The key itself. The host does not keep it.
    pub key: String,
}

impl std::fmt::Debug for CreatedKey {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedKey")
            .field("about", &self.about)
            .finish_non_exhaustive()
    }
}

/// The answer to `DELETE /keys/ID`, in a [`Changed`](crate::Changed).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedKey {
    /// The key's id.
    pub revoked: String,
}
