//! Which event of a key is offered: the first, and of a key that is held only what was parked.

use super::Flow;
use super::parts::{Key, Origin, Ref, Stand};

impl Flow {
    /// Offers an event that is the first of its key.
    pub(super) fn offer(&mut self, at: Ref) {
        let Some(item) = self.items.get_mut(&at) else {
            return;
        };
        match item.tries.next_ms {
            0 => {
                item.stand = Stand::Ready;
                self.ready.push_back(at);
            }
            time => {
                item.stand = Stand::Later(time);
                self.later.insert((time, at));
            }
        }
    }

    /// Offers the right one of a key.
    pub(super) fn settle(&mut self, key: Key) {
        let held = self.held.contains_key(&key);
        let Some(of_key) = self.keys.get_mut(&key) else {
            return;
        };
        let mut may = of_key.refs.iter();
        let next = may.find(|at| !held || at.origin == Origin::Parked).copied();
        let front = of_key.front;
        if front == next {
            if of_key.refs.is_empty() {
                self.keys.remove(&key);
            }
            return;
        }
        if let Some(item) = front.and_then(|front| self.items.get_mut(&front)) {
            match item.stand {
                Stand::Busy => return,
                Stand::Later(time) => {
                    if let Some(front) = front {
                        self.later.remove(&(time, front));
                    }
                }
                Stand::Ready | Stand::Waiting => {}
            }
            item.stand = Stand::Waiting;
        }
        of_key.front = next;
        if of_key.refs.is_empty() {
            self.keys.remove(&key);
        }
        if let Some(next) = next {
            self.offer(next);
        }
    }

    /// A parked event holds its key.
    pub(crate) fn hold(&mut self, source: usize, sequence: u64, key: u64) {
        let key = (source, key);
        self.held.entry(key).or_default().insert(sequence);
        self.settle(key);
    }

    /// It does so no more.
    pub(crate) fn release(&mut self, source: usize, sequence: u64, key: u64) {
        let key = (source, key);
        if let Some(by) = self.held.get_mut(&key) {
            by.remove(&sequence);
            if by.is_empty() {
                self.held.remove(&key);
            }
        }
        self.settle(key);
    }
}
