//! Points at which a test ends the process like `kill -9`, to check what is left on disk.

/// In development builds, `HMS_CRASH_AFTER=POINT` ends the process when it reaches that point. The
/// points: each step of a deploy; `asked` and `recorded`, before and after any change to the record
/// of a window; `store-deleted`; `delivered`, when a subscriber has taken an event, and
/// `acknowledged`, when that is on disk.
pub fn point(name: &str) {
    if cfg!(debug_assertions)
        && let Ok(wanted) = std::env::var("HMS_CRASH_AFTER")
        && wanted.eq_ignore_ascii_case(name)
    {
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
