//! What is wrong with a file, and where.

use serde::Serialize;
use std::fmt;

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Counted from 1. 1 where the fault is in no one line.
    pub line: usize,
    /// Counted from 1.
    pub column: usize,
    pub reason: String,
}

impl Fault {
    /// One of the whole file.
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

/// The line of a top-level field, or 1.
pub fn line_of(text: &str, field: &str) -> usize {
    let is_field = |line: &str| {
        line.strip_prefix(field)
            .is_some_and(|rest| rest.trim_start().starts_with(':'))
    };
    text.lines().position(is_field).map_or(1, |index| index + 1)
}
