//! The host's own log: to stderr, as text for people or JSON for collectors. Written by a thread of its own, so that no request waits
//! for whoever reads it.

mod writer;

use clap::ValueEnum;
use prometheus_client::metrics::counter::Counter;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::time::Duration;
use tracing_subscriber::EnvFilter;
use writer::Queued;

/// How long the end of the process waits for the reader of its last lines. 2 s.
const LAST_LINES: Duration = Duration::from_secs(2);

/// What a running host says: its log on stderr, and the rest on stdout. Empty in client verbs, which write for themselves.
static HOST: OnceLock<Outputs> = OnceLock::new();

struct Outputs {
    log: Queued,
    out: Queued,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Says something on stdout to whoever started the host, if they are still there: unlike `println!` it does not panic.
pub fn tell(what: &str) {
    match HOST.get() {
        Some(outputs) => outputs.out.push(format!("{what}\n").as_bytes()),
        None => {
            let _ = writeln!(io::stdout(), "{what}");
        }
    }
}

/// The same on stderr.
pub fn warn(what: &str) {
    match HOST.get() {
        Some(outputs) => outputs.log.push(format!("{what}\n").as_bytes()),
        None => {
            let _ = writeln!(io::stderr(), "{what}");
        }
    }
}

/// Starts logging. `HMS_LOG` sets what is shown, in the syntax of `tracing_subscriber`'s `EnvFilter`; the default is `info`.
///
/// # Errors
/// When `HMS_LOG` cannot be read, or the system gives no thread.
pub fn start(format: LogFormat) -> anyhow::Result<()> {
    let directives = std::env::var("HMS_LOG").ok();
    let directives = directives.filter(|set| !set.is_empty());
    let directives = directives.unwrap_or_else(|| "info".into());
    let filter: EnvFilter = directives.parse().map_err(|error| {
        anyhow::anyhow!("HMS_LOG='{directives}' cannot be read: {error}; for example HMS_LOG=debug")
    })?;
    // Not by the standard library's handles: a write that waits would hold their locks.
    let outputs = Outputs {
        log: Queued::start("log", duplicate(io::stderr().as_fd())?)?,
        out: Queued::start("stdout", duplicate(io::stdout().as_fd())?)?,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(outputs.log.clone())
        // Else it says on stderr that stderr cannot be written, which panics: in every request, and in the shutdown.
        .log_internal_errors(false);
    match format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    if HOST.set(outputs).is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
    Ok(())
}

/// Waits a moment for the last lines to be read. To be called before the process ends.
pub fn finish() {
    if let Some(outputs) = HOST.get() {
        outputs.out.flush(LAST_LINES);
        outputs.log.flush(LAST_LINES);
    }
}

/// Lines that were left out of the log because nobody read it fast enough.
pub fn lines_left_out() -> Counter {
    HOST.get()
        .map(|outputs| outputs.log.left_out())
        .unwrap_or_default()
}

fn duplicate(stream: std::os::fd::BorrowedFd<'_>) -> io::Result<File> {
    stream.try_clone_to_owned().map(File::from)
}

/// The standard library's own words would be written at once, and so wait for the reader.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("(no message)");
    let place = panic
        .location()
        .map_or_else(|| "an unknown place".into(), ToString::to_string);
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let trace = Backtrace::capture();
    let trace = (trace.status() == BacktraceStatus::Captured).then(|| format!("\n{trace}"));
    let trace = trace.unwrap_or_default();
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!("thread '{thread}' panicked at {place}: {message}{trace}");
    } else {
        warn(&format!(
            "thread '{thread}' panicked at {place}: {message}{trace}"
        ));
    }
}
