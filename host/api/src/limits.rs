//! `/windows/NAME/limits`.

use crate::Word;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Limits by name. docs/limits.md lists them; the name has the unit.
pub type LimitValues = BTreeMap<Word, u64>;

/// The body of `PATCH /windows/NAME/limits`, a JSON Merge Patch (RFC 7396): a number sets a limit,
/// null resets it. Limits that are not in it stay.
pub type LimitsPatch = BTreeMap<Word, Option<u64>>;

/// The limits of a window; in a [`Changed`](crate::Changed) the answer to a `PATCH`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// All of them, as they are in effect.
    pub limits: LimitValues,
    /// Those that were set for this window. The others are the defaults of the host.
    pub set: LimitValues,
    /// Those that the window's grants file sets, over all others. They are changed there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<LimitSource>,
}

/// Where a limit is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitSource {
    /// The limit.
    pub limit: Word,
    /// File and line, such as `windows/payments.yaml:12`.
    pub place: String,
}

/// The answer to `GET /windows/NAME/limits`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownLimits {
    /// The limits.
    #[serde(flatten)]
    pub values: Limits,
    /// Why `reuse` is not in effect, and when it is tried again. None if it is.
    pub reuse_off: Option<String>,
}
