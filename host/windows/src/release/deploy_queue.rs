//! Permits for work of which only little may run at once, such as compiling, and a fair queue for
//! them: askers take turns, so that one who asks for much waits only for himself.
//!
//! The queue is bounded. If it is full, an asker with more entries than the newcomer would have
//! gives up his latest. So nobody is kept out however much another asks for.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

/// The queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// Who asks for a permit.
pub(crate) struct Asker<'a> {
    /// Entries of one name are in one line.
    pub who: &'a str,
    /// Whether it may be refused for lack of room. Restoring what was there before may not.
    pub refusable: bool,
    /// Notified of the number of earlier entries, if it has to wait.
    pub waits: &'a (dyn Fn(usize) + Send + Sync),
}

impl Asker<'static> {
    /// The host itself: for releases that were deployed before.
    pub(crate) const HOST: Self = Asker {
        who: "",
        refusable: false,
        waits: &|_| {},
    };
}

/// How busy the permits are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Permits in use.
    pub at_work: usize,
    /// Deploys in the queue.
    pub waiting: usize,
    /// Refusals since the start.
    pub refused: u64,
}

/// The permits and the queue.
pub(crate) struct DeployQueue {
    total: usize,
    max_waiting: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    at_work: usize,
    waiting: usize,
    refused: u64,
    next_ticket: u64,
    /// Those who wait, by name. None is empty.
    lines: BTreeMap<String, VecDeque<Waiter>>,
    /// The order of turns. Each line once.
    order: VecDeque<String>,
    /// Tickets that were granted a permit which has not been taken up yet.
    granted: BTreeSet<u64>,
}

struct Waiter {
    ticket: u64,
    refusable: bool,
    /// Wakes it: by a message if it has a permit, by closing if it has lost its turn.
    wake: oneshot::Sender<()>,
}

/// One permit, returned on drop.
pub(crate) struct DeployPermit(Arc<DeployQueue>);

impl Drop for DeployPermit {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.at_work -= 1;
        state.grant(self.0.total);
    }
}

/// Leaves the queue, or returns the granted permit, if the asker is dropped while waiting.
struct Leaving {
    queue: Arc<DeployQueue>,
    who: String,
    ticket: u64,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        state.take_out(&self.who, |waiter| waiter.ticket == self.ticket);
        if state.granted.remove(&self.ticket) {
            state.at_work -= 1;
            state.grant(self.queue.total);
        }
    }
}

impl DeployQueue {
    /// At most `total` permits, at least one, and at most `max_waiting` that wait.
    pub(crate) fn new(total: usize, max_waiting: usize) -> Arc<Self> {
        Arc::new(DeployQueue {
            total: total.max(1),
            max_waiting,
            state: Mutex::default(),
        })
    }

    /// A permit, when it is the asker's turn.
    pub(crate) async fn acquire(self: &Arc<Self>, asker: &Asker<'_>) -> Result<DeployPermit, Full> {
        let (leaving, woken, ahead) = {
            let mut state = self.state();
            if state.at_work < self.total {
                state.at_work += 1;
                return Ok(DeployPermit(self.clone()));
            }
            if asker.refusable && state.waiting >= self.max_waiting && !state.make_room(asker.who) {
                state.refused += 1;
                return Err(Full);
            }
            let ahead = state.waiting;
            let (ticket, woken) = state.join(asker);
            let leaving = Leaving {
                queue: self.clone(),
                who: asker.who.to_owned(),
                ticket,
            };
            (leaving, woken, ahead)
        };
        (asker.waits)(ahead);
        let _ = woken.await;
        let granted = self.state().granted.remove(&leaving.ticket);
        match granted {
            true => Ok(DeployPermit(self.clone())),
            false => Err(Full),
        }
    }

    pub(crate) fn load(&self) -> Load {
        let state = self.state();
        Load {
            at_work: state.at_work,
            waiting: state.waiting,
            refused: state.refused,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn join(&mut self, asker: &Asker<'_>) -> (u64, oneshot::Receiver<()>) {
        let (wake, woken) = oneshot::channel();
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting += 1;
        let line = self.lines.entry(asker.who.to_owned()).or_default();
        if line.is_empty() {
            self.order.push_back(asker.who.to_owned());
        }
        line.push_back(Waiter {
            ticket,
            refusable: asker.refusable,
            wake,
        });
        (ticket, woken)
    }

    /// Grants free permits to those whose turn it is.
    fn grant(&mut self, total: usize) {
        while self.at_work < total {
            let Some(who) = self.order.pop_front() else {
                return;
            };
            let Some(line) = self.lines.get_mut(&who) else {
                continue;
            };
            let Some(first) = line.pop_front() else {
                continue;
            };
            self.waiting -= 1;
            self.at_work += 1;
            self.granted.insert(first.ticket);
            let _ = first.wake.send(());
            match line.is_empty() {
                true => drop(self.lines.remove(&who)),
                false => self.order.push_back(who),
            }
        }
    }

    /// Whether somebody has more entries than `who` would have, and so loses his latest.
    fn make_room(&mut self, who: &str) -> bool {
        let own = self.lines.get(who).map_or(0, VecDeque::len);
        let count = |line: &VecDeque<Waiter>| line.iter().filter(|w| w.refusable).count();
        let heaviest = self.lines.iter().max_by_key(|(_, line)| count(line));
        let Some((heaviest, _)) = heaviest.filter(|(_, line)| count(line) > own + 1) else {
            return false;
        };
        let heaviest = heaviest.clone();
        self.refused += 1;
        self.take_out(&heaviest, |waiter| waiter.refusable)
    }

    /// Removes the latest entry of such a line.
    fn take_out(&mut self, who: &str, is_so: impl Fn(&Waiter) -> bool) -> bool {
        let Some(line) = self.lines.get_mut(who) else {
            return false;
        };
        let Some(at) = line.iter().rposition(is_so) else {
            return false;
        };
        line.remove(at);
        self.waiting -= 1;
        if line.is_empty() {
            self.lines.remove(who);
            self.order.retain(|other| other != who);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    type Asking = Pin<Box<dyn Future<Output = Result<DeployPermit, Full>>>>;

    fn ask(queue: &Arc<DeployQueue>, who: &'static str, refusable: bool) -> Asking {
        let queue = queue.clone();
        Box::pin(async move {
            let asker = Asker {
                who,
                refusable,
                waits: &|_| {},
            };
            queue.acquire(&asker).await
        })
    }

    fn poll(asking: &mut Asking) -> Poll<Result<DeployPermit, Full>> {
        asking
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Begun, and waiting.
    fn waiting(queue: &Arc<DeployQueue>, who: &'static str) -> Asking {
        let mut asking = ask(queue, who, true);
        assert!(poll(&mut asking).is_pending());
        asking
    }

    fn taken(asking: &mut Asking) -> DeployPermit {
        match poll(asking) {
            Poll::Ready(Ok(permit)) => permit,
            _ => panic!("it has no permit"),
        }
    }

    #[test]
    fn deployers_take_turns_however_much_one_submits() {
        let queue = DeployQueue::new(1, 100);
        let mut now = taken(&mut ask(&queue, "flood", true));
        let mut flood: Vec<Asking> = (0..50).map(|_| waiting(&queue, "flood")).collect();
        let mut other = waiting(&queue, "other");
        drop(now);
        now = taken(&mut flood[0]);
        assert!(poll(&mut other).is_pending());
        drop(now);
        now = taken(&mut other);
        assert!(poll(&mut flood[1]).is_pending());
        drop(now);
        taken(&mut flood[1]);
    }

    #[test]
    fn full_queue_refuses_the_deployer_with_most_entries() {
        let queue = DeployQueue::new(1, 3);
        let now = taken(&mut ask(&queue, "flood", true));
        let mut flood: Vec<Asking> = (0..3).map(|_| waiting(&queue, "flood")).collect();
        let refused = |asking: &mut Asking| matches!(poll(asking), Poll::Ready(Err(Full)));
        assert!(refused(&mut ask(&queue, "flood", true)));
        let mut other = waiting(&queue, "other");
        assert!(refused(&mut flood[2]), "the latest of the heaviest goes");
        assert!(poll(&mut flood[1]).is_pending());
        // Two and one: nobody has more than a second of the other would be.
        assert!(refused(&mut ask(&queue, "other", true)));
        // What must be done waits whatever the queue.
        let mut host = ask(&queue, "", false);
        assert!(poll(&mut host).is_pending());
        assert_eq!((queue.load().waiting, queue.load().refused), (4, 3));
        drop(now);
        drop(taken(&mut flood[0]));
        drop(taken(&mut other));
        drop(taken(&mut host));
        drop(taken(&mut flood[1]));
        assert_eq!(
            queue.load(),
            Load {
                refused: 3,
                ..Load::default()
            }
        );
    }

    proptest! {
        /// Whoever asks, leaves and ends in whatever order: no more than the permits are at work,
        /// none is lost, and none stays free while somebody waits.
        #[test]
        fn permits_are_bounded_and_none_is_lost(steps in proptest::collection::vec((0..4u8, 0..3usize, 0..8usize), 0..200)) {
            let queue = DeployQueue::new(2, 4);
            let (mut asking, mut held): (Vec<Asking>, Vec<DeployPermit>) = (Vec::new(), Vec::new());
            for (act, who, which) in steps {
                match act {
                    0 => asking.push(ask(&queue, ["a", "b", "c"][who], who > 0)),
                    1 if which < asking.len() => drop(asking.swap_remove(which)),
                    2 if which < held.len() => drop(held.swap_remove(which)),
                    _ => {}
                }
                let mut still = Vec::new();
                for mut one in asking.drain(..) {
                    match poll(&mut one) {
                        Poll::Pending => still.push(one),
                        Poll::Ready(Ok(permit)) => held.push(permit),
                        Poll::Ready(Err(Full)) => {}
                    }
                }
                asking = still;
                prop_assert!(held.len() <= 2);
                let load = queue.load();
                prop_assert!(load.at_work <= 2);
                prop_assert!(load.waiting == 0 || load.at_work == 2, "{:?}", load);
            }
            drop((asking, held));
            let load = queue.load();
            prop_assert_eq!((load.at_work, load.waiting), (0, 0));
        }
    }
}
