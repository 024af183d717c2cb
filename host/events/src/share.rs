//! Who may deliver now: the deliveries in flight in the host are bounded, and a place that is free
//! goes to the waiting window that has the fewest. One window has three quarters of them at most,
//! so that one that answers late, or never, keeps no other waiting.

use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

/// The places of the host.
pub(crate) struct Places {
    state: Mutex<Taken>,
    most: usize,
    /// Of one window.
    most_of_one: usize,
}

#[derive(Default)]
struct Taken {
    all: usize,
    of: HashMap<Arc<str>, usize>,
    waiting: VecDeque<(Arc<str>, oneshot::Sender<DeliveryPermit>)>,
}

/// One place, given back on drop.
pub(crate) struct DeliveryPermit {
    places: Arc<Places>,
    window: Arc<str>,
}

impl Places {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        let most = most.max(1);
        Arc::new(Places {
            state: Mutex::default(),
            most,
            most_of_one: most - most / 4,
        })
    }

    /// A place for a delivery to `window`.
    pub(crate) async fn enter(self: &Arc<Self>, window: &Arc<str>) -> DeliveryPermit {
        loop {
            let granted = {
                let mut state = self.state.lock();
                // Whoever waits while a place is free may have no more.
                if state.all < self.most && state.taken_by(window) < self.most_of_one {
                    return state.give(self, window.clone());
                }
                let (grant, granted) = oneshot::channel();
                state.waiting.push_back((window.clone(), grant));
                granted
            };
            if let Ok(place) = granted.await {
                return place;
            }
        }
    }

    /// Deliveries in flight.
    pub(crate) fn taken(&self) -> usize {
        self.state.lock().all
    }

    /// Takes a place back, and gives what is free to those that wait. Somebody who has gone gives
    /// it back, which takes the lock, so it is given after the lock is released.
    fn take_back(self: &Arc<Self>, window: &Arc<str>) {
        let mut granted = Vec::new();
        let mut state = self.state.lock();
        state.all -= 1;
        if let Some(of) = state.of.get_mut(window) {
            *of -= 1;
            if *of == 0 {
                state.of.remove(window);
            }
        }
        state.waiting.retain(|(_, grant)| !grant.is_closed());
        while state.all < self.most {
            let few = |at: &usize| {
                let waiting = state.waiting.get(*at);
                waiting.map_or(0, |(window, _)| state.taken_by(window))
            };
            // The oldest of those that have the fewest.
            let may = (0..state.waiting.len()).filter(|at| few(at) < self.most_of_one);
            let Some(next) = may.min_by_key(few) else {
                break;
            };
            if let Some((window, grant)) = state.waiting.remove(next) {
                let place = state.give(self, window);
                granted.push((grant, place));
            }
        }
        drop(state);
        for (grant, place) in granted {
            let _ = grant.send(place);
        }
    }
}

impl Taken {
    fn taken_by(&self, window: &Arc<str>) -> usize {
        self.of.get(window).copied().unwrap_or(0)
    }

    fn give(&mut self, places: &Arc<Places>, window: Arc<str>) -> DeliveryPermit {
        self.all += 1;
        *self.of.entry(window.clone()).or_default() += 1;
        DeliveryPermit {
            places: places.clone(),
            window,
        }
    }
}

impl Drop for DeliveryPermit {
    fn drop(&mut self) {
        self.places.take_back(&self.window);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn free_place_goes_to_the_window_that_has_the_fewest() {
        let places = Places::new(2);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let first = places.enter(&a).await;
        let second = places.enter(&a).await;
        let mut third = Box::pin(places.enter(&a));
        let mut of_b = Box::pin(places.enter(&b));
        let mut left = Box::pin(places.enter(&b));
        for waiting in [&mut third, &mut of_b, &mut left] {
            assert!(waiting.as_mut().now_or_never().is_none());
        }
        drop(left);
        drop(first);
        assert!(third.as_mut().now_or_never().is_none());
        let of_b = of_b.now_or_never().unwrap();
        drop((second, of_b));
        let third = third.now_or_never().unwrap();
        assert_eq!(places.taken(), 1);
        drop(third);
        assert_eq!(places.taken(), 0);
    }

    #[tokio::test]
    async fn window_that_keeps_its_places_leaves_some_to_others() {
        let places = Places::new(4);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(places.enter(&a).await);
        }
        let mut fourth = Box::pin(places.enter(&a));
        assert!(fourth.as_mut().now_or_never().is_none());
        // It does not wait behind those of `a`.
        let of_b = places.enter(&b).now_or_never().unwrap();
        assert_eq!(places.taken(), 4);
        drop(of_b);
        assert!(fourth.as_mut().now_or_never().is_none());
        drop(held);
        assert!(fourth.now_or_never().is_some());
    }
}
