//! Permits, of which a bounded number are taken at once: for calls and for connections. Whoever
//! finds none waits a moment for it.

use parking_lot::Mutex;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Permits. How many there are is said by each who wants one, so that a changed limit holds at
/// once.
#[derive(Debug, Default)]
pub struct Permits {
    counts: Mutex<Counts>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    taken: usize,
    waiting: usize,
}

/// A permit, until it is dropped.
#[derive(Debug)]
pub struct Permit(Arc<Permits>);

impl Permits {
    /// One of `most` permits. Waits until `until` for it, as long as no more wait than there are
    /// permits. None where there is none.
    pub async fn enter(self: &Arc<Self>, most: usize, until: Instant) -> Option<Permit> {
        if let Some(permit) = self.take(most) {
            return Some(permit);
        }
        let _waiting = Waiting::new(self, most)?;
        loop {
            // Told of what is freed from here on: two that are freed at once before anybody waits
            // would be remembered as one.
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            if let Some(permit) = self.take(most) {
                return Some(permit);
            }
            timeout_at(until, freed).await.ok()?;
        }
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.counts.lock().taken
    }

    fn take(self: &Arc<Self>, most: usize) -> Option<Permit> {
        let mut counts = self.counts.lock();
        if counts.taken >= most {
            return None;
        }
        counts.taken += 1;
        Some(Permit(self.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.counts.lock().taken -= 1;
        self.0.freed.notify_one();
    }
}

/// One who waits for a permit.
struct Waiting<'a>(&'a Permits);

impl<'a> Waiting<'a> {
    fn new(permits: &'a Permits, most: usize) -> Option<Self> {
        let mut counts = permits.counts.lock();
        if counts.waiting >= most {
            return None;
        }
        counts.waiting += 1;
        Some(Waiting(permits))
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
    async fn permit_that_is_freed_goes_to_one_who_waits_and_the_others_go_without() {
        let permits = Arc::new(Permits::default());
        let until = Instant::now() + Duration::from_secs(1);
        let first = permits.enter(1, until).await.unwrap();
        let waits = {
            let permits = permits.clone();
            tokio::spawn(async move { permits.enter(1, until).await })
        };
        tokio::task::yield_now().await;
        // As many wait as there are permits.
        assert!(permits.enter(1, until).await.is_none());
        assert!(until > Instant::now(), "it was told at once");
        drop(first);
        let second = waits.await.unwrap().unwrap();
        assert!(permits.enter(1, until).await.is_none());
        assert_eq!(Instant::now(), until);
        drop(second);
        assert_eq!(permits.taken(), 0);
        assert!(permits.enter(0, until).await.is_none(), "a limit of none");
    }

    #[tokio::test]
    async fn abandoned_wait_takes_no_permit_along() {
        let permits = Arc::new(Permits::default());
        let until = Instant::now() + Duration::from_secs(10);
        let first = permits.enter(2, until).await.unwrap();
        let second = permits.enter(2, until).await.unwrap();
        let waits = [0, 1].map(|_| {
            let permits = permits.clone();
            tokio::spawn(async move { permits.enter(2, until).await })
        });
        tokio::task::yield_now().await;
        drop(first);
        waits[0].abort();
        let permit = waits.into_iter().nth(1).unwrap().await.unwrap();
        assert!(permit.is_some());
        drop((permit, second));
        assert_eq!(permits.taken(), 0);
    }
}
