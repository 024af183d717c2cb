//! The log of calls: one line each, written when the last byte of its answer is there, or when it
//! is clear that there will be none.

use crate::entry::Entry;
use crate::error::code;
use crate::metrics::{InFlight, OutboundMetrics, Refusal};
use crate::target::Target;
use crate::upload::Progress;
use hms_core::outgoing::{CallError, OnBehalf};
use hms_core::trace::{Span, SpanKind};
use hms_grants::WindowGrants;
use hms_grants::mask::masked_uri;
use http::{HeaderValue, Method};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// Bytes of a path, and of a method, in the log.
const MAX_PATH: usize = 1 << 10;
const MAX_METHOD: usize = 32;

/// The guest did not wait for the end.
const GIVEN_UP: &str = "given-up";

/// What is known of one call. Dropping it writes its line and counts it.
pub(crate) struct Record {
    started: Instant,
    metrics: OutboundMetrics,
    _in_flight: InFlight,
    window: Arc<str>,
    release: u64,
    request_id: Option<HeaderValue>,
    method: Method,
    /// What the window is granted: its file, and the secrets that are not logged.
    grants: Arc<WindowGrants>,
    target: Option<Target>,
    entry: Option<Arc<Entry>>,
    /// Names alone.
    secrets: String,
    /// Of the body of the request.
    pub(crate) upload: Arc<Progress>,
    pub(crate) received: u64,
    pub(crate) tries: u32,
    status: Option<u16>,
    error: Option<&'static str>,
    cause: Option<String>,
    /// To the head of the answer.
    pub(crate) span: Span,
}

impl Record {
    pub(crate) fn new(
        metrics: &OutboundMetrics,
        from: &OnBehalf,
        method: Method,
        grants: Arc<WindowGrants>,
    ) -> Record {
        Record {
            started: Instant::now(),
            metrics: metrics.clone(),
            _in_flight: metrics.in_flight(&from.window),
            window: from.window.clone(),
            release: from.release,
            request_id: from.request_id.clone(),
            method,
            grants,
            target: None,
            entry: None,
            secrets: String::new(),
            upload: Arc::default(),
            received: 0,
            tries: 0,
            status: None,
            error: Some(GIVEN_UP),
            cause: None,
            span: from.spans.begin(SpanKind::Call),
        }
    }

    /// By what it is judged.
    pub(crate) fn grants(&self) -> &Arc<WindowGrants> {
        &self.grants
    }

    pub(crate) fn target(&mut self, target: &Target) {
        self.target = Some(target.clone());
    }

    /// The grant by which it goes out.
    pub(crate) fn granted(&mut self, entry: &Arc<Entry>) {
        self.entry = Some(entry.clone());
    }

    pub(crate) fn used(&mut self, secrets: &BTreeSet<&str>) {
        self.secrets = Vec::from_iter(secrets.iter().copied()).join(",");
    }

    /// Counts that the host refuses the call or ends it.
    pub(crate) fn refused(&self, refusal: Refusal) {
        self.metrics.refused(&self.window, refusal);
    }

    pub(crate) fn retried(&self) {
        self.metrics.retried(&self.window);
    }

    /// For the log alone.
    pub(crate) fn cause(&mut self, cause: Option<String>) {
        self.cause = cause;
    }

    /// The head of the answer is there.
    pub(crate) fn answered(&mut self, status: u16) {
        self.status = Some(status);
        self.span.answered(status);
        self.span.end();
    }

    /// It ends with an error.
    pub(crate) fn failed(&mut self, error: &CallError) {
        self.error = Some(code(error));
        self.span.fail();
        self.span.end();
    }

    /// The answer has ended.
    pub(crate) fn complete(&mut self) {
        self.error = None;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        let to = self.entry.as_ref().map(|entry| &*entry.to);
        let class = match (self.error, self.status) {
            // A refusal of the service is one, whether or not its text is read.
            (Some(GIVEN_UP), Some(400..)) | (None, _) => class(self.status),
            (Some(error), _) => error,
        };
        self.metrics.ended(&self.window, to, class, took);
        let method = self.method.as_str();
        let target = self.target.as_ref();
        // Masked before it is cut, so that no part of a secret is left.
        let path = target.map(|target| masked_uri(&self.grants, &target.path));
        let origin = target.map(|target| target.origin.to_string());
        let origin = origin.as_deref();
        let origin = origin.map(|origin| masked_uri(&self.grants, origin));
        let grant = self.entry.as_ref().map(|entry| entry.grant.line);
        let grant = grant.map(|line| self.grants.at(line));
        let cause = self.cause.as_deref();
        let cause = cause.map(|cause| masked_uri(&self.grants, cause));
        let request_id = self.request_id.as_ref();
        tracing::info!(
            target: "egress",
            request_id = request_id.map(|id| String::from_utf8_lossy(id.as_bytes())).as_deref(),
            window = &*self.window,
            release = self.release,
            method = cut(method, MAX_METHOD),
            origin = origin.as_deref(),
            path = path.as_deref().map(|path| cut(path, MAX_PATH)),
            status = self.status,
            duration_ms = took.as_micros() as f64 / 1000.0,
            bytes_out = self.upload.sent(),
            bytes_in = self.received,
            tries = self.tries,
            grant,
            secrets = Some(self.secrets.as_str()).filter(|names| !names.is_empty()),
            error = self.error,
            cause = cause.as_deref(),
        );
    }
}

fn class(status: Option<u16>) -> &'static str {
    match status.map_or(0, |status| status / 100) {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        _ => "other",
    }
}

/// The front of a text in ASCII.
fn cut(text: &str, most: usize) -> &str {
    text.get(..most).unwrap_or(text)
}
