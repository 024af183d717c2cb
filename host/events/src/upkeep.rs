//! What is done for the logs and the state beside deliveries: each second, and when it is due.

use crate::events::Shared;
use crate::limits::AFTER_FAILURE;
use crate::records::{Id, SUBSCRIPTIONS, SubscriptionRecord};
use hms_store::{StoreError, Transacted};
use std::sync::Arc;
use tokio::time::Instant;

/// Calls of [`hms_store::Store::trim`] for one store at a time.
const TRIMS: usize = 100;

/// What is done for a window beside its deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Chore {
    /// To make the subscriptions those of the grants. For all windows.
    Reconcile,
    /// To see how a log stands of which nobody knows.
    Look,
    /// To append to a log what is due.
    Promote,
    /// To run the schedules that are due.
    Schedules,
    /// To drop what is too old. For all windows, one after the other.
    Trim,
}

impl Shared {
    /// Looks at durable state for whatever a wake-up should have said.
    pub(crate) fn look(self: &Arc<Self>) {
        for window in self.logs.dirty() {
            let look = async move |shared: Arc<Shared>, window: String| {
                // A store that fails has said so itself.
                shared.logs.store(&window).await.is_ok()
            };
            self.chore(Chore::Look, &window, look);
        }
        for (window, log) in self.logs.all() {
            if log.seen
                && let Some(store) = self.stores.get(&window)
            {
                self.logs.observe(&window, store.log_state());
            }
        }
        for subscriber in self.subscribers() {
            if subscriber.lags() {
                subscriber.wake.notify_one();
            }
        }
        self.bound_logs();
    }

    /// Says of each log from which event on it is needed. Not while the subscriptions change: one
    /// that is not there for a moment would need nothing.
    fn bound_logs(&self) {
        let Ok(_turn) = self.changing.try_lock() else {
            return;
        };
        let mut said = self.needed.lock();
        for (window, log) in self.logs.all() {
            if !log.seen {
                continue;
            }
            let needed = self.of_source(&window).into_iter();
            let needed = needed.filter_map(|subscriber| subscriber.needed_from(&window));
            let needed = needed.min().unwrap_or(u64::MAX);
            if said.get(&window) != Some(&needed) {
                self.stores.set_needed_from(&window, needed);
                said.insert(window, needed);
            }
        }
    }

    /// Does a chore of a window in a task of its own, so that a store that hangs keeps no other
    /// window waiting. Not while it is being done already, nor for a moment after it has failed.
    pub(crate) fn chore<F>(
        self: &Arc<Self>,
        chore: Chore,
        window: &str,
        work: impl FnOnce(Arc<Shared>, String) -> F,
    ) where
        F: Future<Output = bool> + Send + 'static,
    {
        let key = (chore, window.to_owned());
        let mut chores = self.chores.lock();
        let begins = match chores.get(&key) {
            None => true,
            Some(None) => false,
            Some(Some(until)) => *until <= Instant::now(),
        };
        if !begins {
            return;
        }
        chores.insert(key.clone(), None);
        drop(chores);
        let (shared, work) = (self.clone(), work(self.clone(), window.to_owned()));
        self.tasks.spawn(async move {
            let is_done = work.await;
            let mut chores = shared.chores.lock();
            match is_done {
                true => chores.remove(&key),
                false => chores.insert(key, Some(Instant::now() + AFTER_FAILURE)),
            };
            drop(chores);
            if chore == Chore::Promote {
                shared.logs.due.notify_one();
            }
        });
    }

    pub(crate) fn promote(self: &Arc<Self>) {
        let now = self.now_ms();
        for (window, log) in self.logs.all() {
            if log.next_due_ms.is_some_and(|due| due <= now) {
                self.chore(Chore::Promote, &window, async move |shared, window| {
                    shared.promote_all(&window, now).await
                });
            }
        }
    }

    async fn promote_all(&self, window: &str, now_ms: u64) -> bool {
        loop {
            match self.logs.promote(window, now_ms).await {
                Ok(true) => {}
                Ok(false) => {
                    self.is_news(window, None);
                    return true;
                }
                Err(error) => {
                    if self.is_news(window, Some(&error)) {
                        tracing::warn!(window, "events that are due wait: {error}");
                    }
                    return false;
                }
            }
        }
    }

    /// Whether it is new why `what` waits, so that it is logged once and not each second. None: it
    /// waits no more.
    pub(crate) fn is_news(&self, what: &str, why: Option<&str>) -> bool {
        let mut said = self.said.lock();
        match why {
            Some(why) => said.insert(what.to_owned(), why.to_owned()).as_deref() != Some(why),
            None => said.remove(what).is_some(),
        }
    }

    /// When the next event is due in a log of which it is not being seen to.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        let chores = self.chores.lock();
        let logs = self.logs.all().into_iter();
        let due = logs.filter_map(|(window, log)| {
            let due = log.next_due_ms?;
            (!chores.contains_key(&(Chore::Promote, window))).then_some(due)
        });
        due.min()
    }

    pub(crate) async fn trim(&self) {
        let now = self.now_ms();
        let keep = u64::try_from(self.limits.keep.as_millis()).unwrap_or(u64::MAX);
        for (window, _) in self.stores.stats() {
            let Some(store) = self.stores.get(&window) else {
                continue;
            };
            for _ in 0..TRIMS {
                match store.trim(now.saturating_sub(keep), now).await {
                    Ok(Transacted::Committed(done)) if done.counters.iter().any(|n| *n > 0) => {}
                    Ok(_) => break,
                    Err(error) => {
                        tracing::debug!(window, "old events stay: {error}");
                        break;
                    }
                }
            }
        }
    }

    /// Forgets how far subscriptions have read the log of a store that was deleted, where they do
    /// not read it now and would once it is in their file again.
    pub(crate) async fn forget_source(&self, source: &str) -> Result<(), StoreError> {
        let _turn = self.changing.lock().await;
        let ids = self.state.keys(SUBSCRIPTIONS).await?;
        for id in ids.iter().filter_map(|key| Id::of_key(key)) {
            let subscriber = self.subscriber(&id.window, &id.name);
            if subscriber.is_some_and(|it| it.needed_from(source).is_some()) {
                continue;
            }
            self.state.delete((id.cursors(), source.to_owned()));
            for key in self.state.keys(&id.tries()).await? {
                if key.rsplit_once('/').is_some_and(|(of, _)| of == source) {
                    self.state.delete((id.tries(), key));
                }
            }
        }
        self.state.flush().await
    }

    /// Forgets subscriptions that have been gone for long, and notes since when others are.
    pub(crate) async fn forget_gone(&self) -> Result<(), StoreError> {
        // None comes back meanwhile.
        let _turn = self.changing.lock().await;
        let all: Vec<(String, SubscriptionRecord)> = self.state.all(SUBSCRIPTIONS).await?;
        let keep = u64::try_from(self.limits.keep.as_millis()).unwrap_or(u64::MAX);
        for (key, mut record) in all {
            let Some(id) = Id::of_key(&key) else {
                continue;
            };
            if self.subscriber(&id.window, &id.name).is_some() {
                continue;
            }
            match record.gone_ms {
                None => {
                    record.gone_ms = Some(self.now_ms());
                    self.state.put((SUBSCRIPTIONS.to_owned(), key), &record);
                }
                Some(gone) if self.now_ms().saturating_sub(gone) > keep => {
                    for bucket in [id.cursors(), id.tries()] {
                        self.state.clear(&bucket).await?;
                    }
                    let (window, subscription) = (&id.window, &id.name);
                    let parked = self.state.keys(&id.parked()).await?;
                    if parked.is_empty() {
                        self.state.delete((SUBSCRIPTIONS.to_owned(), key));
                        tracing::info!(
                            window,
                            subscription,
                            "the state of a subscription that is gone is dropped"
                        );
                    } else if record.paused.take().is_some() {
                        // What is parked stays for a person to decide.
                        self.state.put((SUBSCRIPTIONS.to_owned(), key), &record);
                    }
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}
