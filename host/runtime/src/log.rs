//! The window's own log: what its instances write to stdout and stderr, and why they failed.
//! Bounded in line length, in lines kept, and in lines per second that go to the host's log.

use super::error_text::cut;
use super::instance::InstanceAtWork;
use super::trap;
use bytes::Bytes;
use hms_core::limits::{Limit, LiveLimits};
use hms_core::printable::printable;
use hms_core::trace::logged;
use hms_grants::{LiveGrants, mask};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio::io::AsyncWrite;
use wasmtime::component::{ComponentType, Lift};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Bytes of one line; the rest is cut off. 4 KiB holds any sentence.
const MAX_LINE_BYTES: usize = 4096;

/// Bytes of one line with what the host adds to it.
const MAX_LOGGED_BYTES: usize = MAX_LINE_BYTES + 128;

/// Lines kept per window; the oldest are dropped first.
const MAX_LINES: usize = 1000;

/// Bytes kept per window over all lines. 256 KiB: a thousand windows that flood their logs cost 256
/// MiB at most.
const MAX_BYTES: usize = 256 << 10;

/// What Rust's standard library writes below a panic. It is true of programs, and misleads here:
/// where the window was is told below, and no variable changes that.
const OF_PANIC: &[u8] =
    b"note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace";

/// How serious a line is, in the words of `wasi:logging`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
pub enum Level {
    /// For whoever follows each step.
    #[component(name = "trace")]
    Trace,
    /// For whoever looks for a fault.
    #[component(name = "debug")]
    Debug,
    /// The usual course.
    #[component(name = "info")]
    Info,
    /// Something to look at.
    #[component(name = "warn")]
    Warn,
    /// Something failed.
    #[component(name = "error")]
    Error,
    /// The window cannot do its work.
    #[component(name = "critical")]
    Critical,
}

impl Level {
    /// As in the admin API.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Critical => "critical",
        }
    }
}

/// One line of a window's log.
#[derive(Debug, Clone)]
pub struct Line {
    /// When it was written.
    pub at: OffsetDateTime,
    /// How serious it is, where the guest said so.
    pub level: Option<Level>,
    /// What it says, control characters escaped.
    pub text: String,
}

/// A window's log in memory.
pub struct WindowLog {
    window: String,
    limits: LiveLimits,
    grants: LiveGrants,
    left_out: AtomicU64,
    inner: Mutex<Inner>,
}

struct Inner {
    lines: VecDeque<Line>,
    bytes: usize,
    second: Instant,
    in_second: u64,
    dropped: u64,
}

impl WindowLog {
    pub(super) fn new(window: &str, limits: LiveLimits, grants: LiveGrants) -> Self {
        WindowLog {
            window: window.to_owned(),
            limits,
            grants,
            left_out: AtomicU64::new(0),
            inner: Mutex::new(Inner {
                lines: VecDeque::new(),
                bytes: 0,
                second: Instant::now(),
                in_second: 0,
                dropped: 0,
            }),
        }
    }

    /// The lines kept, oldest first.
    pub fn lines(&self) -> Vec<Line> {
        let inner = self.inner.lock();
        inner.lines.iter().cloned().collect()
    }

    /// Lines that were left out since the start, because there were too many in one second.
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Relaxed)
    }

    /// Adds a line, unless the window has used up its rate for this second.
    pub fn line(&self, text: &str) {
        self.add(None, text);
    }

    /// Adds what a guest logs by `wasi:logging` as one line. Of a longer one the rest is left out.
    pub(super) fn entry(&self, level: Level, context: &str, message: &str) {
        let separator = if context.is_empty() { "" } else { ": " };
        let mut text = String::new();
        let mut left_out = 0;
        for part in [context, separator, message] {
            let kept = part.floor_char_boundary(MAX_LINE_BYTES - text.len());
            let (kept, rest) = part.split_at(kept);
            text.push_str(kept);
            left_out += rest.len();
        }
        self.add_cut(Some(level), &text, left_out);
    }

    /// Adds a line of which so many bytes are not there.
    fn add_cut(&self, level: Option<Level>, text: &str, left_out: usize) {
        if left_out == 0 {
            return self.add(level, text);
        }
        let kept = mask::masked_beginning(&self.grants.load(), text);
        self.add(level, &format!("{kept} … ({left_out} bytes left out)"));
    }

    fn add(&self, level: Option<Level>, text: &str) {
        let most = self.limits.load().get(Limit::LogLinesPerS);
        let mut inner = self.inner.lock();
        if inner.second.elapsed() >= Duration::from_secs(1) {
            let dropped = std::mem::take(&mut inner.dropped);
            inner.second = Instant::now();
            inner.in_second = 0;
            if dropped > 0 {
                let note = format!("({dropped} lines left out: more than {most} in one second)");
                logged::about(None, || {
                    tracing::warn!(target: "window", window = self.window, "{note}");
                });
                inner.push(None, note);
            }
        }
        inner.in_second += 1;
        if inner.in_second > most {
            inner.dropped += 1;
            self.left_out.fetch_add(1, Relaxed);
            return;
        }
        // A guest must not be able to write control sequences to an operator's terminal, or forge a
        // line.
        let text = mask::masked(&self.grants.load(), text);
        let text = if text.len() > MAX_LOGGED_BYTES {
            printable(&cut(MAX_LOGGED_BYTES, format_args!("{text}"))).into_owned()
        } else {
            printable(&text).into_owned()
        };
        let window = &self.window;
        match level {
            Some(Level::Trace) => tracing::trace!(target: "window", window, "{text}"),
            Some(Level::Debug) => tracing::debug!(target: "window", window, "{text}"),
            None | Some(Level::Info) => tracing::info!(target: "window", window, "{text}"),
            Some(Level::Warn) => tracing::warn!(target: "window", window, "{text}"),
            Some(Level::Error | Level::Critical) => {
                tracing::error!(target: "window", window, "{text}");
            }
        }
        inner.push(level, text);
    }

    /// Adds the error that ended an instance, and where in the guest that was.
    pub(super) fn failure(&self, error: &wasmtime::Error) {
        for line in trap::lines(error) {
            self.line(&line);
        }
    }

    /// A stream for one instance's stdout or stderr.
    pub(super) fn stream(self: &Arc<Self>, at_work: &InstanceAtWork) -> LogStream {
        LogStream {
            log: self.clone(),
            at_work: at_work.clone(),
            partial: Arc::default(),
        }
    }
}

impl Inner {
    fn push(&mut self, level: Option<Level>, text: String) {
        self.bytes += text.len();
        self.lines.push_back(Line {
            at: OffsetDateTime::now_utc(),
            level,
            text,
        });
        while self.lines.len() > MAX_LINES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.lines.pop_front() else {
                break;
            };
            self.bytes -= oldest.text.len();
        }
    }
}

/// Splits one instance's output into lines. Clones share the line being written.
#[derive(Clone)]
pub(super) struct LogStream {
    log: Arc<WindowLog>,
    at_work: InstanceAtWork,
    partial: Arc<Mutex<Partial>>,
}

#[derive(Default)]
struct Partial {
    line: Vec<u8>,
    left_out: usize,
}

impl Partial {
    /// Gives the line to `log`, as one about what the instance is at work on.
    fn end(&mut self, log: &WindowLog, at_work: &InstanceAtWork) {
        let left_out = std::mem::take(&mut self.left_out);
        let line = std::mem::take(&mut self.line);
        if line == OF_PANIC {
            return;
        }
        let line = String::from_utf8_lossy(&line);
        logged::about(at_work.work(), || log.add_cut(None, &line, left_out));
    }
}

impl LogStream {
    fn write_bytes(&self, bytes: &[u8]) {
        let mut partial = self.partial.lock();
        let mut pieces = bytes.split(|b| *b == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let room = MAX_LINE_BYTES - partial.line.len();
            let kept = piece.get(..room.min(piece.len())).unwrap_or_default();
            partial.line.extend_from_slice(kept);
            partial.left_out += piece.len() - kept.len();
            if pieces.peek().is_some() {
                partial.end(&self.log, &self.at_work);
            }
        }
    }
}

impl Drop for LogStream {
    fn drop(&mut self) {
        if Arc::strong_count(&self.partial) > 1 {
            return;
        }
        let mut partial = self.partial.lock();
        if !partial.line.is_empty() {
            partial.end(&self.log, &self.at_work);
        }
    }
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for LogStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.write_bytes(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.write_bytes(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_LINE_BYTES)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use hms_grants::{Secret, WindowGrants};

    fn log() -> Arc<WindowLog> {
        let grants = LiveGrants::default();
        Arc::new(WindowLog::new("w", LiveLimits::default(), grants))
    }

    /// A log of a window to which this secret is revealed.
    fn log_without(secret: &str) -> Arc<WindowLog> {
        let log = log();
        let mut granted = WindowGrants::default();
        granted.grants.reveal.insert("key".into());
        let value = Secret::new(secret.as_bytes().to_vec());
        granted.secrets.insert("key".into(), value);
        log.grants.store(granted);
        log
    }

    fn texts(log: &WindowLog) -> Vec<String> {
        log.lines().into_iter().map(|line| line.text).collect()
    }

    fn written(pieces: &[&[u8]]) -> Vec<String> {
        written_to(&log(), pieces)
    }

    fn written_to(log: &Arc<WindowLog>, pieces: &[&[u8]]) -> Vec<String> {
        let stream = log.stream(&InstanceAtWork::default());
        for piece in pieces {
            stream.write_bytes(piece);
        }
        drop(stream);
        texts(log)
    }

    #[test]
    fn line_written_in_pieces_is_one_line() {
        assert_eq!(written(&[b"a", b"b\nc", b"\n"]), ["ab", "c"]);
    }

    #[test]
    fn last_line_needs_no_newline() {
        assert_eq!(written(&[b"one\ntwo"]), ["one", "two"]);
    }

    #[test]
    fn endless_line_is_cut_with_a_note() {
        let lines = written(&[&[b'x'; MAX_LINE_BYTES + 10], b"\n"]);
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].ends_with("(10 bytes left out)"),
            "{}",
            lines[0].len()
        );
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(written(&[b"\x1b[2Jgone\r\n"]), ["\\u{1b}[2Jgone\\r"]);
    }

    #[test]
    fn revealed_secret_is_masked_also_where_it_is_written_in_pieces() {
        let log = log_without("sk_live_42");
        let lines = written_to(&log, &[b"key sk_li", b"ve_42\n", b"sk_live_42"]);
        assert_eq!(lines, ["key ***", "***"]);
    }

    #[test]
    fn secret_at_the_end_of_a_line_that_is_cut_leaves_no_part_of_itself() {
        for before in MAX_LINE_BYTES - 12..MAX_LINE_BYTES {
            let log = log_without("sk_live_42");
            let text = format!("{}sk_live_42 and more", ".".repeat(before));
            written_to(&log, &[text.as_bytes(), b"\n"]);
            log.entry(Level::Info, "", &text);
            for line in texts(&log) {
                assert!(!line.contains("sk"), "{before}: {line}");
                assert!(line.contains("bytes left out"), "{line}");
            }
        }
    }

    #[test]
    fn entry_has_its_level_and_its_context_and_is_one_line() {
        let log = log_without("sk_live_42");
        log.entry(Level::Warn, "cards", "refused\nkey sk_live_42");
        log.entry(Level::Trace, "", "plain");
        log.line("from stdout");
        let lines = log.lines();
        let seen: Vec<_> = lines.iter().map(|line| (line.level, &*line.text)).collect();
        assert_eq!(
            seen,
            [
                (Some(Level::Warn), "cards: refused\\nkey ***"),
                (Some(Level::Trace), "plain"),
                (None, "from stdout"),
            ]
        );
    }

    #[test]
    fn flood_of_entries_is_cut_off_within_the_second() {
        let log = log();
        let most = Limit::LogLinesPerS.row().default as usize;
        (0..5 * most).for_each(|_| log.entry(Level::Error, "", "x"));
        let kept = log.lines().len() as u64;
        assert!((most as u64..=2 * most as u64).contains(&kept));
        // A second may have begun meanwhile, with a note of its own.
        let left_out = 5 * most as u64 - log.left_out();
        assert!((kept - 1..=kept).contains(&left_out), "{kept} {left_out}");
    }

    #[test]
    fn log_flood_is_cut_off_within_the_second() {
        let most = Limit::LogLinesPerS.row().default as usize;
        let lines = written(&[&b"x\n".repeat(5 * most)]);
        assert!(lines.len() <= 2 * most, "{}", lines.len());
        assert!(lines.len() >= most);
    }
}
