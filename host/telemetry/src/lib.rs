//! What the host says of itself. Its log goes to stderr, as text for people or JSON for collectors,
//! written by a thread of its own, so that no request waits for whoever reads it. [`trace`] keeps
//! when each part of a request began and ended, and [`otlp`] sends that on.

// For maintainers: the documentation is built with private items.
#![allow(rustdoc::private_intra_doc_links)]

mod fields;
mod filter;
mod inline;
pub mod openmetrics;
pub mod otlp;
pub mod trace;
mod writer;

use anyhow::Context;
use clap::ValueEnum;
use hms_core::printable::{printable_json, printable_lines};
use otlp::{LogLayer, LogQueue};
use prometheus_client::metrics::counter::Counter;
use serde_json::{Value, json};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use writer::{Lines, Queued};

/// How long the end of the process waits for the reader of its last lines. 2 s.
const LAST_LINES: Duration = Duration::from_secs(2);

/// What a running host says: its log on stderr, and the rest on stdout. Empty in client verbs,
/// which write for themselves.
static HOST: OnceLock<Outputs> = OnceLock::new();

struct Outputs {
    format: LogFormat,
    log: Queued,
    out: Queued,
    exported: LogLayer,
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

/// How the log as text shows what windows write to theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowLines {
    /// As any other line, with the window as a field.
    Fields,
    /// Behind the window's name: for an author, who reads them most.
    Prefixed,
    /// Not at all.
    Hidden,
}

/// Says something on stdout to whoever started the host or the verb, if they are still there:
/// unlike `println!` it does not panic. What comes from outside must have been made
/// [`printable`](hms_core::printable::printable).
pub fn print(what: &str) {
    match HOST.get() {
        Some(Outputs {
            format: LogFormat::Json,
            ..
        }) => print_json(&json!({ "message": what })),
        Some(outputs) => outputs.out.push(format!("{what}\n").as_bytes()),
        None => {
            let _ = writeln!(io::stdout(), "{what}");
        }
    }
}

/// The same for an object. A host whose log is JSON says it on one line, as it writes its log.
pub fn print_json(what: &Value) {
    match HOST.get() {
        Some(outputs) => outputs.out.push(log_line("INFO", what).as_bytes()),
        None => {
            let what = format!("{what:#}");
            let _ = writeln!(io::stdout(), "{}", printable_json(&what));
        }
    }
}

/// The same on one line in any case: of objects that come one by one.
pub fn print_json_line(what: &Value) {
    match HOST.get() {
        Some(_) => print_json(what),
        None => {
            let _ = writeln!(io::stdout(), "{}", printable_json(&what.to_string()));
        }
    }
}

/// Says something on stderr, whatever `HMS_LOG` is. Made harmless here.
pub fn warn(what: &str) {
    say("WARN", what);
}

/// The same for what the process ends by.
pub fn fail(what: &str) {
    say("ERROR", what);
}

fn say(level: &str, what: &str) {
    let Some(outputs) = HOST.get() else {
        let _ = writeln!(io::stderr(), "{}", printable_lines(what));
        return;
    };
    let line = match outputs.format {
        LogFormat::Json => log_line(level, &json!({ "message": what })),
        LogFormat::Text => format!("{}\n", printable_lines(what)),
    };
    outputs.log.push(line.as_bytes());
}

/// How the host writes, if this is one.
pub fn format() -> Option<LogFormat> {
    HOST.get().map(|outputs| outputs.format)
}

/// An object as a line of a JSON log, with the fields that every such line has.
fn log_line(level: &str, what: &Value) -> String {
    let at = OffsetDateTime::now_utc().format(&Rfc3339).ok();
    let mut line = json!({ "timestamp": at, "level": level, "target": "hms" });
    if let (Some(line), Some(what)) = (line.as_object_mut(), what.as_object()) {
        line.extend(what.clone());
    }
    format!("{}\n", printable_json(&line.to_string()))
}

/// Starts logging. `HMS_LOG` sets what is shown: a level, and targets with another one, such as
/// `info,egress=off`. The default is `level`.
///
/// # Errors
/// When `HMS_LOG` cannot be read, or the system gives no thread.
pub fn start(
    format: LogFormat,
    lines_of_windows: WindowLines,
    level: LevelFilter,
) -> anyhow::Result<()> {
    let set = std::env::var_os("HMS_LOG").unwrap_or_default();
    let set = set.to_string_lossy();
    let mut filter = filter::parse(&set, level).with_context(|| format!("HMS_LOG='{set}'"))?;
    if lines_of_windows == WindowLines::Hidden {
        filter = filter.with_target(inline::TARGET, LevelFilter::OFF);
    }
    // Not by the standard library's handles: a write that waits would hold their locks.
    let outputs = Outputs {
        format,
        log: Queued::start("log", duplicate(io::stderr().as_fd())?)?,
        out: Queued::start("stdout", duplicate(io::stdout().as_fd())?)?,
        exported: LogLayer::default(),
    };
    let exported = outputs.exported.clone();
    let lines = Lines {
        queue: outputs.log.clone(),
        json: format == LogFormat::Json,
    };
    let written = tracing_subscriber::fmt::layer()
        .with_writer(lines)
        // Else it says on stderr that stderr cannot be written, which panics: in every request, and
        // in the shutdown.
        .log_internal_errors(false);
    let log = tracing_subscriber::registry();
    match format {
        LogFormat::Text => {
            let written = written
                .with_ansi(io::stderr().is_terminal())
                .fmt_fields(fields::Fields)
                .map_event_format(|others| inline::Inline {
                    prefixed: lines_of_windows == WindowLines::Prefixed,
                    others,
                });
            log.with(written).with(filter).with(exported).init();
        }
        LogFormat::Json => {
            let written = written.json().flatten_event(true);
            log.with(written).with(filter).with(exported).init();
        }
    }
    if HOST.set(outputs).is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
    Ok(())
}

/// What is logged from now on goes to `queue` as well, with the filter of the log.
pub fn export_log(queue: LogQueue) {
    if let Some(outputs) = HOST.get() {
        outputs.exported.export_to(queue);
    }
}

/// Waits a moment for the last lines to be read. To be called before the process ends.
pub fn finish() {
    if let Some(outputs) = HOST.get() {
        outputs.out.flush(LAST_LINES);
        outputs.log.flush(LAST_LINES);
    }
}

/// Lines that were dropped from the log because nobody read it fast enough.
pub fn lines_dropped() -> Counter {
    HOST.get()
        .map(|outputs| outputs.log.dropped())
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
    let trace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
    let trace = trace.unwrap_or_default();
    let message = format!("thread '{thread}' panicked at {place}: {message}");
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!("{message}");
        // One line each: a line within a line would be escaped.
        for frame in trace.lines() {
            tracing::error!("{frame}");
        }
    } else {
        warn(&format!("{message}\n{trace}"));
    }
}
