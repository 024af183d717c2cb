//! What a window is asked to do at certain times.
//!
//! `cron` reads expressions, `clock` finds when they come in a time zone, and `due` says what is to
//! be run at a time, and what is left out.

mod clock;
mod cron;
mod due;

pub use due::{Due, MAX_COUNTED, MAX_RUNS, Occurrence};

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

/// Checks a cron expression: five fields, or a nickname such as `@daily`.
///
/// # Errors
///
/// What is wrong with it, and what to write; also where it never comes.
pub fn check_cron(text: &str) -> Result<(), String> {
    cron::read(text).map(drop)
}

/// The name of a time zone of the IANA database as the database writes it.
///
/// # Errors
///
/// If there is none of this name.
pub fn check_time_zone(name: &str) -> Result<String, String> {
    clock::zone(name).map(|(_, name)| name)
}
