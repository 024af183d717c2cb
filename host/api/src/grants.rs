//! `/grants` and `/windows/NAME/grants`: what windows are granted.

use crate::{Fault, FileState};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// The answer to `GET /grants`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantsList {
    /// Each grants file.
    pub grants: Vec<GrantsStatus>,
    /// Why the grants folder could not be read the last time. The grants stay as they were.
    #[serde(
        rename = "folder-fault",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub folder_fault: Option<String>,
}

/// The answer to `GET` and `PUT /windows/NAME/grants`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantsDetail {
    /// The file, and what became of it.
    pub grants: GrantsStatus,
    /// Its text. Only in the answer to a `GET`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
}

/// The answer to `DELETE /windows/NAME/grants`, in a [`Changed`](crate::Changed).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedGrants {
    /// The window's name.
    pub removed: String,
}

/// One grants file, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantsStatus {
    /// The file name in the grants folder.
    pub file: String,
    /// Whether the file's present text is in force.
    pub state: FileState,
    /// What is wrong with the file as it is now, if it is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// What is in force: the file's present text, or its last good one. None if there is neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<Granted>,
    /// Since when `state` and `granted` are as they are.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// The window that it is granted to.
    pub window: String,
    /// SHA-256 of the text, hexadecimal.
    pub digest: String,
    /// Each grant as a phrase after "it".
    pub sentences: Vec<String>,
    /// Its secrets, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretStatus>,
    /// When each of its schedules comes next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<NextRun>,
}

/// When a schedule comes next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextRun {
    /// Its name.
    pub name: String,
    /// With its delay. None if it never comes again.
    #[serde(
        with = "time::serde::rfc3339::option",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub next: Option<OffsetDateTime>,
}

/// A secret. Its value is in no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretStatus {
    /// Its name.
    pub name: String,
    /// Why its file cannot be used as it is now. The last value is used, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}
