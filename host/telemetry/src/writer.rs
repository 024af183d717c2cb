//! A writer that never waits for its reader: lines go into a bounded queue, which a thread of its
//! own writes out.
//!
//! Whoever reads the log may pause: a stopped terminal, a collector that restarts, a full disk. A
//! lane that wrote to it would wait as long. So lines that find the queue full are dropped and
//! counted, and a line says how many once the reader moves again. The queue is one buffer of bytes:
//! a line costs a lock and a copy, no allocation, and many lines leave in one system call.

use hms_core::printable::printable_json;
use parking_lot::{Condvar, Mutex, MutexGuard};
use prometheus_client::metrics::counter::Counter;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// Bytes that wait for the reader. 8 MiB: about 30,000 lines of the access log, more than a second
/// of full load. As much again may be in the hands of the thread that writes.
pub(crate) const MAX_WAITING_BYTES: usize = 8 << 20;

/// How long the thread gathers lines before it writes them. 5 ms: nobody sees it, and full load
/// costs 200 system calls a second.
const GATHER: Duration = Duration::from_millis(5);

/// A buffer that grew beyond this in a burst is given back.
const KEPT_BYTES: usize = 256 << 10;

/// Until the next try where the reader's end does not block and is full.
const RETRY: Duration = Duration::from_millis(10);

/// Lines on their way to one reader. Clones share the queue.
#[derive(Clone)]
pub(crate) struct Queued(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Wakes the thread.
    more: Condvar,
    /// Wakes those that wait in [`Queued::flush`].
    written: Condvar,
    dropped: Counter,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Lines that found the queue full since the thread last took what was in it.
    dropped: u64,
    /// The thread sleeps until there is something.
    idle: bool,
    writing: bool,
    /// Somebody waits for the queue to be empty: nothing is gathered.
    hurry: bool,
}

impl Queued {
    /// Starts the thread that writes to `sink`. It lasts as long as the process.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(name: &str, sink: impl Write + Send + 'static) -> io::Result<Self> {
        let queued = Queued(Arc::new(Shared {
            state: Mutex::default(),
            more: Condvar::new(),
            written: Condvar::new(),
            dropped: Counter::default(),
        }));
        let writing = queued.clone();
        std::thread::Builder::new()
            .name(name.into())
            .spawn(move || writing.write_out(sink))?;
        Ok(queued)
    }

    /// Puts one line, or several with their ends, into the queue as a whole, or leaves it out and
    /// counts it.
    pub(crate) fn push(&self, lines: &[u8]) {
        let mut state = self.0.lock();
        if state.waiting.len() + lines.len() > MAX_WAITING_BYTES {
            state.dropped += 1;
            self.0.dropped.inc();
            return;
        }
        state.waiting.extend_from_slice(lines);
        if std::mem::take(&mut state.idle) {
            self.0.more.notify_one();
        }
    }

    /// Waits until all that was pushed is written, at most `longest`. Whether it is.
    pub(crate) fn flush(&self, longest: Duration) -> bool {
        let mut state = self.0.lock();
        state.hurry = true;
        self.0.more.notify_one();
        let waits = |state: &mut State| state.writing || !state.waiting.is_empty();
        self.0.written.wait_while_for(&mut state, waits, longest);
        state.hurry = false;
        !waits(&mut state)
    }

    /// Lines dropped since the start.
    pub(crate) fn dropped(&self) -> Counter {
        self.0.dropped.clone()
    }

    fn write_out(self, mut sink: impl Write) {
        let mut batch = Vec::new();
        loop {
            let dropped = self.0.take(&mut batch);
            if write_patiently(&mut sink, &batch).is_err() {
                // Nobody is there, or there is no space. A line about it would meet the same.
                let lines = batch.iter().filter(|byte| **byte == b'\n').count();
                self.0.dropped.inc_by(lines as u64);
            }
            batch.clear();
            batch.shrink_to(KEPT_BYTES);
            self.0.lock().writing = false;
            self.0.written.notify_all();
            if dropped > 0 {
                tracing::warn!(
                    lines = dropped,
                    "{dropped} log lines dropped: the reader did not keep up"
                );
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Waits for lines and takes all of them, after a moment in which more may come. How many were
    /// dropped meanwhile.
    fn take(&self, batch: &mut Vec<u8>) -> u64 {
        let mut state = self.lock();
        while state.waiting.is_empty() && state.dropped == 0 {
            state.idle = true;
            self.more.wait(&mut state);
        }
        state.idle = false;
        self.more
            .wait_while_for(&mut state, |state| !state.hurry, GATHER);
        std::mem::swap(&mut state.waiting, batch);
        state.writing = true;
        std::mem::take(&mut state.dropped)
    }
}

/// Like `write_all`, also where the other end does not block: it may be shared with a program that
/// made it so.
fn write_patiently(sink: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match sink.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(RETRY),
            Err(error) => return Err(error),
        }
    }
    sink.flush()
}

/// The queue as `tracing_subscriber` has it, which writes each line in one call.
pub(crate) struct Lines {
    pub queue: Queued,
    /// Its lines are JSON, which escapes no more than it must.
    pub json: bool,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// One line on its way into the queue.
pub(crate) struct Line<'a>(&'a Lines);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let Lines { queue, json } = self.0;
        match json {
            true => queue.push(printable_json(&String::from_utf8_lossy(line)).as_bytes()),
            false => queue.push(line),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Instant;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A reader that takes a piece for each permit, and keeps all it took.
    struct Reader {
        permits: mpsc::Receiver<()>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.permits.recv().map_err(io::Error::other)?;
            self.taken.lock().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn read_by_permit() -> (Queued, mpsc::Sender<()>, Arc<Mutex<Vec<u8>>>) {
        let (permit, permits) = mpsc::channel();
        let taken = Arc::default();
        let reader = Reader {
            permits,
            taken: Arc::clone(&taken),
        };
        (Queued::start("test", reader).unwrap(), permit, taken)
    }

    #[test]
    fn paused_reader_delays_nobody_and_dropped_lines_are_counted() {
        let (log, permit, taken) = read_by_permit();
        let line = [vec![b'x'; 999], vec![b'\n']].concat();
        let fit = MAX_WAITING_BYTES / line.len();
        let begun = Instant::now();
        for _ in 0..3 * fit {
            log.push(&line);
        }
        assert!(begun.elapsed() < PATIENCE, "it waited for its reader");
        // What the thread holds, and what waits.
        let dropped = log.dropped().get() as usize;
        assert!((fit..2 * fit + 1).contains(&dropped), "{dropped} of {fit}");
        assert!(!log.flush(Duration::from_millis(20)), "nothing was read");
        for _ in 0..3 {
            permit.send(()).unwrap();
        }
        assert!(log.flush(PATIENCE));
        log.push(b"on it goes\n");
        assert!(log.flush(PATIENCE));
        let taken = taken.lock();
        assert_eq!(taken.len(), (3 * fit - dropped) * line.len() + 11);
        assert!(taken.ends_with(b"on it goes\n"));
    }

    #[test]
    fn lines_are_written_soon_and_in_order() {
        let (log, permit, taken) = read_by_permit();
        (0..10).for_each(|_| permit.send(()).unwrap());
        log.push(b"1\n");
        let begun = Instant::now();
        while taken.lock().is_empty() {
            assert!(begun.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(1));
        }
        log.push(b"2\n");
        log.push(b"3\n");
        assert!(log.flush(PATIENCE));
        assert_eq!(&**taken.lock(), b"1\n2\n3\n");
    }

    #[test]
    fn departed_reader_costs_only_lines() {
        let (log, permit, taken) = read_by_permit();
        drop(permit);
        log.push(b"1\n2\n");
        assert!(log.flush(PATIENCE));
        assert_eq!((log.dropped().get(), taken.lock().len()), (2, 0));
    }
}
