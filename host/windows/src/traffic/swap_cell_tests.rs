//! The swap under a scheduler that tries many interleavings of its threads.

mod sync {
    pub(super) use shuttle::sync::Arc;
    use shuttle::sync::{RwLockReadGuard, RwLockWriteGuard};

    /// The scheduler's lock, used as the host's is: it cannot be poisoned.
    pub(super) struct RwLock<T>(shuttle::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub(super) fn new(value: T) -> Self {
            RwLock(shuttle::sync::RwLock::new(value))
        }

        pub(super) fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().unwrap()
        }

        pub(super) fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().unwrap()
        }
    }
}

#[path = "swap_cell.rs"]
mod swap_cell;

use shuttle::sync::Arc;
use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use shuttle::thread;
use swap_cell::SwapCell;

/// Schedules tried for each property.
const SCHEDULES: usize = 2000;

/// How often each of the releases was freed.
type Freed = Arc<[AtomicUsize; 4]>;

/// A release that notes its end.
struct Release {
    number: usize,
    freed: Freed,
}

impl Drop for Release {
    fn drop(&mut self) {
        self.freed[self.number].fetch_add(1, SeqCst);
    }
}

fn count(freed: &Freed) -> [usize; 4] {
    std::array::from_fn(|number| freed[number].load(SeqCst))
}

fn check(property: impl Fn() + Send + Sync + 'static) {
    shuttle::check_random(property, SCHEDULES);
}

#[test]
fn lease_taken_after_the_swap_is_never_on_the_old_release() {
    check(|| {
        let cell = Arc::new(SwapCell::new(1));
        let swapped = Arc::new(AtomicBool::new(false));
        let requests: Vec<_> = (0..3)
            .map(|_| {
                let (cell, swapped) = (cell.clone(), swapped.clone());
                thread::spawn(move || {
                    let after = swapped.load(SeqCst);
                    let lease = cell.get();
                    assert!(
                        !after || *lease == 2,
                        "leased the old release after the swap"
                    );
                })
            })
            .collect();
        cell.swap(2);
        swapped.store(true, SeqCst);
        for request in requests {
            request.join().unwrap();
        }
        assert_eq!(*cell.get(), 2);
    });
}

#[test]
fn old_release_is_freed_once_and_only_after_its_last_lease() {
    check(|| {
        let freed = Freed::default();
        let release = |number| Release {
            number,
            freed: freed.clone(),
        };
        let cell = Arc::new(SwapCell::new(release(1)));
        let requests: Vec<_> = (0..3)
            .map(|_| {
                let (cell, freed) = (cell.clone(), freed.clone());
                thread::spawn(move || {
                    let lease = cell.get();
                    thread::yield_now();
                    assert_eq!(count(&freed)[lease.number], 0, "freed under a lease");
                })
            })
            .collect();
        drop(cell.swap(release(2)));
        drop(cell.swap(release(3)));
        for request in requests {
            request.join().unwrap();
        }
        assert_eq!(count(&freed), [0, 1, 1, 0]);
        drop(cell);
        assert_eq!(count(&freed), [0, 1, 1, 1]);
    });
}

#[test]
fn concurrent_swaps_lose_no_release() {
    check(|| {
        let freed = Freed::default();
        let cell = Arc::new(SwapCell::new(Release {
            number: 0,
            freed: freed.clone(),
        }));
        let swaps: Vec<_> = (1..=3)
            .map(|number| {
                let (cell, freed) = (cell.clone(), freed.clone());
                thread::spawn(move || cell.swap(Release { number, freed }).number)
            })
            .collect();
        let mut seen: Vec<_> = swaps.into_iter().map(|swap| swap.join().unwrap()).collect();
        seen.push(cell.get().number);
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3]);
        assert_eq!(count(&freed).iter().sum::<usize>(), 3);
    });
}
