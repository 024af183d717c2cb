//! What came out: how many, how fast, and every failure by its kind.

use super::ask::{Ask, What};
use http::StatusCode;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// When a request was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    /// Before anything is measured. Failures count here too.
    Warm,
    Swapping,
    Quiet,
}

impl Period {
    pub(super) fn of(number: u8) -> Period {
        [Period::Warm, Period::Swapping, Period::Quiet][usize::from(number)]
    }
}

/// How a request can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// No connection.
    Connect,
    /// Reset or closed before there was a head.
    Reset,
    /// A status that is not 2xx.
    Status,
    /// Reset or closed within the body.
    Cut,
    /// A body that ended as if it were whole, but was too short.
    Truncated,
    WrongBytes,
    /// More than one release in one answer.
    Mixed,
    /// A release that was not live when it was asked.
    Stale,
    Timeout,
    /// Not sent: too many in flight.
    Overload,
}

/// One request's failure.
#[derive(Debug, Clone)]
pub struct Failure {
    pub kind: Kind,
    pub what: String,
}

impl Failure {
    fn new(kind: Kind, what: impl Into<String>) -> Self {
        Failure {
            kind,
            what: what.into(),
        }
    }

    pub(super) fn connect(error: std::io::Error) -> Self {
        Self::new(Kind::Connect, error.to_string())
    }

    pub(super) fn no_head(error: impl Error) -> Self {
        Self::new(Kind::Reset, causes(&error))
    }

    pub(super) fn cut(after: usize, error: &impl Error) -> Self {
        Self::new(Kind::Cut, format!("after {after} bytes: {}", causes(error)))
    }

    pub(super) fn status(status: StatusCode, body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(body);
        Self::new(Kind::Status, format!("{status} {}", body.trim()))
    }

    pub(super) fn truncated(got: usize, right: usize) -> Self {
        Self::new(Kind::Truncated, format!("{got} bytes of {right}"))
    }

    pub(super) fn wrong_bytes(at: usize) -> Self {
        Self::new(Kind::WrongBytes, format!("first at byte {at}"))
    }

    pub(super) fn mixed(what: &str) -> Self {
        Self::new(Kind::Mixed, what)
    }

    pub(super) fn stale(number: u32, allowed: &RangeInclusive<u32>) -> Self {
        Self::new(
            Kind::Stale,
            format!("{number}, where {allowed:?} were live"),
        )
    }

    pub(super) fn timeout(after: Duration) -> Self {
        Self::new(Kind::Timeout, format!("{} s", after.as_secs()))
    }

    pub(super) fn overload(in_flight: usize) -> Self {
        Self::new(Kind::Overload, format!("{in_flight} in flight"))
    }

    pub(super) fn of(mut self, ask: &Ask) -> Self {
        self.what = format!("{:?} {:?}: {}", ask.way, ask.what, self.what);
        self
    }
}

fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// Times of requests.
#[derive(Debug, Default, Clone)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that a share of `percent` took at most, in milliseconds; not a number where there
    /// are none.
    pub fn percentile_ms(&self, percent: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
        let time = sorted.get(rank.saturating_sub(1));
        time.map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
    }
}

/// What came out of one period.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    /// Requests that were due.
    pub requests: usize,
    /// From when it was due to the last byte: the requests that are answered at once.
    pub at_once: Times,
    /// The same for all requests, less what they asked to wait.
    pub beyond_wished: Times,
}

/// What came out of a load.
#[derive(Debug, Default)]
pub struct LoadResult {
    periods: BTreeMap<Period, Outcome>,
    /// By kind: how many, and the first few.
    pub failures: BTreeMap<Kind, (usize, Vec<Failure>)>,
}

/// Failures of each kind that are kept to be shown.
const SHOWN: usize = 3;

impl LoadResult {
    pub(super) fn answered(&mut self, period: Period, ask: &Ask, took: Duration) {
        let outcome = self.periods.entry(period).or_default();
        outcome.requests += 1;
        if ask.what == What::Now {
            outcome.at_once.add(took);
        }
        outcome.beyond_wished.add(took.saturating_sub(ask.wished()));
    }

    pub(super) fn failed(&mut self, period: Period, failure: Failure) {
        self.periods.entry(period).or_default().requests += 1;
        let (count, shown) = self.failures.entry(failure.kind).or_default();
        *count += 1;
        if shown.len() < SHOWN {
            shown.push(failure);
        }
    }

    pub fn of(&self, period: Period) -> Outcome {
        self.periods.get(&period).cloned().unwrap_or_default()
    }

    pub fn requests(&self) -> usize {
        self.periods.values().map(|outcome| outcome.requests).sum()
    }

    pub fn failed_requests(&self) -> usize {
        self.failures.values().map(|(count, _)| count).sum()
    }
}

impl fmt::Display for LoadResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.failures.is_empty() {
            return write!(f, "none");
        }
        for (kind, (count, shown)) in &self.failures {
            writeln!(f, "{kind:?}: {count}")?;
            for failure in shown {
                writeln!(f, "    {}", failure.what)?;
            }
        }
        Ok(())
    }
}
