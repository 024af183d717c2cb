//! For which of its requests an instance sends one: told by the guest's task that sends, as the
//! component model has it.
//!
//! For a host call, wasmtime reports which task makes it, and which task had called that one, up to
//! the task that the host started. A task started by the host belongs to one request, and its
//! number has no other meaning as long as it runs. The number of a task in between may have been
//! reassigned to another request meanwhile, because a task can outlive its caller. So calls of such
//! inner tasks are accepted only in an instance that never had more than one request, and never
//! gets another.

use super::in_flight::InFlight;
use super::in_flight_set::InFlightSet;
use super::outgoing::Calling;
use hms_core::outgoing::BeginBy;
use hms_core::trace::Spans;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;
use wasmtime::component::GuestTaskId;

/// The requests of one instance, as far as they can be sent for.
pub(super) struct Requests {
    begun: u64,
    /// One of them had a way to go on, or may call out.
    any_way: bool,
    at_work: Vec<(GuestTaskId, RequestInHand)>,
    in_flight_set: Arc<InFlightSet>,
}

/// A request that an instance sends others for.
#[derive(Clone)]
pub(super) struct RequestInHand {
    /// What it may do.
    pub calling: Arc<Calling>,
    /// Not its lease.
    in_flight: Weak<InFlight>,
}

impl RequestInHand {
    /// Where is noted what is sent for it.
    pub(super) fn spans(&self) -> Spans {
        let in_flight = self.in_flight.upgrade();
        in_flight.map(|it| it.spans().clone()).unwrap_or_default()
    }

    /// When a call for it is over at the latest, as things stand now: some time before the request
    /// is, so that the guest can answer for a service or a window that does not. Else that would
    /// count as the guest's own failure.
    pub(super) fn deadline(&self) -> Option<std::time::Instant> {
        let in_flight = self.in_flight.upgrade()?;
        let now = Instant::now();
        Some(before(in_flight.deadline(now), now))
    }

    /// The same of the time in which its answer is to begin; none where that has no end, or it has
    /// begun.
    pub(super) fn begin_by(&self) -> Option<BeginBy> {
        let in_flight = self.in_flight.upgrade()?;
        let now = Instant::now();
        let at = before(in_flight.begin_by(now)?, now);
        let in_flight = self.in_flight.clone();
        let has_begun = move || in_flight.upgrade().is_none_or(|it| it.is_answered());
        Some(BeginBy {
            at,
            has_begun: Arc::new(has_begun),
        })
    }
}

/// When a call has to end for the guest to be done by `over`.
fn before(over: Instant, now: Instant) -> std::time::Instant {
    let left = over.saturating_duration_since(now);
    (now + (left - time_to_answer(left))).into_std()
}

/// What of the time that is left of a request no call may take: a tenth, at most 1 s.
fn time_to_answer(left: Duration) -> Duration {
    (left / 10).min(Duration::from_secs(1))
}

/// For whom a request is sent.
pub(super) enum Caller {
    /// A request that is at work.
    Request(RequestInHand),
    /// A request that is over, or none that can be told.
    Over,
    /// None of its requests ever had a way to go on, or might call out.
    NoWay,
}

impl Requests {
    pub(crate) fn new(in_flight_set: Arc<InFlightSet>) -> Self {
        Requests {
            begun: 0,
            any_way: false,
            at_work: Vec::new(),
            in_flight_set,
        }
    }

    /// Whether there was one that could be sent for.
    pub(crate) fn any_way(&self) -> bool {
        self.any_way
    }

    /// One more begins, as `task`. How many that makes.
    pub(crate) fn begin(&mut self, in_flight: &Arc<InFlight>, task: GuestTaskId) -> u64 {
        self.begun += 1;
        self.at_work
            .retain(|(other, request)| *other != task && !request.calling.is_over());
        if let Some(calling) = in_flight.calling() {
            self.any_way |= calling.has_a_way();
            let request = RequestInHand {
                calling: calling.clone(),
                in_flight: Arc::downgrade(in_flight),
            };
            self.at_work.push((task, request));
        }
        self.begun
    }

    /// For whom the innermost of the tasks in `stack` sends; youngest first, as wasmtime has them.
    pub(crate) fn caller(&self, mut stack: impl Iterator<Item = GuestTaskId>) -> Caller {
        let Some(task) = stack.next() else {
            return Caller::Over;
        };
        let root = match stack.last() {
            None => task,
            Some(root) => {
                self.in_flight_set.take_no_more();
                if self.begun > 1 {
                    return Caller::Over;
                }
                root
            }
        };
        let mut known = self.at_work.iter();
        match known.find(|(task, _)| *task == root) {
            Some((_, request)) if !request.calling.is_over() => Caller::Request(request.clone()),
            None if !self.any_way => Caller::NoWay,
            _ => Caller::Over,
        }
    }
}
