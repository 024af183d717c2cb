//! Which of its requests an instance makes a call for: determined by the calling task, as defined
//! by the component model.
//!
//! For a host call, wasmtime reports which task makes it, and which task had called that one, up to
//! the task that the host started. A task started by the host belongs to one request, and its
//! number has no other meaning as long as it runs. The number of a task in between may have been
//! reassigned to another request meanwhile, because a task can outlive its caller. So calls of such
//! inner tasks are accepted only in an instance that never had more than one request, and never
//! gets another.

use super::in_flight::Onward;
use super::in_flight_set::InFlightSet;
use std::sync::Arc;
use wasmtime::component::GuestTaskId;

/// The requests of one instance for which calls are possible.
pub(super) struct Requests {
    begun: u64,
    /// Whether any of them had a rest of the chain.
    any_way: bool,
    at_work: Vec<(GuestTaskId, Onward)>,
    in_flight_set: Arc<InFlightSet>,
}

/// The request that a call belongs to.
pub(super) enum Caller {
    /// A request in flight.
    Request(Onward),
    /// A request that is over, or an unknown one.
    Over,
    /// None of its requests ever had a rest of the chain.
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

    /// Another request begins, as `task`, with `onward` as the rest of its chain. Returns how many
    /// have begun.
    pub(crate) fn begin(&mut self, onward: Option<Onward>, task: GuestTaskId) -> u64 {
        self.begun += 1;
        self.any_way |= onward.is_some();
        self.at_work
            .retain(|(other, onward)| *other != task && !onward.is_over());
        self.at_work.extend(onward.map(|onward| (task, onward)));
        self.begun
    }

    /// The request of the innermost task in `stack`; the youngest task first, as in wasmtime.
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
            Some((_, onward)) if !onward.is_over() => Caller::Request(onward.clone()),
            None if !self.any_way => Caller::NoWay,
            _ => Caller::Over,
        }
    }
}
