//! Every limit of a window: one table, from which the settings, the admin API, the command line and
//! the documents take names, units, bounds and reasons.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// One limit of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    MemoryBytes,
    CpuTimeMs,
    WallTimeMs,
    Instances,
    ReservedInstances,
    Reuse,
    Queue,
    QueueWaitMs,
    RequestHeaderBytes,
    RequestBytes,
    ResponseHeaderBytes,
    ResponseBytes,
    StoreBytes,
    KeyBytes,
    ValueBytes,
    PageKeys,
    LogLinesPerS,
    HostCallsPerS,
    Handles,
    Subtasks,
    FailuresInARow,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    Milliseconds,
    Count,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub limit: Limit,
    /// As in the admin API.
    pub name: &'static str,
    /// As on the command line, without its dashes.
    pub flag: &'static str,
    pub unit: Unit,
    pub least: u64,
    pub most: u64,
    /// What a window has that nothing else is said of.
    pub default: u64,
    /// What it bounds and what comes of reaching it, in a sentence.
    pub what: &'static str,
    /// The reason of the default, in a sentence.
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
pub const TABLE: [Row; 21] = [
    row!(MemoryBytes, "memory_bytes", "memory", Bytes, 1 << 20, 4 << 30, 128 << 20,
        "Memory of one instance: its memories and tables, and what the host keeps for it; more is 500 memory-limit",
        "A Rust window needs about 2 MiB, a Python one about 40; a full pool of runaways still fits a small machine"),
    row!(CpuTimeMs, "cpu_time_ms", "cpu-time", Milliseconds, 1, DAY_MS, 5_000,
        "CPU time of one request, the instance's start included; more is 504 cpu-time",
        "Long for any form at a counter, short enough that a loop is noticed"),
    row!(WallTimeMs, "wall_time_ms", "wall-time", Milliseconds, 1, DAY_MS, 30_000,
        "Time until the answer begins, without what waits for the client; more is 504 wall-time",
        "As gateways commonly have it"),
    row!(Instances, "instances", "instances", Count, 1, 4096, 384,
        "Requests of this window at work at once, each with its instance's place in the pool; further ones queue",
        "Three quarters of the pool: one window under load leaves the others some"),
    row!(ReservedInstances, "reserved_instances", "reserved-instances", Count, 0, 4096, 4,
        "Instances that no other window can take, as far as all that is reserved fits half of the pool",
        "Enough that a window with a few citizens never notices the others"),
    row!(Reuse, "reuse", "reuse", Count, 1, 1_000_000, 1,
        "Requests that an instance serves before it goes, with WASI 0.3 several at once; 1: a fresh instance for each",
        "An instance without memory cannot mix up two citizens"),
    row!(Queue, "queue", "queue", Count, 0, 100_000, 256,
        "Requests that wait for an instance; one more is 503 instance-limit at once",
        "A burst is served late rather than refused, and costs some KiB a request meanwhile"),
    row!(QueueWaitMs, "queue_wait_ms", "queue-wait", Milliseconds, 0, DAY_MS, 5_000,
        "The longest wait for an instance; more is 503 instance-limit",
        "Beyond it, to be told is better than to stand in line"),
    row!(RequestHeaderBytes, "request_header_bytes", "request-header", Bytes, 256, 1 << 20, 64 << 10,
        "Header fields of a request; more is 431 headers-too-large",
        "As much as the gateway reads"),
    row!(RequestBytes, "request_bytes", "request-body", Bytes, 0, TIB, 25 << 20,
        "Body of a request; more is 413 body-too-large",
        "A photograph or a scanned form fits, a film does not"),
    row!(ResponseHeaderBytes, "response_header_bytes", "response-header", Bytes, 256, 1 << 20, 64 << 10,
        "Header fields that an instance can make in one block; more is 502 response-headers-too-large",
        "More than clients commonly read"),
    row!(ResponseBytes, "response_bytes", "response-body", Bytes, 0, TIB, 1 << 30,
        "Body of an answer; more is 502 response-too-large, after the head a cut",
        "An endless answer ends; a large export does not come near it"),
    row!(StoreBytes, "store_bytes", "store", Bytes, 0, TIB, 1 << 30,
        "What the window's store holds; a write beyond it fails with store-full",
        "Some windows fill a small disk only together, and an operator hears of it before"),
    row!(KeyBytes, "key_bytes", "key", Bytes, 1, 1 << 10, 1 << 10,
        "A key of the store; a longer one is key-too-long to the instance",
        "Keys are read often and kept in pages of 4 KiB"),
    row!(ValueBytes, "value_bytes", "value", Bytes, 1, 4 << 20, 4 << 20,
        "A value of the store; a larger one is value-too-large to the instance",
        "It is in memory as a whole, some times over; what is larger is stored in parts"),
    row!(PageKeys, "page_keys", "page-keys", Count, 1, 1_000, 1_000,
        "Keys in one answer to a listing of the store",
        "About a millisecond of reading"),
    row!(LogLinesPerS, "log_lines_per_s", "log-rate", Count, 0, 100_000, 200,
        "Lines a second that the window's log takes; more are counted and left out",
        "More than a person reads, less than a disk notices"),
    row!(HostCallsPerS, "host_calls_per_s", "host-calls", Count, 1_000, 1_000_000_000, 1_000_000,
        "Calls a second from one instance to the host, after as many at once; more is 500 host-calls",
        "An upload at a gigabyte a second makes about 100,000"),
    row!(Handles, "handles", "handles", Count, 16, 1_000_000, 10_000,
        "Handles that one instance holds at once; one more is 500 handle-limit",
        "Far above what a request needs"),
    row!(Subtasks, "subtasks", "subtasks", Count, 16, 1_000_000, 10_000,
        "Tasks, streams and futures of WASI 0.3 that one instance has at once, and one for 8 KiB of its memory; one more is 500 handle-limit",
        "Far above what a request needs"),
    row!(FailuresInARow, "failures_in_a_row", "failures", Count, 0, 1_000_000, 10,
        "Requests in a row that may fail before the window is closed for a time; then 503 window-tripped. 0: never",
        "A window that answers now and then is not closed; one whose every instance fails is, within a moment"),
];

impl Limit {
    /// Its row of the table.
    pub fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }
}

impl Row {
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

/// What is set for one window beside the defaults. As JSON an object of names and numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LimitsSet(BTreeMap<Limit, u64>);

/// A change of [`LimitsSet`]: a number sets, null goes back to the default. As RFC 7396, JSON Merge
/// Patch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LimitsChange(pub BTreeMap<Limit, Option<u64>>);

impl LimitsSet {
    /// With `change` made.
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
}

/// All limits of one window as they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLimits([u64; TABLE.len()]);

impl Default for WindowLimits {
    fn default() -> Self {
        WindowLimits(TABLE.map(|row| row.default))
    }
}

impl Serialize for WindowLimits {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(TABLE.iter().map(|row| (row.name, self.get(row.limit))))
    }
}

impl WindowLimits {
    /// These, with what is set in their place.
    pub fn with(mut self, set: &LimitsSet) -> Self {
        for (limit, value) in &set.0 {
            self.0[*limit as usize] = *value;
        }
        self
    }

    /// With one of them at `value`, as near as its bounds allow.
    pub fn at(mut self, limit: Limit, value: u64) -> Self {
        let row = limit.row();
        self.0[limit as usize] = value.clamp(row.least, row.most);
        self
    }

    pub fn get(&self, limit: Limit) -> u64 {
        self.0[limit as usize]
    }

    /// A time.
    pub fn time(&self, limit: Limit) -> Duration {
        Duration::from_millis(self.get(limit))
    }

    /// A size or a count in memory.
    pub fn size(&self, limit: Limit) -> usize {
        usize::try_from(self.get(limit)).unwrap_or(usize::MAX)
    }
}

/// The limits of one window as they are now: shared by all that hold it to them, so that a change
/// is live at once.
pub type LiveLimits = Arc<arc_swap::ArcSwap<WindowLimits>>;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_table_is_in_the_order_of_the_enum_and_its_defaults_are_in_bounds() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.limit as usize, index, "{}", row.name);
            assert_eq!(row.check(row.default), Ok(row.default));
            assert_eq!(json!(row.limit), json!(row.name));
        }
    }

    #[test]
    fn a_change_sets_and_null_goes_back_to_the_default() {
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
    fn what_is_out_of_bounds_or_unknown_is_refused_with_its_name() {
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
