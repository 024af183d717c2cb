//! Requests that are over: when each part of their work began and ended.

use crate::words::{Word, words};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// The last requests, deliveries and deploys, and with them failed and slow ones before those.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestList {
    /// The latest first.
    pub requests: Vec<RequestTrace>,
}

words! {
    /// What was traced.
    pub enum TraceKind {
        /// A request of a client.
        Request = "request",
        /// A delivery of an event.
        Delivery = "delivery",
        /// A deploy.
        Deploy = "deploy",
    }
}

/// A request, a delivery or a deploy that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestTrace {
    /// As its answer and its line in the log say it.
    pub request_id: String,
    /// The trace, as `traceparent` says it: 32 hexadecimal digits.
    pub trace_id: String,
    /// The span of the whole: 16 hexadecimal digits.
    pub span_id: String,
    /// What it is.
    pub kind: TraceKind,
    /// The method.
    pub method: String,
    /// The route; the subscription of a delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Without the query, and at most 256 bytes of it.
    pub path: String,
    /// The window that it was for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// The service that it was for, if it was for none of the windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The release that served it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<u64>,
    /// The status of the answer. Deploys have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The code of the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Word>,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    pub started: OffsetDateTime,
    /// To the head of its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_ms: Option<f64>,
    /// To the last byte of its answer.
    pub duration_ms: f64,
    /// Whether it was answered with a 5xx status, or the deploy failed.
    pub failed: bool,
    /// Whether the head of its answer took longer than `--slow-request`.
    pub slow: bool,
    /// Whether its trace was chosen to be recorded. Failed and slow ones are exported all the same.
    pub sampled: bool,
    /// The parts of its work, in the order in which they began. Not in a list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<SpanTrace>,
    /// Parts of which there is nothing, because a request has at most 64.
    #[serde(default)]
    pub spans_left_out: u32,
}

/// A part of the work for a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpanTrace {
    /// What was done: `auth`, `queue`, `guest`, …
    pub name: Word,
    /// For or by whom: a window, an origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Its span: 16 hexadecimal digits.
    pub span_id: String,
    /// The span that it is a part of.
    pub parent_id: String,
    /// When it began, after the whole did.
    pub start_ms: f64,
    /// How long it took; until the whole was over, if it still lasts.
    pub duration_ms: f64,
    /// Whether it lasts longer than the whole.
    #[serde(default)]
    pub open: bool,
    /// Whether it failed.
    #[serde(default)]
    pub failed: bool,
    /// CPU time of the guest for it, sampled each millisecond.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// The most memory that the guest's instance had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_peak_bytes: Option<u64>,
}
