//! What is common to the files that operators write: route manifests and grants files.

use crate::words::words;
use serde::{Deserialize, Serialize};
use std::fmt;

words! {
    /// Whether the present text of a file is in force.
    pub enum FileState {
        /// The file's present text is.
        Live = "live",
        /// The file's present text is refused. Its last good one stays in force, if there is one.
        Refused = "refused",
    }
}

/// A fault of a file, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Counted from 1. 1 if the fault is in no single line.
    pub line: usize,
    /// Counted from 1.
    pub column: usize,
    /// What is wrong and what to do, as a sentence.
    pub reason: String,
}

impl Fault {
    /// A fault of the whole file.
    pub fn whole(reason: impl Into<String>) -> Fault {
        Fault {
            line: 1,
            column: 1,
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: {}",
            self.line, self.column, self.reason
        )
    }
}
