//! `/windows/NAME/store`: what a window keeps, read only.

use serde::{Deserialize, Serialize};

/// The answer to `GET /windows/NAME/store`: keys of one bucket, without their values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreKeys {
    /// The bucket.
    pub bucket: String,
    /// In the order of their bytes.
    pub keys: Vec<String>,
    /// Whether more keys follow the last of these.
    pub more: bool,
}

/// The answer to `GET /windows/NAME/store/buckets`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreBuckets {
    /// Those that hold a key, in the order of their bytes.
    pub buckets: Vec<String>,
    /// Whether more buckets follow the last of these.
    pub more: bool,
}

/// The answer to `GET /windows/NAME/store/value`: one value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreValue {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// Increases with every value written to the store.
    pub version: u64,
    /// Bytes of the value.
    pub bytes: u64,
    /// The value as text, if it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The value in base64, if it is not text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// Whether only the first bytes of it are in the answer.
    #[serde(default)]
    pub cut: bool,
}
