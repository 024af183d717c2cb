//! One window: the pointer to what serves, and the old releases that drain.

use super::WindowName;
use super::change::{Closing, Recorded};
use super::record::WindowRecord;
use super::release::fallback::Tripped;
use super::release::{Drain, Release};
use super::status::{canary_status, limit_values};
use super::traffic::admission::{Pool, Terms, WindowQueue};
use super::traffic::breaker::BreakerState;
use super::traffic::callers::Callers;
use super::traffic::measured::WindowMeasures;
use super::traffic::serve::reuse_is_off;
use super::traffic::serving::{Assignment, Serving};
use super::traffic::swap_cell::SwapCell;
use super::traffic::unavailable::WindowUnavailable;
use arc_swap::ArcSwap;
use hms_api::{DrainStatus, Release as ShownRelease, WindowState, WindowStatus, Word};
use hms_core::call::{Edition, WindowCall};
use hms_grants::LiveGrants;
use hms_runtime::{
    CpuShares, Failures, Limit, LiveLimits, Runtime, Usage, WindowLimits, WindowLog,
};
use hms_store::Stores;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// A window in memory.
pub(crate) struct Window {
    pub(super) name: WindowName,
    serving: SwapCell<Serving>,
    draining: Mutex<Vec<Drain>>,
    pub(super) log: Arc<WindowLog>,
    pub(super) limits: LiveLimits,
    /// What the operator grants it.
    pub(super) grants: LiveGrants,
    /// The windows that call it.
    pub(super) callers: Callers,
    pub(super) cpu_shares: CpuShares,
    pub(super) failures: Arc<Failures>,
    /// What is counted of its requests.
    pub(super) measures: Arc<WindowMeasures>,
    /// What its instances have used.
    pub(super) usage: Arc<Usage>,
    /// Notified if a release trips its breaker.
    pub(super) trips: mpsc::Sender<Tripped>,
    /// Where its store is.
    stores: Arc<Stores>,
    /// The account from which its requests get permits of the pool.
    pub(super) queue: WindowQueue,
    /// Its record. Changes of one window run one after the other; those of two windows do not wait
    /// for each other.
    pub(super) recorded: Recorded,
}

impl Window {
    /// `limits` are the window's own, merged with those of its record.
    pub(super) fn new(
        name: WindowName,
        record: WindowRecord,
        limits: WindowLimits,
        grants: LiveGrants,
        pool: &Arc<Pool>,
        stores: Arc<Stores>,
        trips: mpsc::Sender<Tripped>,
    ) -> Self {
        let live = LiveLimits::new(ArcSwap::from_pointee(limits));
        let log = Runtime::window_log(name.as_str(), &live, &grants);
        Window {
            name,
            serving: SwapCell::new(Serving::Empty),
            draining: Mutex::default(),
            failures: Arc::new(Failures::new(log.clone())),
            log,
            trips,
            stores,
            cpu_shares: CpuShares::default(),
            queue: pool.queue(Terms::of(&limits)),
            limits: live,
            grants,
            callers: Callers::default(),
            measures: Arc::default(),
            usage: Arc::default(),
            recorded: Recorded::new(record),
        }
    }

    /// A lease for the request of `call`, and its part in the analysis if a canary is
    /// running.
    ///
    /// # Errors
    ///
    /// If the window is closed, or nothing is deployed.
    pub(super) fn lease(
        &self,
        call: &WindowCall,
    ) -> Result<(Arc<Release>, Option<Assignment>), WindowUnavailable> {
        self.recorded.check_not_closed(&self.name)?;
        let window = || self.name.to_string();
        match &*self.serving.get() {
            Serving::Open { live, canary: None } => Ok((live.clone(), None)),
            Serving::Open {
                live,
                canary: Some(canary),
            } => {
                let (release, assignment) = canary.choose(live, call);
                Ok((release.clone(), Some(assignment)))
            }
            Serving::Stopped => Err(WindowUnavailable::Stopped { window: window() }),
            Serving::Empty => Err(WindowUnavailable::NotDeployed { window: window() }),
        }
    }

    /// The edition that answers each request of a client now: see
    /// [`hms_core::call::Windows::edition`].
    pub(super) fn edition(&self) -> Option<Edition> {
        // The grants first, as for a lease: what is read of them later is not older.
        let grants = self.grants.load();
        if grants.grants.internal || self.recorded.check_not_closed(&self.name).is_err() {
            return None;
        }
        match &*self.serving.get() {
            Serving::Open { live, canary: None } => Some(Edition {
                release: live.id,
                grants: grants.version,
            }),
            _ => None,
        }
    }

    /// Whether its store could not be opened, and it is too soon to retry. Whether a request needs
    /// the store is known only when it asks for it, so any one request may retry.
    pub(super) fn store_fault(&self, now: Instant) -> bool {
        let broken = self.stores.broken(self.name.as_str());
        broken.is_some_and(|broken| now < broken.until)
    }

    /// What serves now.
    pub(super) fn serving(&self) -> Arc<Serving> {
        self.serving.get()
    }

    /// Swaps the pointer. Replaced releases drain: they serve their requests for at most
    /// `deadline`, then those are cut off. No request is between two releases: it has leased one or
    /// the other. For [`super::change::Change`], and for the host's shutdown.
    pub(super) fn switch(self: &Arc<Self>, next: Serving, deadline: Duration) {
        let kept: Vec<_> = next.releases().cloned().collect();
        let before = self.serving.swap(next);
        self.measures.swapped();
        for old in before.releases() {
            if kept.iter().any(|release| Arc::ptr_eq(release, old)) {
                continue;
            }
            let drain = old.drain();
            let mut draining = self.draining.lock();
            draining.push(drain.clone());
            drop(draining);
            tokio::spawn(self.clone().drain(drain, deadline));
        }
    }

    async fn drain(self: Arc<Self>, mut drain: Drain, deadline: Duration) {
        if tokio::time::timeout(deadline, drain.drained())
            .await
            .is_err()
        {
            tracing::warn!(
                window = %self.name,
                release = drain.number,
                leases = drain.leases(),
                "the drain deadline has passed: cutting off requests on the old release"
            );
            drain.cut();
            drain.drained().await;
        }
        tracing::info!(window = %self.name, release = drain.number, "drained");
        let mut draining = self.draining.lock();
        draining.retain(|other| other.leases() > 0);
    }

    /// Whether an old release has requests left.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.lock().iter().any(|drain| drain.leases() > 0)
    }

    /// Resolves once no old release has a request left.
    pub(super) async fn drained(&self) {
        let draining = || self.draining.lock().clone();
        for mut drain in draining() {
            drain.drained().await;
        }
    }

    /// Why the `reuse` of its limits is not in effect, if so.
    pub(super) fn reuse_off(&self) -> Option<String> {
        let serving = self.serving.get();
        let mut releases = serving.releases();
        let now = Instant::now();
        let off = releases.find_map(|release| release.instances.reuse().off(now))?;
        let asked = self.limits.load().get(Limit::Reuse) > 1;
        asked.then(|| reuse_is_off(off))
    }

    /// Its status for operators. Does not wait for a change in progress.
    pub(super) fn status(&self) -> WindowStatus {
        let known = self.recorded.known();
        let record = &known.record;
        // The pointer itself is one holder.
        let leases = |release: &Arc<Release>| Arc::strong_count(release).saturating_sub(1);
        let serving = self.serving.get();
        let (state, live_leases, placement) = match &*serving {
            // During a canary the analysis counts failures, and nobody asks the breaker.
            Serving::Open {
                live,
                canary: Some(_),
            } => (WindowState::Open, leases(live), BreakerState::Closed),
            Serving::Open { live, canary: None } => {
                let placement = live.breaker.shown(Instant::now());
                let state = match placement {
                    BreakerState::Closed => WindowState::Open,
                    BreakerState::Tripped { .. } => WindowState::Tripped,
                    BreakerState::HalfOpen { .. } => WindowState::HalfOpen,
                };
                (state, leases(live), placement)
            }
            Serving::Stopped => (WindowState::Stopped, 0, BreakerState::Closed),
            Serving::Empty => (WindowState::Unavailable, 0, BreakerState::Closed),
        };
        let (tripped, half_open) = match placement {
            BreakerState::Closed => (None, None),
            BreakerState::Tripped { failures } => (Some(failures), None),
            BreakerState::HalfOpen { failures } => (None, Some(failures)),
        };
        let closing = self.recorded.closing();
        let broken = self.stores.broken(self.name.as_str());
        let state = match (state, &broken) {
            _ if known.is_going() => WindowState::Removing,
            _ if known.unreadable.is_some() => WindowState::Unreadable,
            _ if matches!(closing, Some(Closing::Remove { .. })) => WindowState::Removing,
            _ if closing.is_some() => WindowState::Stopped,
            (WindowState::Open, Some(_)) => WindowState::StoreUnavailable,
            (state, _) => state,
        };
        let canary = match &*serving {
            Serving::Open {
                canary: Some(canary),
                ..
            } => Some(canary_status(canary, leases(&canary.release))),
            _ => None,
        };
        let draining = self.draining.lock();
        let draining = draining.iter().map(|drain| DrainStatus {
            number: drain.number,
            leases: drain.leases(),
        });
        let (_, queued) = self.queue.load();
        let failures = self.failures.counts().into_iter();
        WindowStatus {
            name: self.name.to_string(),
            state,
            queued,
            tripped,
            half_open,
            store_fault: broken.map(|broken| broken.error.to_string()),
            failures: failures
                .map(|(why, count)| (Word::from(why), count))
                .collect(),
            reuse_off: self.reuse_off(),
            limits: limit_values(self.limits.load().named()),
            live: record.release(record.live).map(ShownRelease::from),
            leases: live_leases,
            canary,
            draining: draining.filter(|drain| drain.leases > 0).collect(),
            unsaved: self.recorded.unsaved(),
            unreadable: known.unreadable.clone(),
            // Known to whoever delivers.
            deliveries: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Fixture, call, name};
    use hms_core::call::{Edition, Windows};
    use hms_core::units::TrafficShare;
    use hms_grants::WindowGrants;

    #[tokio::test]
    async fn edition_is_another_after_each_change_that_an_answer_may_show() {
        let fixture = Fixture::new(false).await;
        let (registry, name) = (&fixture.registry, name());
        let edition = || registry.edition("w");
        assert_eq!(edition(), None);
        let mut known: Vec<Edition> = Vec::new();
        let mut is_new = |what: &str| {
            let now = edition().unwrap_or_else(|| panic!("none after {what}"));
            assert!(!known.contains(&now), "{what}: {now:?} again");
            known.push(now);
            now
        };
        fixture.deploy("w", 1, None).await;
        let first = is_new("a deploy");
        assert_eq!(registry.call("w", call()).await.edition, Some(first));
        fixture.deploy("w", 2, None).await;
        is_new("a deploy");
        registry.rollback(&name, None, false).await.unwrap();
        is_new("a rollback");
        registry.stop(&name).await.unwrap();
        assert_eq!(edition(), None);
        registry.start(&name).await.unwrap();
        is_new("a start");
        registry.granted("w").store(WindowGrants::default());
        let before = is_new("an edit of the grants");

        let share: TrafficShare = "10%".parse().unwrap();
        fixture.deploy("w", 3, Some(share)).await;
        assert_eq!(edition(), None);
        assert_eq!(registry.call("w", call()).await.edition, None);
        registry.abort(&name).await.unwrap();
        assert_eq!(edition(), Some(before));

        let mut internal = WindowGrants::default();
        internal.grants.internal = true;
        registry.granted("w").store(internal);
        assert_eq!(edition(), None);
        registry.granted("w").store(WindowGrants::default());
        registry.remove(&name, true).await.unwrap();
        assert_eq!(edition(), None);
        fixture.deploy("w", 1, None).await;
        is_new("a removal");
    }
}
