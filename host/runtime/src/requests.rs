//! Which of its requests an instance calls on for: told by the guest's task that calls, as the
//! component model has it.
//!
//! wasmtime says of a host call which task makes it, and which task had called that one, up to the
//! one that the host began. A task that the host began is a request's own, and its number means
//! nothing else as long as it runs. The number of a task further up may have been given to another
//! request meanwhile, because a task can outlive the one that called it: so calls of such inner
//! tasks count only in an instance that never had more than one request, and never gets another.

use super::in_flight::Onward;
use super::in_flight_set::InFlightSet;
use std::sync::Arc;
use wasmtime::component::GuestTaskId;

/// The requests of one instance, as far as they can be called on for.
pub(super) struct Requests {
    begun: u64,
    /// One of them had a way to go on.
    any_way: bool,
    at_work: Vec<(GuestTaskId, Onward)>,
    in_flight_set: Arc<InFlightSet>,
}

/// For whom a call goes on.
pub(super) enum Caller {
    /// A request that is at work.
    Request(Onward),
    /// A request that is over, or none that can be told.
    Over,
    /// None of its requests ever had a way to go on.
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

    /// One more begins, as `task`, which goes on along `onward`. How many that makes.
    pub(crate) fn begin(&mut self, onward: Option<Onward>, task: GuestTaskId) -> u64 {
        self.begun += 1;
        self.any_way |= onward.is_some();
        self.at_work
            .retain(|(other, onward)| *other != task && !onward.is_over());
        self.at_work.extend(onward.map(|onward| (task, onward)));
        self.begun
    }

    /// For whom the innermost of the tasks in `stack` calls; youngest first, as wasmtime has them.
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
