//! The deliveries of the host as a whole: opened, started, stopped and closed once.

use crate::limits::{EventsLimits, SWEEP, TRIM};
use crate::logs::{Logs, Readers};
use crate::metrics::EventsMetrics;
use crate::records::Id;
use crate::schedules::{Schedules, implicit};
use crate::share::Places;
use crate::state::State;
use crate::subscriber::Subscriber;
use crate::upkeep::Chore;
use hms_core::call::Windows;
use hms_core::outgoing::Outgoing;
use hms_grants::subscription::Subscription;
use hms_grants::{AllGrants, WindowGrants};
use hms_store::{Scratch, Snapshot, Store, StoreError, StoreLimits, Stores, open_file};
use hms_telemetry::trace::Tracer;
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Bytes of events.redb: of parked events, of which each subscription has 1,000 at most. 16 GiB.
const STATE_BYTES: u64 = 16 << 30;

/// What deliveries need.
pub struct EventsConfig {
    /// The stores of the windows, whose logs are read.
    pub stores: Arc<Stores>,
    /// To whom events go.
    pub windows: Arc<dyn Windows>,
    /// The way to services; none where there is none.
    pub outgoing: Option<Arc<dyn Outgoing>>,
    /// Who wants which events.
    pub grants: Arc<AllGrants>,
    /// The bounds.
    pub limits: EventsLimits,
    /// Takes the traces of deliveries.
    pub tracer: Arc<Tracer>,
    /// The time, in milliseconds since the epoch. For tests.
    pub clock: fn() -> u64,
}

/// The system's time.
pub fn system_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.unwrap_or_default().as_millis();
    u64::try_from(millis).unwrap_or(u64::MAX)
}

/// The deliveries of a host.
pub struct Events {
    pub(crate) shared: Arc<Shared>,
    tasks: TaskTracker,
}

/// What all subscriptions share.
pub(crate) struct Shared {
    pub(crate) state: Arc<State>,
    pub(crate) stores: Arc<Stores>,
    pub(crate) logs: Arc<Logs>,
    pub(crate) windows: Arc<dyn Windows>,
    pub(crate) outgoing: Option<Arc<dyn Outgoing>>,
    pub(crate) grants: Arc<AllGrants>,
    pub(crate) limits: EventsLimits,
    pub(crate) tracer: Arc<Tracer>,
    pub(crate) places: Arc<Places>,
    pub(crate) metrics: EventsMetrics,
    pub(crate) schedules: Schedules,
    /// For the hashes of keys.
    pub(crate) hasher: std::hash::RandomState,
    clock: fn() -> u64,
    subscribers: RwLock<BTreeMap<Id, Arc<Subscriber>>>,
    by_source: RwLock<HashMap<String, Vec<Arc<Subscriber>>>>,
    /// One change of the subscriptions at a time.
    pub(crate) changing: tokio::sync::Mutex<Seen>,
    changed: Notify,
    /// From which event on each log is needed, as it was last said.
    pub(crate) needed: Mutex<HashMap<String, u64>>,
    /// What is being done for each window. After a failure: until when it is left alone.
    pub(crate) chores: Mutex<HashMap<(Chore, String), Option<Instant>>>,
    /// Why events or runs that are due wait, as it was last logged.
    pub(crate) said: Mutex<HashMap<String, String>>,
    pub(crate) tasks: TaskTracker,
    /// Ends the loop that looks for what is due, and all subscriptions.
    pub(crate) stop: CancellationToken,
}

/// The grants that the subscriptions are of: what holds now is compared by pointer.
pub(crate) type Seen = HashMap<String, Arc<WindowGrants>>;

impl Shared {
    pub(crate) fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    pub(crate) fn subscribers(&self) -> Vec<Arc<Subscriber>> {
        self.subscribers.read().values().cloned().collect()
    }

    pub(crate) fn subscriber(&self, window: &str, name: &str) -> Option<Arc<Subscriber>> {
        let (window, name) = (window.to_owned(), name.to_owned());
        self.subscribers.read().get(&Id { window, name }).cloned()
    }

    pub(crate) fn of_source(&self, source: &str) -> Vec<Arc<Subscriber>> {
        let by_source = self.by_source.read();
        by_source.get(source).cloned().unwrap_or_default()
    }

    /// Puts a subscription in, and starts its task.
    pub(crate) fn begin(self: &Arc<Self>, id: Id, spec: Subscription, is_schedule: bool) {
        let subscriber = Subscriber::new(self.clone(), id.clone(), spec, is_schedule);
        self.subscribers.write().insert(id, subscriber.clone());
        self.index();
        self.tasks.spawn(subscriber.run());
    }

    fn index(&self) {
        let mut by_source: HashMap<String, Vec<Arc<Subscriber>>> = HashMap::new();
        for subscriber in self.subscribers() {
            for source in &subscriber.spec.from {
                let of = by_source.entry(source.as_str().to_owned()).or_default();
                of.push(subscriber.clone());
            }
        }
        *self.by_source.write() = by_source;
    }

    /// Makes the subscriptions those that the grants say. Waits until deliveries in flight of those
    /// that are no more, or are others now, have ended: up to [`EventsLimits::stop_time`].
    pub(crate) async fn reconcile(self: &Arc<Self>) {
        let mut seen = self.changing.lock().await;
        if self.stop.is_cancelled() {
            return;
        }
        let now: Seen = self
            .grants
            .all()
            .into_iter()
            .map(|(name, live)| (name, live.current()))
            .collect();
        let same = now.len() == seen.len()
            && now.iter().all(|(name, grants)| {
                seen.get(name)
                    .is_some_and(|before| Arc::ptr_eq(before, grants))
            });
        if same {
            return;
        }
        let mut wanted: BTreeMap<Id, (Subscription, bool)> = BTreeMap::new();
        for (window, grants) in &now {
            let id = |name: &str| Id {
                window: window.clone(),
                name: name.to_owned(),
            };
            for spec in &grants.grants.subscriptions {
                // An edit above it is none of its own.
                let spec = Subscription {
                    line: 0,
                    ..spec.clone()
                };
                wanted.insert(id(&spec.name), (spec, false));
            }
            for schedule in &grants.grants.schedules {
                if let Some(spec) = implicit(window, schedule) {
                    wanted.insert(id(&spec.name), (spec, true));
                }
            }
        }
        self.schedules.set(&self.state, &now, self.now_ms());
        let mut ending = self.subscribers();
        ending.retain(|subscriber| {
            let same = wanted
                .get(&subscriber.id)
                .is_some_and(|(spec, _)| *spec == subscriber.spec);
            if same {
                wanted.remove(&subscriber.id);
            }
            !same
        });
        futures_util::future::join_all(ending.iter().map(|subscriber| subscriber.end())).await;
        for subscriber in ending {
            self.subscribers.write().remove(&subscriber.id);
            let (window, subscription) = (&*subscriber.window, &*subscriber.id.name);
            if !wanted.contains_key(&subscriber.id) {
                tracing::info!(
                    window,
                    subscription,
                    "the subscription is gone; its state is kept for a time"
                );
            }
        }
        for (id, (spec, is_schedule)) in wanted {
            self.begin(id, spec, is_schedule);
        }
        self.index();
        *seen = now;
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

impl Readers for Shared {
    fn grown(&self, window: &str) {
        if let Some(all) = self.by_source.read().get(window) {
            for subscriber in all {
                subscriber.wake.notify_one();
            }
        }
    }

    fn shrunk(&self, window: &str, last: u64) {
        for subscriber in self.of_source(window) {
            subscriber.source_shrunk(window, last);
        }
        self.needed.lock().remove(window);
    }
}

impl Events {
    /// Opens the file of the deliveries at `path`, DATA/events.redb, and reads how the logs of the
    /// windows stand. No store of a window is opened.
    ///
    /// # Errors
    /// Why the file cannot be used.
    pub async fn open(path: PathBuf, config: EventsConfig) -> Result<Arc<Self>, StoreError> {
        let limits = StoreLimits {
            max_store_bytes: STATE_BYTES,
            ..StoreLimits::default()
        };
        let store = tokio::task::spawn_blocking(move || open_file(path, "events", limits));
        let store = store.await.unwrap_or(Err(StoreError::Closed))?;
        Self::over(store, config).await
    }

    /// The same over a store that is open.
    pub(crate) async fn over(
        store: Arc<dyn Store>,
        config: EventsConfig,
    ) -> Result<Arc<Self>, StoreError> {
        let state = Arc::new(State::new(store));
        let logs = Logs::load(state.clone(), config.stores.clone()).await?;
        let schedules = Schedules::load(&state).await?;
        let tasks = TaskTracker::new();
        let shared = Arc::new(Shared {
            places: Places::new(config.limits.in_flight),
            metrics: EventsMetrics::default(),
            hasher: std::hash::RandomState::new(),
            subscribers: RwLock::default(),
            by_source: RwLock::default(),
            changing: tokio::sync::Mutex::default(),
            changed: Notify::new(),
            needed: Mutex::default(),
            chores: Mutex::default(),
            said: Mutex::default(),
            stores: config.stores,
            windows: config.windows,
            outgoing: config.outgoing,
            grants: config.grants,
            limits: config.limits,
            tracer: config.tracer,
            clock: config.clock,
            tasks: tasks.clone(),
            stop: CancellationToken::new(),
            schedules,
            state,
            logs,
        });
        shared.metrics.watch(&shared);
        shared.logs.set_readers(shared.clone());
        Ok(Arc::new(Events { shared, tasks }))
    }

    /// Starts to deliver. Needs the windows to be there, because what is not deployed gets nothing.
    pub fn start(&self) {
        let shared = self.shared.clone();
        let (state, stop) = (shared.state.clone(), shared.stop.clone());
        self.tasks.spawn(async move { state.run(&stop).await });
        let stop = shared.stop.clone();
        self.tasks.spawn(async move {
            let mut trimmed = Instant::now();
            // Before it is said of any log from which event on it is needed.
            shared.reconcile().await;
            while !stop.is_cancelled() {
                // It may wait for deliveries, and nothing else waits with it.
                shared.chore(Chore::Reconcile, "", async move |shared, _| {
                    shared.reconcile().await;
                    true
                });
                shared.promote();
                shared.schedules.tick(&shared);
                shared.look();
                if trimmed.elapsed() >= TRIM {
                    trimmed = Instant::now();
                    shared.chore(Chore::Trim, "", async move |shared, _| {
                        shared.trim().await;
                        if let Err(error) = shared.forget_gone().await {
                            tracing::warn!("the state of deliveries cannot be read: {error}");
                        }
                        true
                    });
                }
                let due = shared.next_due_ms();
                let due = due.map(|due| due.saturating_sub(shared.now_ms()).max(1));
                let wait = due.map_or(SWEEP, |due| SWEEP.min(Duration::from_millis(due)));
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = shared.changed.notified() => {}
                    () = shared.logs.due.notified() => {}
                    () = tokio::time::sleep(wait) => {}
                }
            }
        });
    }

    /// The grants of some window have changed: seen at once instead of within a second.
    pub fn grants_changed(&self) {
        self.shared.changed.notify_one();
    }

    /// Stops delivering: nothing new begins, and what is in flight may end for
    /// [`EventsLimits::stop_time`]. Attempts that are cut off count for nothing. Windows may still
    /// emit events until [`Events::close`].
    pub async fn stop(&self) {
        self.shared.stop.cancel();
        let _turn = self.shared.changing.lock().await;
        let all = self.shared.subscribers();
        futures_util::future::join_all(all.iter().map(|subscriber| subscriber.end())).await;
        if let Err(error) = self.shared.state.flush().await {
            tracing::error!(
                "the last acknowledgements could not be written, so those events are delivered again: {error}"
            );
        }
    }

    /// Notes how the logs stand, and closes the file. After the last event was emitted.
    pub async fn close(&self) {
        self.tasks.close();
        // They end with the subscriptions and this.
        let _ = tokio::time::timeout(self.shared.limits.stop_time, self.tasks.wait()).await;
        self.shared.logs.close();
        for (window, log) in self.shared.logs.all() {
            if log.seen
                && let Some(store) = self.shared.stores.get(&window)
            {
                self.shared.logs.observe(&window, store.log_state());
            }
        }
        self.shared.logs.settle();
        if let Err(error) = self.shared.state.flush().await {
            tracing::warn!(
                "the state of the event logs could not be written; the logs are read again: {error}"
            );
        }
        // They hold what holds them.
        self.shared.subscribers.write().clear();
        self.shared.by_source.write().clear();
        let state = self.shared.state.clone();
        let _ = tokio::task::spawn_blocking(move || state.close()).await;
    }

    /// Has a copy of the state of the deliveries say of no log how it stands: the stores are copied
    /// after it, and a window may emit in between. Whoever opens the copy looks at all of them.
    ///
    /// # Errors
    /// If it cannot be noted.
    pub(crate) async fn before_snapshot(&self) -> Result<(), StoreError> {
        self.shared.logs.unsettle();
        self.shared.state.flush().await
    }

    /// A copy of the state of the deliveries, for a backup, of which the stores are copied later.
    /// Blocks as [`Store::snapshot`] does, on a blocking thread of the runtime.
    ///
    /// # Errors
    /// Why there is none.
    pub fn snapshot(&self, scratch: &mut Scratch<'_>) -> Result<Snapshot, StoreError> {
        Handle::current().block_on(self.before_snapshot())?;
        self.shared.state.snapshot(scratch)
    }

    /// Metrics of the deliveries.
    pub fn metrics(&self) -> &EventsMetrics {
        &self.shared.metrics
    }
}
