//! What the process does with each signal that a service meets. docs/operations.md has the table.
//!
//! What would end the process without a word is caught: the first of [`ENDING`] asks for the end,
//! another one insists, from [`INSISTS_AFTER`] on. SIGHUP has files read again. [`IGNORED`] are
//! said once and change nothing. All others do as the system has it: SIGTSTP and SIGCONT are the
//! shell's, SIGSEGV and its like are wasmtime's, and SIGPIPE is ignored by Rust's runtime.

use crate::children;
use rustix::process::Signal as Number;
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What ends the host: a service manager's word, the keyboard's two, a container's for a failing
/// power supply, and the first of the system's about used up CPU time (RLIMIT_CPU), whose last is
/// SIGKILL.
const ENDING: [(&str, Number); 5] = [
    ("SIGTERM", Number::TERM),
    ("SIGINT", Number::INT),
    ("SIGQUIT", Number::QUIT),
    ("SIGPWR", Number::POWER),
    (CPU_TIME, Number::XCPU),
];

/// What means nothing to the host, and would end it unhandled. With SIGXFSZ handled, a write beyond
/// RLIMIT_FSIZE fails as on a full disk instead.
const IGNORED: [(&str, Number); 7] = [
    ("SIGUSR1", Number::USR1),
    ("SIGUSR2", Number::USR2),
    ("SIGALRM", Number::ALARM),
    ("SIGVTALRM", Number::VTALARM),
    ("SIGIO", Number::IO),
    ("SIGSTKFLT", Number::STKFLT),
    ("SIGXFSZ", Number::XFSZ),
];

const HANGUP: &str = "SIGHUP";
const CPU_TIME: &str = "SIGXCPU";

/// From when on after the first signal another one insists. One stop may reach a process twice:
/// timeout(1) signals its child and then its process group, and a terminal signals a wrapper that
/// passes it on. These come within milliseconds; a person, or a script that insists, takes longer.
/// 250 ms.
const INSISTS_AFTER: Duration = Duration::from_millis(250);

/// The exit status of a process that a signal ended is this and the signal's number.
const BY_SIGNAL: i32 = 128;

/// What SIGHUP asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hangup {
    /// To read again what is read from files, as of other services.
    Reload,
    /// To end: the terminal is closed, and what runs for it has nobody to serve any more. Ignored
    /// where whoever started the process had it ignored, as `nohup` does.
    End,
}

/// The signals of this process, watched.
#[derive(Debug)]
pub struct Signals {
    /// Cancelled by the first signal that ends.
    pub shutdown: CancellationToken,
    /// Where SIGHUP asks for a reload.
    pub hangups: Option<Hangups>,
}

/// SIGHUPs as they come.
#[derive(Debug)]
pub struct Hangups(Signal);

/// Watches for signals from now on. Another one that ends, [`INSISTS_AFTER`] after the first or
/// later, has the process end at once, and its children with it.
///
/// # Errors
/// When the system does not let signals be watched.
pub fn watch(hangup: Hangup) -> io::Result<Signals> {
    let mut ending = Watched::of(&ENDING)?;
    let mut ignored = Watched::of(&IGNORED)?;
    let mut hangups = None;
    match hangup {
        Hangup::Reload => hangups = Some(Hangups(signal(SignalKind::hangup())?)),
        Hangup::End if is_ignored(Number::HUP) => {}
        Hangup::End => ending.add(HANGUP, Number::HUP)?,
    }
    let shutdown = CancellationToken::new();
    let asked = shutdown.clone();
    tokio::spawn(async move {
        let (name, _) = ending.next().await;
        let first = Instant::now();
        tracing::info!(
            "shutting down on {name}; another signal after {INSISTS_AFTER:?} ends the host at once"
        );
        asked.cancel();
        let (name, number) = loop {
            let (name, number) = ending.next().await;
            if insists(name, first.elapsed()) {
                break (name, number);
            }
        };
        tracing::warn!("ended at once on {name}");
        children::end_all();
        hms_telemetry::finish();
        std::process::exit(BY_SIGNAL + number.as_raw());
    });
    tokio::spawn(async move {
        let mut said = Vec::new();
        loop {
            let (name, _) = ignored.next().await;
            if !said.contains(&name) {
                said.push(name);
                tracing::info!("ignoring {name}; further ones are not logged");
            }
        }
    });
    Ok(Signals { shutdown, hangups })
}

/// Whether a signal, `since` the first, asks for the end at once. A terminal that is closed may
/// send several of its own, and the kernel one for each second of CPU time.
fn insists(name: &str, since: Duration) -> bool {
    ![HANGUP, CPU_TIME].contains(&name) && since >= INSISTS_AFTER
}

impl Hangups {
    /// The next. Those that come while nobody waits are one.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

/// What asks a client verb to end that has something to take away first. What whoever started it
/// had ignored, as `nohup` or a shell's `&` does, stays so.
#[derive(Debug)]
pub struct Interrupts(Watched);

/// The signal of [`Interrupts`] that came.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("interrupted by {name}")]
pub struct Interrupted {
    name: &'static str,
    number: Number,
}

impl Interrupts {
    /// From now on.
    ///
    /// # Errors
    /// When the system does not let signals be watched.
    pub fn watch() -> io::Result<Self> {
        let mut watched = Watched(Vec::new());
        for (name, number) in ENDING.into_iter().chain([(HANGUP, Number::HUP)]) {
            if !is_ignored(number) {
                watched.add(name, number)?;
            }
        }
        Ok(Interrupts(watched))
    }

    /// The next.
    pub async fn next(&mut self) -> Interrupted {
        let (name, number) = self.0.next().await;
        Interrupted { name, number }
    }
}

impl Interrupted {
    /// The exit status that says so.
    pub fn exit_status(self) -> i32 {
        BY_SIGNAL + self.number.as_raw()
    }
}

#[derive(Debug)]
struct Watched(Vec<(&'static str, Number, Signal)>);

impl Watched {
    fn of(signals: &[(&'static str, Number)]) -> io::Result<Self> {
        let mut watched = Watched(Vec::new());
        for (name, number) in signals {
            watched.add(name, *number)?;
        }
        Ok(watched)
    }

    fn add(&mut self, name: &'static str, number: Number) -> io::Result<()> {
        let signal = signal(SignalKind::from_raw(number.as_raw()))?;
        self.0.push((name, number, signal));
        Ok(())
    }

    async fn next(&mut self) -> (&'static str, Number) {
        poll_fn(|cx| {
            for (name, number, signal) in &mut self.0 {
                if signal.poll_recv(cx).is_ready() {
                    return Poll::Ready((*name, *number));
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Whether the process was started with `signal` ignored.
fn is_ignored(signal: Number) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignores(&status, signal.as_raw())
}

/// proc(5): `SigIgn` is a mask in hexadecimal whose lowest bit is signal 1.
fn ignores(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let bit = u32::try_from(signal - 1).unwrap_or(u64::BITS);
    mask.unwrap_or_default()
        .checked_shr(bit)
        .is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_ignored_from_the_start_are_read_from_the_kernel_mask() {
        let status = "Name:\thms\nSigBlk:\t0000000000000007\nSigIgn:\t0000000000001001\n";
        for (signal, expected) in [(1, true), (2, false), (13, true), (64, false)] {
            assert_eq!(ignores(status, signal), expected, "{signal}");
        }
        for status in ["", "SigIgn:\tno mask\n"] {
            assert!(!ignores(status, 1));
        }
    }

    #[test]
    fn stop_signal_delivered_twice_does_not_force_an_exit() {
        let ms = Duration::from_millis;
        for (name, since, expected) in [
            ("SIGTERM", ms(0), false),
            ("SIGTERM", ms(200), false),
            ("SIGTERM", ms(250), true),
            ("SIGINT", ms(60_000), true),
            (HANGUP, ms(60_000), false),
            (CPU_TIME, ms(60_000), false),
        ] {
            assert_eq!(insists(name, since), expected, "{name} after {since:?}");
        }
    }

    /// What ends, reloads or is ignored, by name.
    #[test]
    fn operations_page_lists_every_signal() {
        let page = include_str!("../../../docs/operations.md");
        for (name, _) in ENDING.iter().chain(&IGNORED) {
            assert!(page.contains(name), "docs/operations.md lacks {name}");
        }
        assert!(page.contains("SIGHUP"));
    }
}
