//! Points at which a test ends the process like `kill -9`, to check what is left on disk.

/// In development builds, `HMS_CRASH_AFTER=POINT` ends the process when it reaches that point. The
/// points: each step of a deploy; `asked` and `recorded`, before and after any change to the record
/// of a window; `store-deleted`; `delivered`, when a subscriber has taken an event; `promoting` and
/// `promoted`, before and after events become due; `running-schedule` and `ran-schedule`, the same
/// for the event of a schedule; and those before and after commits of what the host remembers of
/// deliveries: `acknowledging` and `acknowledged`, `counting-attempt` and `counted-attempt`,
/// `parking` and `parked`, `noting-run` and `noted-run`, `marking-log` and `marked-log`.
pub fn point(name: &str) {
    if cfg!(debug_assertions)
        && let Ok(wanted) = std::env::var("HMS_CRASH_AFTER")
        && wanted.eq_ignore_ascii_case(name)
    {
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
