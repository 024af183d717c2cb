//! What a window is asked to do at certain times.

use std::time::Duration;

/// One entry of `schedules`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Its name, unique in the window.
    pub name: String,
    /// The cron expression, checked.
    pub cron: String,
    /// IANA name of the time zone, checked. `UTC` where the file says none.
    pub time_zone: String,
    /// The path of the window that is asked.
    pub to: String,
    /// What is done about times that passed while the host could not run it.
    pub missed: Missed,
    /// How long after its time a missed one is still run. 1 h.
    pub within: Duration,
    /// What is done where the last run is not over.
    pub overlap: Overlap,
    /// Longest delay, which is fixed for each schedule so that many do not begin at once. 0.
    pub jitter: Duration,
    /// Line of the file, from 1.
    pub line: usize,
}

/// What is done about missed times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// The last one of them is run.
    Last,
    /// All of them are, one after the other.
    All,
    /// None is.
    Skip,
}

/// What is done where the last run is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// The new one is left out.
    Skip,
    /// The new one waits.
    Queue,
}
