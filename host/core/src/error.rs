//! The failure of a request, as it travels from where it arose to the client and the log.
//!
//! Where it arises it is a small error of its own: of the runtime, of the windows, of the gateway.
//! Each becomes a [`RequestError`] by `From`: a row of the [table](problem), the sentence for the
//! client, and a [`Cause`]. This module knows none of them, nor wasmtime.
//!
//! What a client reads is made of this program's own words. Words of others, of guests, services
//! and the system, are a [`Cause`], which cannot be displayed: only the log and operators have
//! them.

mod answer;
mod problem;
mod words;

pub use answer::{PROBLEM, problem_response, problem_type};
pub use problem::{Fault, Problem, Ran, RetryAfter, Row, TABLE};
pub use words::{Cause, Plain};

use http::{HeaderName, HeaderValue, StatusCode};
use std::time::Duration;

/// A failure on the way of a request. [`RequestError::response`] is what its client sees.
///
/// One pointer: every step of a request returns either it or an answer, so its size adds to the
/// state of each request.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .0.detail)]
pub struct RequestError(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    problem: Problem,
    detail: String,
    cause: Option<Cause>,
    retry_after: Option<Duration>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl RequestError {
    /// `detail` is the sentence that its client reads: this program's own words.
    pub fn new(problem: Problem, detail: impl Into<String>) -> Self {
        RequestError(Box::new(Inner {
            problem,
            detail: detail.into(),
            cause: None,
            retry_after: None,
            header: None,
        }))
    }

    /// With what only the log and operators may read.
    pub fn with_cause(mut self, cause: impl Into<Cause>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// With the time after which a retry may succeed. Sent where the row of the table leaves that
    /// to the error.
    pub fn with_retry_after(mut self, time: Duration) -> Self {
        self.0.retry_after = Some(time);
        self
    }

    /// With a header field that its answer needs; without where `value` is none that HTTP can
    /// carry.
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        self.0.header = HeaderValue::try_from(value).ok().map(|value| (name, value));
        self
    }

    /// An internal error with its cause.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        let detail = "internal error; the host's log has the cause under this request ID";
        RequestError::new(Problem::Internal, detail).with_cause(Cause::of(error))
    }

    /// Its row of the table.
    pub fn problem(&self) -> Problem {
        self.0.problem
    }

    /// Whether it is this failure.
    pub fn is(&self, problem: Problem) -> bool {
        self.0.problem == problem
    }

    /// [`Problem::code`].
    pub fn code(&self) -> &'static str {
        self.0.problem.code()
    }

    /// [`Problem::status`].
    pub fn status(&self) -> StatusCode {
        self.0.problem.status()
    }

    /// [`Problem::fault`].
    pub fn fault(&self) -> Fault {
        self.0.problem.fault()
    }

    /// [`Problem::never_ran`].
    pub fn never_ran(&self) -> bool {
        self.0.problem.never_ran()
    }

    /// What only the log and operators may read: words of others, and names of windows.
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_ref().map(Cause::private)
    }

    /// The failure with its cause, for operators. Never for a client of the gateway.
    pub fn in_full(&self) -> String {
        match self.cause() {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }

    fn detail(&self) -> &str {
        &self.0.detail
    }

    fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    fn header(&self) -> Option<&(HeaderName, HeaderValue)> {
        self.0.header.as_ref()
    }
}

#[cfg(test)]
mod tests;
