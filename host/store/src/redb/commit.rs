//! Group commit: writes that arrive while a commit runs share the next one.
//!
//! A durable commit waits for the disk, and a file allows one at a time. So each store has a queue
//! and, while that is not empty, one thread of the blocking pool that works on it. A lone write
//! gets its own commit at once. Under load the groups grow by themselves, and each waits a little
//! for more writes, because a commit costs much the same for one write as for many ([`patience`]).
//! An idle store uses no thread.

use super::fault::Fault;
use super::file::StoreFile;
use super::layout::Tables;
use super::{
    Applied, LogBounds, LogState, Op, StoreError, StoreLimits, Transacted, Transaction, log, plan,
};
use parking_lot::{Condvar, Mutex, MutexGuard};
use redb::{Database, Durability};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// After this many commits, a busy store returns its thread and queues for another, so that more
/// busy stores than the pool has threads take turns.
const COMMITS_PER_TURN: usize = 64;

/// Writes during a commit from which on the next one waits for more.
const BUSY: usize = 2;

/// The longest such wait. 2 ms: less than the sync time of the disk in many machines.
const MOST_PATIENCE: Duration = Duration::from_millis(2);

type Answer = Result<Vec<Applied>, StoreError>;

type LogAnswer = Result<Transacted, StoreError>;

struct Job {
    work: Work,
    /// As [`StoreLimits::group_ops`] counts them.
    steps: usize,
    bytes: usize,
}

enum Work {
    Write(Vec<Op>, oneshot::Sender<Answer>),
    /// Boxed: most jobs are writes.
    Log(Box<LogWork>, oneshot::Sender<LogAnswer>),
}

/// What may change the log of events.
pub(super) enum LogWork {
    Transact(Transaction),
    Promote { now_ms: u64, limit: usize },
    Trim { before_ms: u64, now_ms: u64 },
}

/// The result of a job, and for whom it is.
enum Done {
    Write(Answer),
    Log(LogAnswer),
}

impl Work {
    /// A caller may be gone; its write is done all the same.
    fn reply(self, done: Done) {
        match (self, done) {
            (Work::Write(_, reply), Done::Write(answer)) => drop(reply.send(answer)),
            (Work::Log(_, reply), Done::Log(answer)) => drop(reply.send(answer)),
            // Each job was done as what it is.
            _ => {}
        }
    }

    fn fail(self, error: StoreError) {
        match self {
            Work::Write(_, reply) => drop(reply.send(Err(error))),
            Work::Log(_, reply) => drop(reply.send(Err(error))),
        }
    }
}

/// A group that is durable.
struct Committed {
    done: Vec<Done>,
    /// Where the log stands, if it was changed.
    log: Option<LogState>,
}

pub(super) struct Committer {
    file: Arc<StoreFile>,
    limits: StoreLimits,
    /// Can be changed while the store is in use, unlike the other bounds.
    pub(super) max_store_bytes: AtomicU64,
    /// The same. Only what may change the log takes the lock.
    pub(super) log_bounds: Mutex<LogBounds>,
    queue: Mutex<Queue>,
    at_rest: Condvar,
    pub(super) commits: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) busy: AtomicU64,
    pub(super) stored_bytes: AtomicU64,
    /// Events emitted.
    pub(super) events: AtomicU64,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    bytes: usize,
    /// Whether a [`CommitTurn`] exists, running or about to.
    at_work: bool,
    closed: bool,
}

impl Committer {
    pub(super) fn new(file: Arc<StoreFile>, limits: StoreLimits, stored_bytes: u64) -> Self {
        Self {
            file,
            max_store_bytes: AtomicU64::new(limits.max_store_bytes),
            limits,
            queue: Mutex::default(),
            at_rest: Condvar::new(),
            commits: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            stored_bytes: AtomicU64::new(stored_bytes),
            log_bounds: Mutex::default(),
            events: AtomicU64::new(0),
        }
    }

    /// Queues a write of `bytes`. The result comes after the commit that makes it durable.
    pub(super) fn submit(
        self: &Arc<Self>,
        ops: Vec<Op>,
        bytes: usize,
    ) -> Result<oneshot::Receiver<Answer>, StoreError> {
        let (reply, answer) = oneshot::channel();
        let steps = ops.len();
        self.queue(Job {
            work: Work::Write(ops, reply),
            steps,
            bytes,
        })?;
        Ok(answer)
    }

    /// The same for what may change the log.
    pub(super) fn submit_log(
        self: &Arc<Self>,
        work: LogWork,
        bytes: usize,
    ) -> Result<oneshot::Receiver<LogAnswer>, StoreError> {
        let (reply, answer) = oneshot::channel();
        let steps = match &work {
            LogWork::Transact(of) => {
                1 + of.checks.len() + of.changes.len() + of.events.len() + of.cancel.len()
            }
            LogWork::Promote { limit, .. } => *limit,
            LogWork::Trim { .. } => 1,
        };
        self.queue(Job {
            work: Work::Log(Box::new(work), reply),
            steps,
            bytes,
        })?;
        Ok(answer)
    }

    fn queue(self: &Arc<Self>, job: Job) -> Result<(), StoreError> {
        let bytes = job.bytes;
        let begin = {
            let mut queue = self.lock();
            if queue.closed {
                return Err(StoreError::Closed);
            }
            if !queue.waiting.is_empty() {
                let limit = if queue.waiting.len() >= self.limits.queue_writes {
                    Some(self.limits.queue_writes)
                } else if queue.bytes.saturating_add(bytes) > self.limits.queue_bytes {
                    Some(self.limits.queue_bytes)
                } else {
                    None
                };
                if let Some(limit) = limit {
                    self.busy.fetch_add(1, Ordering::Relaxed);
                    return Err(StoreError::Busy { limit });
                }
            }
            queue.bytes = queue.bytes.saturating_add(bytes);
            queue.waiting.push_back(job);
            !std::mem::replace(&mut queue.at_work, true)
        };
        if begin {
            CommitTurn(Some(self.clone())).begin();
        }
        Ok(())
    }

    /// Accepts no more writes, and blocks until the accepted ones are answered.
    pub(super) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        while queue.at_work {
            self.at_rest.wait(&mut queue);
        }
    }

    /// The next group, or `None` if the queue is empty, which ends the work.
    fn next_group(&self) -> Option<Vec<Job>> {
        let mut queue = self.lock();
        let (mut ops, mut bytes) = (0_usize, 0_usize);
        let mut group = Vec::new();
        while let Some(job) = queue.waiting.pop_front() {
            ops = ops.saturating_add(job.steps);
            bytes = bytes.saturating_add(job.bytes);
            if !group.is_empty() && (ops > self.limits.group_ops || bytes > self.limits.group_bytes)
            {
                queue.waiting.push_front(job);
                break;
            }
            queue.bytes = queue.bytes.saturating_sub(job.bytes);
            group.push(job);
        }
        if group.is_empty() {
            queue.at_work = false;
            self.at_rest.notify_all();
            return None;
        }
        Some(group)
    }

    fn commit(&self, group: Vec<Job>) {
        let done = self.file.change(|db| self.write(db, &group));
        self.writes.fetch_add(group.len() as u64, Ordering::Relaxed);
        match done {
            Ok(committed) => {
                if let Some(state) = committed.log {
                    self.file.log().moved(state);
                }
                for (job, done) in group.into_iter().zip(committed.done) {
                    job.work.reply(done);
                }
            }
            Err(error) => {
                for job in group {
                    job.work.fail(error.clone());
                }
                // After they were answered: it may take as long as the disk does.
                self.file.recover();
            }
        }
    }

    /// Does a group in one transaction and returns the results once they are durable. That includes
    /// refusals and conflicts, which may depend on another write in the group.
    fn write(&self, db: &Database, group: &[Job]) -> Result<Committed, Fault> {
        let mut txn = db.begin_write()?;
        txn.set_durability(Durability::Immediate)?;
        txn.set_quick_repair(true);
        let mut done = Vec::with_capacity(group.len());
        let mut tables = Tables::open(&txn)?;
        let mut emitted = 0_u64;
        for job in group {
            let max_store_bytes = self.max_store_bytes.load(Ordering::Relaxed);
            done.push(match &job.work {
                Work::Write(ops, _) => Done::Write(plan::apply(&mut tables, ops, max_store_bytes)?),
                Work::Log(work, _) => {
                    let answer = self.change_log(&mut tables, work, max_store_bytes)?;
                    if let (LogWork::Transact(_), Ok(Transacted::Committed(of))) =
                        (&**work, &answer)
                    {
                        emitted += of.event_ids.len() as u64;
                    }
                    Done::Log(answer)
                }
            });
        }
        let (changed, stored_bytes) = (tables.changed, tables.stored_bytes);
        let log = match changed {
            true => tables.save_counters()?,
            false => None,
        };
        drop(tables);
        if changed {
            txn.commit()?;
            self.commits.fetch_add(1, Ordering::Relaxed);
            self.stored_bytes.store(stored_bytes, Ordering::Relaxed);
            self.events.fetch_add(emitted, Ordering::Relaxed);
        } else {
            txn.abort()?;
        }
        Ok(Committed { done, log })
    }

    fn change_log(
        &self,
        tables: &mut Tables<'_>,
        work: &LogWork,
        max_store_bytes: u64,
    ) -> Result<LogAnswer, Fault> {
        let bounds = *self.log_bounds.lock();
        let done = match work {
            LogWork::Transact(transaction) => {
                return plan::transact(tables, transaction, max_store_bytes, bounds);
            }
            LogWork::Promote { now_ms, limit } => {
                log::promote(tables, *now_ms, *limit, &self.limits)?
            }
            LogWork::Trim { before_ms, now_ms } => {
                log::trim(tables, *before_ms, *now_ms, bounds, &self.limits)?
            }
        };
        Ok(Ok(Transacted::Committed(done)))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }
}

/// How long the next commit waits for more writes, if so many came during the last one, which took
/// `last`. For as long as that: about as many more will come, and nobody waits longer than for one
/// more commit.
fn patience(waiting: usize, last: Duration) -> Duration {
    if waiting < BUSY {
        return Duration::ZERO;
    }
    last.min(MOST_PATIENCE)
}

/// The right and duty to work on a queue. At most one exists for each store.
///
/// A runtime that shuts down drops tasks without running them. Dropping this then answers the
/// waiting writes and frees the queue.
struct CommitTurn(Option<Arc<Committer>>);

impl CommitTurn {
    fn begin(self) {
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || self.run())),
            // Outside of a runtime, as in a plain program or test. If no thread is available, the
            // turn is dropped.
            Err(_) => drop(std::thread::Builder::new().spawn(move || self.run())),
        }
    }

    fn run(mut self) {
        let Some(committer) = self.0.clone() else {
            return;
        };
        let mut last = Duration::ZERO;
        for _ in 0..COMMITS_PER_TURN {
            let pause = patience(committer.lock().waiting.len(), last);
            if !pause.is_zero() {
                std::thread::sleep(pause);
            }
            match committer.next_group() {
                Some(group) => {
                    let begun = Instant::now();
                    committer.commit(group);
                    last = begun.elapsed();
                }
                None => {
                    self.0 = None;
                    return;
                }
            }
        }
        self.begin();
    }
}

impl Drop for CommitTurn {
    fn drop(&mut self) {
        if let Some(committer) = self.0.take() {
            let mut queue = committer.lock();
            // Dropping a job's sender completes its future.
            queue.waiting.clear();
            queue.bytes = 0;
            queue.at_work = false;
            committer.at_rest.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commit_waits_for_more_writes_only_under_load_and_no_longer_than_the_last_took() {
        let ms = Duration::from_millis;
        assert_eq!(patience(0, ms(1)), Duration::ZERO);
        assert_eq!(patience(1, ms(1)), Duration::ZERO);
        assert_eq!(patience(BUSY, ms(1)), ms(1));
        assert_eq!(patience(1000, ms(500)), MOST_PATIENCE);
        // The first of a turn has nothing to wait as long as.
        assert_eq!(patience(1000, Duration::ZERO), Duration::ZERO);
    }
}
