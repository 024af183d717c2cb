//! How many calls are made at once. A call has a place until the body of its answer has ended; one
//! that finds none waits a moment for it.

use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Places for calls. How many there are is said by each who wants one, so that a changed limit
/// holds at once.
#[derive(Debug, Default)]
pub(crate) struct Places {
    counts: Mutex<Counts>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    taken: usize,
    waiting: usize,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Places>);

impl Places {
    /// One of `most` places. Waits until `until` for it, as long as no more wait than there are
    /// places. None where there is none.
    pub(crate) async fn enter(self: &Arc<Self>, most: usize, until: Instant) -> Option<Place> {
        if let Some(place) = self.take(most) {
            return Some(place);
        }
        let _waiting = Waiting::new(self, most)?;
        loop {
            // One that was freed since is remembered for whoever waits next.
            timeout_at(until, self.freed.notified()).await.ok()?;
            if let Some(place) = self.take(most) {
                return Some(place);
            }
        }
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.counts.lock().taken
    }

    fn take(self: &Arc<Self>, most: usize) -> Option<Place> {
        let mut counts = self.counts.lock();
        if counts.taken >= most {
            return None;
        }
        counts.taken += 1;
        Some(Place(self.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.counts.lock().taken -= 1;
        self.0.freed.notify_one();
    }
}

/// One who waits for a place.
struct Waiting<'a>(&'a Places);

impl<'a> Waiting<'a> {
    fn new(places: &'a Places, most: usize) -> Option<Self> {
        let mut counts = places.counts.lock();
        if counts.waiting >= most {
            return None;
        }
        counts.waiting += 1;
        Some(Waiting(places))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.counts.lock().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn place_that_is_freed_goes_to_one_who_waits_and_the_others_go_without() {
        let places = Arc::new(Places::default());
        let until = Instant::now() + Duration::from_secs(1);
        let first = places.enter(1, until).await.unwrap();
        let waits = {
            let places = places.clone();
            tokio::spawn(async move { places.enter(1, until).await })
        };
        tokio::task::yield_now().await;
        // As many wait as there are places.
        assert!(places.enter(1, until).await.is_none());
        assert!(until > Instant::now(), "it was told at once");
        drop(first);
        let second = waits.await.unwrap().unwrap();
        assert!(places.enter(1, until).await.is_none());
        assert_eq!(Instant::now(), until);
        drop(second);
        assert_eq!(places.taken(), 0);
        assert!(places.enter(0, until).await.is_none(), "a limit of none");
    }

    #[tokio::test]
    async fn one_who_no_longer_waits_takes_no_place_along() {
        let places = Arc::new(Places::default());
        let until = Instant::now() + Duration::from_secs(10);
        let first = places.enter(2, until).await.unwrap();
        let second = places.enter(2, until).await.unwrap();
        let waits = [0, 1].map(|_| {
            let places = places.clone();
            tokio::spawn(async move { places.enter(2, until).await })
        });
        tokio::task::yield_now().await;
        drop(first);
        waits[0].abort();
        let place = waits.into_iter().nth(1).unwrap().await.unwrap();
        assert!(place.is_some());
        drop((place, second));
        assert_eq!(places.taken(), 0);
    }
}
