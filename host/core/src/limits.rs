//! Every limit of a window: one table of names, units, bounds and reasons, used by the settings,
//! the admin API, the command line and the documents.

use crate::units::{Size, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One limit of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Bytes of memory of one instance.
    MemoryBytes,
    /// CPU time of one request.
    CpuTimeMs,
    /// Time until the answer begins.
    WallTimeMs,
    // The former name, in records from before the renaming.
    /// Concurrent requests of the window.
    #[serde(alias = "clerks")]
    Instances,
    /// Instances that no other window can take.
    #[serde(alias = "reserved_clerks")]
    ReservedInstances,
    /// Requests that one instance serves.
    Reuse,
    /// Requests that wait for an instance.
    Queue,
    /// Longest wait for an instance.
    QueueWaitMs,
    /// Bytes of a request's header fields.
    RequestHeaderBytes,
    /// Bytes of a request's body.
    RequestBytes,
    /// Bytes of the header fields that an instance creates in one block.
    ResponseHeaderBytes,
    /// Bytes of an answer's body.
    ResponseBytes,
    /// Bytes of the window's store.
    StoreBytes,
    /// Bytes of the window's log of events, and of those that wait for their time.
    OutboxBytes,
    /// Bytes of a key in the store.
    KeyBytes,
    /// Bytes of a value in the store.
    ValueBytes,
    /// Keys in one page of a listing.
    PageKeys,
    /// Log lines per second of the window.
    LogLinesPerS,
    /// Host calls per second of one instance.
    HostCallsPerS,
    /// Handles that one instance holds.
    Handles,
    /// WASI 0.3 tasks, streams and futures of one instance.
    Subtasks,
    /// Consecutive failures after which the breaker closes the window. 0: never.
    FailuresInARow,
    /// Concurrent outgoing calls.
    OutgoingCalls,
    /// Outgoing calls of one request.
    CallsPerRequest,
    /// Bytes of the body of an outgoing request.
    OutgoingRequestBytes,
    /// Bytes of the body of an answer to one.
    OutgoingResponseBytes,
    /// Time of one outgoing call, in milliseconds.
    OutgoingTimeMs,
}

/// The unit of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes; units on the command line are multiples of 1,024.
    Bytes,
    /// Times and CPU times.
    Milliseconds,
    /// A number of things, or a rate per second.
    Count,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The limit that the row describes.
    pub limit: Limit,
    /// Its name in the admin API.
    pub name: &'static str,
    /// Its name on the command line, without dashes.
    pub flag: &'static str,
    /// How operators write the value.
    pub unit: Unit,
    /// The smallest value that an operator may set.
    pub least: u64,
    /// The largest value that an operator may set.
    pub most: u64,
    /// The value if none is set.
    pub default: u64,
    /// What it bounds and what happens beyond it, in a sentence.
    pub what: &'static str,
    /// The reason for the default, in a sentence.
    pub why: &'static str,
}

const DAY_MS: u64 = 24 * 3600 * 1000;
const TIB: u64 = 1 << 40;

macro_rules! row {
    ($limit:ident, $name:literal, $flag:literal, $unit:ident, $least:expr, $most:expr, $default:expr, $what:literal, $why:literal) => {
        Row {
            limit: Limit::$limit,
            name: $name,
            flag: $flag,
            unit: Unit::$unit,
            least: $least,
            most: $most,
            default: $default,
            what: $what,
            why: $why,
        }
    };
}

/// The table, in the order of [`Limit`].
#[rustfmt::skip]
pub const TABLE: [Row; 27] = [
    row!(MemoryBytes, "memory_bytes", "memory", Bytes, 1 << 20, 4 << 30, 128 << 20,
        "Memory of one instance: its memories, its tables, and what the host keeps for it. Beyond: 500 memory-limit",
        "A Rust window needs about 2 MiB, a Python window about 40; a full pool of runaways still fits a small machine"),
    row!(CpuTimeMs, "cpu_time_ms", "cpu-time", Milliseconds, 1, DAY_MS, 5_000,
        "CPU time of one request, including instance startup. Beyond: 504 cpu-time",
        "Long enough for any form, short enough that an endless loop is noticed"),
    row!(WallTimeMs, "wall_time_ms", "wall-time", Milliseconds, 1, DAY_MS, 30_000,
        "Time until the answer begins, excluding waits for the client. Beyond: 504 wall-time",
        "The usual default of gateways"),
    row!(Instances, "instances", "instances", Count, 1, 4096, 384,
        "Concurrent requests of this window, each with an instance from the pool. Beyond: requests queue",
        "Three quarters of the pool: a window under load leaves room for the others"),
    row!(ReservedInstances, "reserved_instances", "reserved-instances", Count, 0, 4096, 4,
        "Instances that no other window can take, as long as all reservations fit half of the pool",
        "Enough that a window with little traffic never notices the others"),
    row!(Reuse, "reuse", "reuse", Count, 1, 1_000_000, 1,
        "Requests that one instance serves, with WASI 0.3 several concurrently. 1: a fresh instance for each request",
        "An instance without memory cannot mix up two users"),
    row!(Queue, "queue", "queue", Count, 0, 100_000, 256,
        "Requests that wait for an instance. Beyond: 503 instance-limit at once",
        "A burst is served late instead of refused, and costs a few KiB per request meanwhile"),
    row!(QueueWaitMs, "queue_wait_ms", "queue-wait", Milliseconds, 0, DAY_MS, 5_000,
        "Longest wait for an instance. Beyond: 503 instance-limit",
        "After that, an early refusal is better than a longer wait"),
    row!(RequestHeaderBytes, "request_header_bytes", "request-header", Bytes, 256, 1 << 20, 64 << 10,
        "Header fields of a request. Beyond: 431 headers-too-large",
        "As much as the gateway reads"),
    row!(RequestBytes, "request_bytes", "request-body", Bytes, 0, TIB, 25 << 20,
        "Body of a request. Beyond: 413 body-too-large",
        "A photo or a scanned form fits, a film does not"),
    row!(ResponseHeaderBytes, "response_header_bytes", "response-header", Bytes, 256, 1 << 20, 64 << 10,
        "Header fields that an instance can create in one block. Beyond: 502 response-headers-too-large",
        "More than clients commonly read"),
    row!(ResponseBytes, "response_bytes", "response-body", Bytes, 0, TIB, 1 << 30,
        "Body of an answer. Beyond: 502 response-too-large; after the head, the body is cut off",
        "An endless answer ends; a large export stays far below it"),
    row!(StoreBytes, "store_bytes", "store", Bytes, 0, TIB, 1 << 30,
        "Size of the window's store. Beyond: writes fail with store-full",
        "Only several windows together fill a small disk, and an operator hears of it first"),
    row!(OutboxBytes, "outbox_bytes", "outbox", Bytes, 0, TIB, 256 << 20,
        "Size of the window's outbox: its log of events, and those that wait for their time. Beyond: the oldest events that nobody needs are dropped; where that is not enough, the transaction fails with outbox-full",
        "A subscriber may be away for days: 4,000 events of the largest size, or some hundred thousand usual ones"),
    row!(KeyBytes, "key_bytes", "key", Bytes, 1, 1 << 10, 1 << 10,
        "Size of a store key. Beyond: the instance gets key-too-long",
        "Keys are read often and kept in pages of 4 KiB"),
    row!(ValueBytes, "value_bytes", "value", Bytes, 1, 4 << 20, 4 << 20,
        "Size of a store value. Beyond: the instance gets value-too-large",
        "A value is held in memory whole, several times over; split larger ones"),
    row!(PageKeys, "page_keys", "page-keys", Count, 1, 1_000, 1_000,
        "Keys in one page of a store listing",
        "About a millisecond of reading"),
    row!(LogLinesPerS, "log_lines_per_s", "log-rate", Count, 0, 100_000, 200,
        "Log lines per second of the window. Beyond: lines are dropped and counted",
        "More than a person reads, less than a disk notices"),
    row!(HostCallsPerS, "host_calls_per_s", "host-calls", Count, 1_000, 1_000_000_000, 1_000_000,
        "Host calls per second of one instance, after an initial burst of as many. Beyond: 500 host-calls",
        "An upload at 1 GB/s makes about 100,000"),
    row!(Handles, "handles", "handles", Count, 16, 1_000_000, 10_000,
        "Handles that one instance holds. Beyond: 500 handle-limit",
        "Far above what a request needs"),
    row!(Subtasks, "subtasks", "subtasks", Count, 16, 1_000_000, 10_000,
        "WASI 0.3 tasks, streams and futures of one instance; also at most one per 8 KiB of its memory limit. Beyond: 500 handle-limit",
        "Far above what a request needs"),
    row!(FailuresInARow, "failures_in_a_row", "failures", Count, 0, 1_000_000, 10,
        "Consecutive failed requests before the breaker closes the window for a time. Then: 503 window-tripped. 0: never",
        "A window that sometimes answers stays open; one whose every instance fails is closed within moments"),
    row!(OutgoingCalls, "outgoing_calls", "outgoing-calls", Count, 0, 4096, 64,
        "Concurrent outgoing calls of this window, each until the body of its answer has ended. Beyond: the call fails with connection-limit-reached",
        "One slow service holds no more than a sixth of the window's instances"),
    row!(CallsPerRequest, "calls_per_request", "calls-per-request", Count, 0, 10_000, 50,
        "Outgoing calls of one request, to services and to windows. Beyond: the call fails with connection-limit-reached",
        "As many as hosted platforms allow; more is a loop, or work for several requests"),
    row!(OutgoingRequestBytes, "outgoing_request_bytes", "outgoing-request", Bytes, 0, TIB, 25 << 20,
        "Body of an outgoing request. Beyond: the call fails with HTTP-request-body-size",
        "What a request may bring in may be sent on"),
    row!(OutgoingResponseBytes, "outgoing_response_bytes", "outgoing-response", Bytes, 0, TIB, 64 << 20,
        "Body of an answer to an outgoing request. Beyond: the body ends with HTTP-response-body-size",
        "An endless answer of a service ends; a large document stays below it"),
    row!(OutgoingTimeMs, "outgoing_time_ms", "outgoing-time", Milliseconds, 1, DAY_MS, 30_000,
        "Time of one outgoing call until the body of its answer has ended. Beyond: the call fails with HTTP-response-timeout, or with connection-timeout while there is no connection",
        "No call outlasts the request that waits for it by default"),
];

#[expect(
    clippy::indexing_slicing,
    reason = "the table has a row for each variant"
)]
impl Limit {
    /// Its row of the table.
    pub fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }
}

impl Row {
    /// A value with its unit, as operators write it.
    pub fn shown(&self, value: u64) -> String {
        match self.unit {
            Unit::Bytes => Size::of(value).to_string(),
            Unit::Milliseconds => Time::of_ms(value).to_string(),
            Unit::Count => value.to_string(),
        }
    }

    /// Whether `value` is within the bounds.
    ///
    /// # Errors
    /// A sentence with the bounds.
    pub fn check(&self, value: u64) -> Result<u64, String> {
        if (self.least..=self.most).contains(&value) {
            return Ok(value);
        }
        Err(format!(
            "{}: {value} is not from {} to {}",
            self.name, self.least, self.most
        ))
    }
}

/// The limits set for one window; the others have their defaults. In JSON, an object of names and
/// numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LimitsSet(BTreeMap<Limit, u64>);

/// A change of [`LimitsSet`]: a number sets a limit, null resets it to its default. Like RFC 7396,
/// JSON Merge Patch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LimitsChange(pub BTreeMap<Limit, Option<u64>>);

impl LimitsSet {
    /// Applies `change`.
    ///
    /// # Errors
    /// Which value is out of bounds.
    pub fn with(&self, change: &LimitsChange) -> Result<LimitsSet, String> {
        let mut set = self.0.clone();
        for (limit, value) in &change.0 {
            match value {
                Some(value) => {
                    set.insert(*limit, limit.row().check(*value)?);
                }
                None => {
                    set.remove(limit);
                }
            }
        }
        Ok(LimitsSet(set))
    }

    /// What is set for `limit`.
    pub fn get(&self, limit: Limit) -> Option<u64> {
        self.0.get(&limit).copied()
    }

    /// What is set, by the names of the admin API.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0
            .iter()
            .map(|(limit, value)| (limit.row().name, *value))
    }
}

impl fmt::Display for LimitsSet {
    /// `memory 64MiB, queue 3`, by the names of `hms limits`; `none` where nothing is set.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = self.0.iter().map(|(limit, value)| {
            let row = limit.row();
            format!("{} {}", row.flag, row.shown(*value))
        });
        match set.collect::<Vec<_>>().as_slice() {
            [] => f.write_str("none"),
            set => f.write_str(&set.join(", ")),
        }
    }
}

/// The effective limits of one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLimits([u64; TABLE.len()]);

impl Default for WindowLimits {
    fn default() -> Self {
        WindowLimits(TABLE.map(|row| row.default))
    }
}

#[expect(clippy::indexing_slicing, reason = "it has a value for each variant")]
impl WindowLimits {
    /// These limits, overridden by those in `set`.
    pub fn with(mut self, set: &LimitsSet) -> Self {
        for (limit, value) in &set.0 {
            self.0[*limit as usize] = *value;
        }
        self
    }

    /// With one limit at `value`, clamped to its bounds.
    pub fn at(mut self, limit: Limit, value: u64) -> Self {
        let row = limit.row();
        self.0[limit as usize] = value.clamp(row.least, row.most);
        self
    }

    /// The value of `limit`, in its unit.
    pub fn get(&self, limit: Limit) -> u64 {
        self.0[limit as usize]
    }

    /// All of them, by the names of the admin API.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        TABLE.iter().map(|row| (row.name, self.get(row.limit)))
    }

    /// A time.
    pub fn time(&self, limit: Limit) -> Duration {
        Duration::from_millis(self.get(limit))
    }

    /// A limit that is a size or count in memory.
    pub fn size(&self, limit: Limit) -> usize {
        usize::try_from(self.get(limit)).unwrap_or(usize::MAX)
    }
}

/// The current limits of one window, shared by everything that applies them, so that a change is
/// live at once.
pub type LiveLimits = Arc<arc_swap::ArcSwap<WindowLimits>>;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn limits_table_follows_the_enum_with_defaults_in_bounds() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.limit as usize, index, "{}", row.name);
            assert_eq!(row.check(row.default), Ok(row.default));
            assert_eq!(json!(row.limit), json!(row.name));
        }
    }

    #[test]
    fn limits_are_read_under_their_former_names() {
        let old = json!({"clerks": 7, "reserved_clerks": 2});
        let set: LimitsSet = serde_json::from_value(old).unwrap();
        assert_eq!(json!(set), json!({"instances": 7, "reserved_instances": 2}));
    }

    #[test]
    fn change_sets_a_limit_and_null_restores_the_default() {
        let change = |value| serde_json::from_value::<LimitsChange>(value).unwrap();
        let set = LimitsSet::default()
            .with(&change(json!({"memory_bytes": 1 << 26, "queue": 3})))
            .unwrap();
        let set = set.with(&change(json!({"queue": null}))).unwrap();
        let limits = WindowLimits::default().with(&set);
        assert_eq!(limits.get(Limit::MemoryBytes), 1 << 26);
        assert_eq!(limits.get(Limit::Queue), Limit::Queue.row().default);
        assert_eq!(json!(set), json!({"memory_bytes": 1 << 26}));
    }

    #[test]
    fn unknown_or_out_of_bounds_limit_is_rejected_by_name() {
        let change = LimitsChange([(Limit::MemoryBytes, Some(1))].into());
        let refused = LimitsSet::default().with(&change).unwrap_err();
        assert!(
            refused.starts_with("memory_bytes: 1 is not from"),
            "{refused}"
        );
        let unknown = serde_json::from_value::<LimitsChange>(json!({"memroy": 1}));
        assert!(unknown.unwrap_err().to_string().contains("memroy"));
    }
}
