//! Whether a canary's candidate is clearly worse than the live release, based on the answers of
//! both.
//!
//! Two things are compared: failures, and answers that took more than twice the 99th percentile of
//! the live release. [`rounds`] compares, and bounds the error over the whole analysis. [`order`]
//! sorts the answers by the beginning of their requests; [`fisher`] is the test. docs/canary.md
//! says what all this finds, and how soon, by simulation.

mod fisher;
mod hopeless;
mod order;
mod rounds;
mod times;

pub(crate) use rounds::{GROUPS, STEPS};

use fisher::Table;
use hopeless::Hopeless;
use order::{Asked, Heard, Order};
use parking_lot::{Mutex, MutexGuard};
use rounds::{By, Group, Rounds, Worse};
use std::time::{Duration, Instant};
use times::{Bucket, Histogram};

/// Answers of the live release needed to know its 99th percentile.
const KNOWN_P99: u64 = 100;

/// Further answers after which the percentile is computed again.
const LOOK_AGAIN: u64 = 64;

/// How much slower than the live release's 99th percentile counts as slow.
const SLOW_FACTOR: f64 = 2.0;

/// Answers processed at the end of one request, so that none does the work for all that waited.
const AT_ONCE: usize = 64;

/// The release that answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Live,
    Candidate,
}

/// The result of a request, as far as it depends on the release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sample {
    /// None: due to the client or the host.
    Unclear,
    /// An answer, with the time to its head, excluding waits for the client.
    Answered { failed: bool, took: Duration },
    /// The client left before the head, after this time.
    Left { after: Duration },
}

/// One request's part in the analysis.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub side: Side,
    /// None if it is not compared.
    number: Option<u64>,
}

/// The analysis of the answers of both releases.
pub(crate) struct Analysis {
    began: Instant,
    state: Mutex<State>,
}

struct State {
    /// Hundredths of a percent of the groups that get the candidate.
    share: u16,
    live: Answers,
    candidate: Answers,
    order: Order,
    rounds: Rounds,
    /// Times of the live release's answers to the groups that measure.
    measured: Histogram,
    slow: Option<Bucket>,
    hopeless: Hopeless,
}

/// The answers of one release.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers {
    pub requests: u64,
    pub failures: u64,
    times: Histogram,
}

/// A summary for operators.
pub(crate) struct Seen {
    /// In hundredths of a percent.
    pub share: u16,
    pub live: Answers,
    pub candidate: Answers,
    /// Requests that were not compared because too many were in flight.
    pub skipped: u64,
}

impl Answers {
    /// The 99th percentile of the time to the head.
    pub(crate) fn p99(&self) -> Option<Duration> {
        self.times.p99()
    }
}

impl Analysis {
    /// `share` is in hundredths of a percent; `seed` is secret.
    pub(crate) fn new(share: u16, seed: u64) -> Self {
        Analysis {
            began: Instant::now(),
            state: Mutex::new(State {
                share,
                live: Answers::default(),
                candidate: Answers::default(),
                order: Order::default(),
                rounds: Rounds::default(),
                measured: Histogram::default(),
                slow: None,
                hopeless: Hopeless::new(seed),
            }),
        }
    }

    /// Changes the candidate's share. Requests in flight are not compared: their callers were
    /// assigned by the old one.
    pub(crate) fn set_share(&self, share: u16) {
        let mut state = self.state();
        if state.share != share {
            state.share = share;
            state.order.clear();
            state.rounds.start_anew();
        }
    }

    /// Begins a request of a caller in `group`, and says which release gets it. Each must be
    /// reported to [`Analysis::end`].
    pub(crate) fn begin(&self, group: u32, now: Instant) -> Entry {
        let now_ms = self.ms(now);
        let mut state = self.state();
        let is_candidates = group % STEPS < u32::from(state.share);
        let drawn = is_candidates.then(|| state.hopeless.draw()).flatten();
        let side = match (drawn, is_candidates) {
            (Some(drawn), _) => drawn,
            (None, true) => Side::Candidate,
            (None, false) => Side::Live,
        };
        let asked = Asked {
            group,
            side,
            drawn: drawn.is_some(),
        };
        let number = state.order.begin(asked, now_ms);
        Entry { side, number }
    }

    /// Records the result of a request. Returns the reason if the candidate is now clearly worse.
    /// Takes constant time.
    pub(crate) fn end(&self, entry: Entry, outcome: Sample, now: Instant) -> Option<String> {
        let now_ms = self.ms(now);
        let mut state = self.state();
        let heard = state.note(entry.side, outcome);
        if let Some(number) = entry.number {
            state.order.end(number, heard);
        }
        state.compare(now_ms)
    }

    /// The results so far.
    pub(crate) fn seen(&self) -> Seen {
        let state = self.state();
        Seen {
            share: state.share,
            live: state.live.clone(),
            candidate: state.candidate.clone(),
            skipped: state.order.skipped,
        }
    }

    fn ms(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.began).as_millis() as u32
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// Counts it for the summary.
    fn note(&mut self, side: Side, outcome: Sample) -> Heard {
        match outcome {
            Sample::Unclear => Heard::Nothing,
            Sample::Left { after } => Heard::Left {
                after: Bucket::of(after),
            },
            Sample::Answered { failed, took } => {
                let answers = match side {
                    Side::Live => &mut self.live,
                    Side::Candidate => &mut self.candidate,
                };
                let took = Bucket::of(took);
                answers.requests += 1;
                answers.failures += u64::from(failed);
                answers.times.add(took);
                Heard::Answer { failed, took }
            }
        }
    }

    /// Processes the next results.
    fn compare(&mut self, now_ms: u32) -> Option<String> {
        for _ in 0..AT_ONCE {
            let next = self.order.next(now_ms)?;
            let Asked { group, side, drawn } = next.asked;
            let group = Group {
                number: group,
                side,
            };
            let why = match next.heard {
                Heard::Answer { failed, took } => {
                    self.hopeless.add(side, failed, drawn);
                    let why = match drawn {
                        true => None,
                        false => self.answered(group, failed, took),
                    };
                    why.or_else(|| self.hopeless.verdict())
                }
                // It would have taken even longer to complete.
                Heard::Left { after } if !drawn && self.slow.is_some_and(|slow| after > slow) => {
                    let (_, worse) = self.rounds.add(group, false, Some(true));
                    worse.map(|worse| self.sentence(&worse))
                }
                Heard::Left { .. } | Heard::Nothing => None,
            };
            if why.is_some() {
                return why;
            }
        }
        None
    }

    fn answered(&mut self, group: Group, failed: bool, took: Bucket) -> Option<String> {
        let slow = self.slow.map(|slow| took > slow);
        let (first, worse) = self.rounds.add(group, failed, slow);
        if group.side == Side::Live && group.measures() && first && !failed {
            self.measure(took);
        }
        worse.map(|worse| self.sentence(&worse))
    }

    fn measure(&mut self, took: Bucket) {
        self.measured.add(took);
        let count = self.measured.count();
        if count >= KNOWN_P99 && (self.slow.is_none() || count.is_multiple_of(LOOK_AGAIN)) {
            let p99 = self.measured.p99();
            self.slow = p99.map(|p99| Bucket::of(p99.mul_f64(SLOW_FACTOR)));
        }
    }

    fn sentence(&self, worse: &Worse) -> String {
        let Table {
            live,
            live_bad,
            candidate,
            candidate_bad,
        } = worse.table;
        let what = match (worse.by, self.slow) {
            (By::Failures, _) => "failed at".to_owned(),
            (By::SlowAnswers, slow) => {
                let ms = slow.map_or(0.0, |slow| slow.upper().as_secs_f64() * 1000.0);
                format!("took more than {ms:.0} ms for")
            }
        };
        format!(
            "it {what} requests of {candidate_bad} of its {candidate} callers, the live release of \
             {live_bad} of {live}, in {} requests",
            worse.requests
        )
    }
}
