//! `/routes`: route manifests.

use crate::words::words;
use crate::{Fault, FileState, Word};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// The answer to `GET /routes`, and what `hms check --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteList {
    /// Each manifest.
    pub routes: Vec<RouteStatus>,
    /// Why the routes folder could not be read the last time. The routes stay as they were.
    #[serde(
        rename = "folder-fault",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub folder_fault: Option<String>,
}

/// The answer to `GET` and `PUT /routes/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteDetail {
    /// The route.
    pub route: RouteStatus,
    /// The text of its manifest. Only in the answer to a `GET`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
}

/// The answer to `DELETE /routes/NAME`, in a [`Changed`](crate::Changed).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedRoute {
    /// The route's name.
    pub removed: String,
}

/// One manifest, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteStatus {
    /// The file name in the routes folder.
    pub file: String,
    /// Whether the file's present text serves.
    pub state: FileState,
    /// What is wrong with the file as it is now, if it is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// The route that serves: the file's present text, or its last good one. None if there is
    /// neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<LiveRoute>,
    /// Since when `state` and `route` are as they are.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

/// The route that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveRoute {
    /// Its pattern.
    pub uri: String,
    /// The hosts that it is for. Empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// The methods that it is for. Empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Where it leads.
    pub upstream: String,
    /// The targets, if there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetStatus>,
    /// In the order in which they run.
    pub plugins: Vec<Word>,
    /// What is cut off the path, or empty.
    #[serde(rename = "strip-prefix")]
    pub strip_prefix: String,
    /// Which `Host` the upstream gets.
    pub host: HostField,
    /// Whether `Location` fields lead back through the route.
    #[serde(rename = "rewrite-location")]
    pub rewrite_location: bool,
    /// Whether the path may hold `%2F`.
    #[serde(rename = "encoded-slashes")]
    pub encoded_slashes: PathRule,
    /// Whether the path may hold `//`.
    #[serde(rename = "empty-segments")]
    pub empty_segments: PathRule,
}

words! {
    /// Which `Host` an upstream gets.
    pub enum HostField {
        /// The client's.
        Pass = "pass",
        /// The upstream's own.
        Upstream = "upstream",
    }
}

words! {
    /// What is done about an unusual path.
    pub enum PathRule {
        /// It is let through.
        Allow = "allow",
        /// It is refused.
        Refuse = "refuse",
    }
}

/// One of several targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetStatus {
    /// Its address.
    pub url: String,
    /// Its weight.
    pub weight: u32,
    /// Whether it gets no requests because it fails.
    #[serde(default)]
    pub ejected: bool,
}
