//! Finds the window for a request, and holds what all windows share.

use super::blocking::blocking;
use super::change::{DISK_TIME, TURN_TIME, save_all};
use super::record::WindowRecord;
use super::records::Records;
use super::release::artifacts::Artifacts;
use super::release::fallback;
use super::restore::restore;
use super::status::limit_values;
use super::traffic::admission::{Pool, Terms};
use super::traffic::callers::CallOutcome;
use super::traffic::serve::{serve, serve_window};
use super::traffic::serving::Serving;
use super::traffic::unavailable::WindowUnavailable;
use super::watch::TakenFiles;
use super::window::Window;
use super::{ChangeError, WindowName};
use crate::release::measured::Deploys;
use crate::traffic::measured::MeasuredWindow;
use anyhow::anyhow;
use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use hms_api::{Limits, LogLine, LogLines, Release, ShownLimits, WindowState, WindowStatus};
use hms_core::call::{Edition, WindowAnswer, WindowCall, Windows};
use hms_core::events::{EmitGuard, Outboxes};
use hms_core::outgoing::Outgoing;
use hms_disk::reserve::Reserve;
use hms_grants::AllGrants;
use hms_runtime::instance::{InstanceAtWork, InstanceContext};
use hms_runtime::log::Line;
use hms_runtime::{CompileLimits, Compiler, EngineConfig, Limit, Runtime, WindowLimits};
use hms_store::{Store, StoreError, StoreLimits, StoreStats, Stores, open_file};
use hms_telemetry::trace::Tracer;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The configuration of the windows, with the reason for each default.
#[derive(Debug, Clone)]
pub struct WindowsConfig {
    /// The data folder.
    pub data: PathBuf,
    /// Sizes of the pool.
    pub engine: EngineConfig,
    /// The default limits of a window.
    pub limits: WindowLimits,
    /// The bounds of each compile.
    pub compile: CompileLimits,
    /// The bounds of each store.
    pub store: StoreLimits,
    /// The space that is freed on a full disk for changes that take something away. None.
    pub reserve: Arc<Reserve>,
    /// How long an old release may still serve its requests. 30 s.
    pub drain_deadline: Duration,
    /// The largest component, in bytes. 128 MiB: a Python window has about 20 MiB.
    pub max_upload_bytes: u64,
    /// The watched folder whose components are deployed, if any.
    pub watched: Option<PathBuf>,
    /// What each window is granted. Nothing.
    pub grants: Arc<AllGrants>,
    /// The windows' way to services of the network. None.
    pub outgoing: Option<Arc<dyn Outgoing>>,
    /// Asked before a window emits events. None: there is nothing to wait for.
    pub emit_guard: Option<Arc<dyn EmitGuard>>,
    /// How long a stop or a removal waits for another change of the window, before it is left to be
    /// done later. 500 ms.
    pub turn_time: Duration,
    /// How long a change in force waits for the disk before it is retried in the background. 5 s.
    pub disk_time: Duration,
    /// Takes the traces of deploys.
    pub tracer: Arc<Tracer>,
    /// Asked whether a store may be deleted with its events. None: it may.
    pub outboxes: Option<Arc<dyn Outboxes>>,
}

impl WindowsConfig {
    /// The defaults, with a data folder.
    pub fn new(data: PathBuf) -> Self {
        WindowsConfig {
            data,
            engine: EngineConfig::default(),
            limits: WindowLimits::default(),
            compile: CompileLimits::default(),
            store: StoreLimits::default(),
            reserve: Arc::default(),
            drain_deadline: Duration::from_secs(30),
            max_upload_bytes: 128 << 20,
            watched: None,
            grants: Arc::default(),
            outgoing: None,
            emit_guard: None,
            turn_time: TURN_TIME,
            disk_time: DISK_TIME,
            tracer: Arc::default(),
            outboxes: None,
        }
    }
}

/// All windows.
pub struct Registry {
    pub(super) config: WindowsConfig,
    pub(super) runtime: Runtime,
    pub(super) compatibility: String,
    pub(super) artifacts: Arc<Artifacts>,
    pub(super) records: Records,
    /// What was deployed from a watched folder.
    pub(super) taken: TakenFiles,
    pub(super) stores: Arc<Stores>,
    windows: ArcSwap<HashMap<String, Arc<Window>>>,
    /// Locked to add or remove a window; looking one up takes no lock.
    membership: Mutex<()>,
    /// Locked to apply limits.
    holding: Mutex<()>,
    pool: Arc<Pool>,
    /// What came of deploys, and how far they came.
    pub(super) deploys: Deploys,
}

/// Why the host's own records cannot be used. The advice for a window's store would be wrong here:
/// the file does not recover by itself, and an empty one has no windows.
fn of_records(error: StoreError) -> anyhow::Error {
    match error {
        StoreError::Corrupt { path, reason } => anyhow!(
            "the host's own records, {}, are damaged ({reason}): put a good copy back; without them the host knows none of \
             its windows, though their stores stay",
            path.display()
        ),
        StoreError::DiskFull { path } => anyhow!(
            "the disk that holds the host's own records, {}, is full: free some space and start again",
            path.display()
        ),
        StoreError::Io { path, reason } => anyhow!(
            "the host's own records, {}, cannot be used ({reason}): check the disk and the permissions and start again",
            path.display()
        ),
        error => error.into(),
    }
}

impl Windows for Registry {
    fn call<'a>(&'a self, window: &'a str, call: WindowCall) -> BoxFuture<'a, WindowAnswer> {
        let found = self.windows.load().get(window).cloned();
        let name = || window.to_owned();
        let caller = call.calling_window().map(|from| from.window.clone());
        let window = match (found, caller) {
            (None, _) => Err(WindowUnavailable::NotDeployed { window: name() }),
            (Some(window), Some(caller)) => {
                return Box::pin(serve_window(window, caller, call));
            }
            (Some(window), None)
                if window.grants.load().grants.internal && call.delivery().is_none() =>
            {
                Err(WindowUnavailable::Internal { window: name() })
            }
            (Some(window), None) => Ok(window),
        };
        Box::pin(serve(window, call))
    }

    fn edition(&self, window: &str) -> Option<Edition> {
        self.windows.load().get(window)?.edition()
    }
}

impl Registry {
    /// Creates the engine and opens `host.redb`, the artifacts and the stores' folder. Blocks.
    ///
    /// # Errors
    ///
    /// If one of them cannot be used.
    pub fn open(config: WindowsConfig, compiler: Compiler) -> anyhow::Result<Arc<Self>> {
        let host = config.data.join("host.redb");
        let host = open_file(&host, "host", StoreLimits::default()).map_err(of_records)?;
        Self::open_over(config, compiler, host)
    }

    /// The same with another store for the records.
    pub(super) fn open_over(
        config: WindowsConfig,
        compiler: Compiler,
        host: Arc<dyn Store>,
    ) -> anyhow::Result<Arc<Self>> {
        let runtime = Runtime::new(&config.engine)?;
        Ok(Arc::new(Registry {
            compatibility: runtime.compatibility(),
            runtime,
            artifacts: Artifacts::open(config.data.join("artifacts"), compiler)?,
            records: Records::new(host.clone()),
            taken: TakenFiles::new(host),
            stores: Arc::new(Stores::new(
                config.data.join("windows"),
                config.store.clone(),
            )),
            windows: ArcSwap::default(),
            membership: Mutex::new(()),
            holding: Mutex::new(()),
            pool: Pool::new(config.engine.instances),
            deploys: Deploys::default(),
            config,
        }))
    }

    /// Restores every recorded window. One that cannot be loaded, or whose record cannot be read,
    /// stays unavailable, with the reason in the log; the others still open.
    ///
    /// # Errors
    ///
    /// If the records cannot be listed.
    pub async fn restore(self: &Arc<Self>) -> Result<(), ChangeError> {
        restore(self).await
    }

    /// The current windows, by name.
    pub(super) fn windows(&self) -> Arc<HashMap<String, Arc<Window>>> {
        self.windows.load_full()
    }

    /// The window of that name.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn window(&self, name: &WindowName) -> Result<Arc<Window>, ChangeError> {
        let windows = self.windows.load();
        windows
            .get(name.as_str())
            .cloned()
            .ok_or_else(|| ChangeError::NoWindow(name.clone()))
    }

    /// The window of that name. Creates it if there is none.
    pub(super) fn window_or_new(
        self: &Arc<Self>,
        name: &WindowName,
        record: WindowRecord,
    ) -> Arc<Window> {
        let _membership = self.membership.lock();
        if let Ok(window) = self.window(name) {
            return window;
        }
        let limits = self.effective(name.as_str(), &record.limits);
        let trips = fallback::watch(self);
        let window = Window::new(
            name.clone(),
            record,
            limits,
            self.config.grants.window(name.as_str()),
            &self.pool,
            self.stores.clone(),
            trips,
        );
        let window = Arc::new(window);
        self.hold(&window);
        let mut windows = HashMap::clone(&self.windows.load());
        windows.insert(name.as_str().to_owned(), window.clone());
        self.windows.store(Arc::new(windows));
        window
    }

    /// Applies the limits of the window's record and grants to it from now on.
    pub(super) fn hold(&self, window: &Window) {
        // Whoever applies last has read both last.
        let _holding = self.holding.lock();
        let limits = self.effective(window.name.as_str(), &window.recorded.known().record.limits);
        window.limits.store(Arc::new(limits));
        window.queue.set_terms(Terms::of(&limits));
        let bytes = limits.get(Limit::StoreBytes);
        self.stores.set_max_store_bytes(window.name.as_str(), bytes);
        let bytes = limits.get(Limit::OutboxBytes);
        self.stores.set_max_log_bytes(window.name.as_str(), bytes);
    }

    /// Takes the window out of the registry, if it is still there.
    pub(super) fn forget(&self, window: &Arc<Window>) {
        let _membership = self.membership.lock();
        let mut windows = HashMap::clone(&self.windows.load());
        let name = window.name.as_str();
        if windows
            .get(name)
            .is_some_and(|now| Arc::ptr_eq(now, window))
        {
            windows.remove(name);
            self.windows.store(Arc::new(windows));
        }
    }

    /// All windows, by name.
    pub(super) fn all(&self) -> Vec<Arc<Window>> {
        let mut all: Vec<_> = self.windows.load().values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The status of every window that has a release, is being removed, or whose record cannot be
    /// read, by name.
    pub fn statuses(&self) -> Vec<WindowStatus> {
        let shown = |status: &WindowStatus| {
            let stays = matches!(
                status.state,
                WindowState::Removing | WindowState::Unreadable
            );
            status.live.is_some() || stays
        };
        let all = self.all().into_iter().map(|window| window.status());
        all.filter(shown).collect()
    }

    /// The number of windows with a change that is not on disk yet.
    pub fn unsaved(&self) -> usize {
        let unsaved = |window: &Arc<Window>| window.recorded.unsaved().is_some();
        self.all().iter().filter(|window| unsaved(window)).count()
    }

    /// The status of one window, and its kept releases, oldest first.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn status(&self, name: &WindowName) -> Result<(WindowStatus, Vec<Release>), ChangeError> {
        let window = self.window(name)?;
        let known = window.recorded.known();
        known.check_readable(name)?;
        let releases = known.record.releases.iter().map(Release::from);
        Ok((window.status(), releases.collect()))
    }

    /// The window's effective limits, and those set for it.
    ///
    /// # Errors
    /// When there is no such window.
    pub fn limits(&self, name: &WindowName) -> Result<ShownLimits, ChangeError> {
        let window = self.window(name)?;
        let known = window.recorded.known();
        known.check_readable(name)?;
        Ok(ShownLimits {
            values: Limits {
                limits: limit_values(window.limits.load().named()),
                set: limit_values(known.record.limits.named()),
                sources: self.limit_sources(name.as_str()),
            },
            reuse_off: window.reuse_off(),
        })
    }

    /// What is counted of each window, by name.
    pub fn measures(&self) -> Vec<MeasuredWindow> {
        let all = self.all().into_iter().map(|window| MeasuredWindow {
            name: window.name.to_string(),
            measures: window.measures.clone(),
            usage: window.usage.clone(),
            places: window.queue.load().0,
            log_lines_left_out: window.log.left_out(),
        });
        all.collect()
    }

    /// Places of the pool that all windows share.
    pub fn pool_size(&self) -> u32 {
        self.config.engine.instances
    }

    /// What came of deploys.
    pub fn deploys(&self) -> &Deploys {
        &self.deploys
    }

    /// Calls between windows since the host began: caller, callee, what came of it, and how many.
    pub fn calls_between_windows(&self) -> Vec<(Arc<str>, WindowName, CallOutcome, u64)> {
        let all = self.all();
        let all = all.iter().flat_map(|window| {
            let counts = window.callers.counts().into_iter();
            counts.map(|(from, outcome, count)| (from, window.name.clone(), outcome, count))
        });
        all.collect()
    }

    /// Requests whose instances wait for slow clients now, and those that had to give way to others
    /// so far.
    pub fn slow_clients(&self) -> (usize, u64) {
        self.runtime.waiters().counts()
    }

    /// The stores of the windows.
    pub fn stores(&self) -> &Arc<Stores> {
        &self.stores
    }

    /// The statistics of the open stores, by window.
    pub fn store_stats(&self) -> Vec<(String, StoreStats)> {
        self.stores.stats()
    }

    /// The log lines of the window's instances, oldest first.
    ///
    /// # Errors
    /// When there is no window of that name.
    pub fn log(&self, name: &WindowName) -> Result<LogLines, ChangeError> {
        let lines = self.window(name)?.log.lines().into_iter();
        let lines = lines.map(|Line { at, level, text }| {
            let level = level.map(|level| level.as_str().into());
            LogLine { at, level, text }
        });
        Ok(LogLines {
            lines: lines.collect(),
        })
    }

    /// The limits of a window as they hold now, if there is one of that name.
    pub fn live_limits(&self, name: &str) -> Option<WindowLimits> {
        let windows = self.windows.load();
        windows.get(name).map(|window| **window.limits.load())
    }

    /// Writes a line of the host into a window's log, if there is one of that name.
    pub fn say(&self, name: &str, line: &str) {
        if let Some(window) = self.windows.load().get(name) {
            window.log.line(line);
        }
    }

    /// The largest component that is accepted, in bytes.
    pub fn max_upload_bytes(&self) -> u64 {
        self.config.max_upload_bytes
    }

    /// Where uploads are stored.
    pub fn artifacts(&self) -> &Arc<Artifacts> {
        &self.artifacts
    }

    /// Tries once more, for at most `time`, to write pending changes to disk. For the end of the
    /// host.
    pub async fn save_all(self: &Arc<Self>, time: Duration) {
        save_all(self, time).await;
    }

    /// Closes every window for good and waits until its requests are done. The caller bounds the
    /// time.
    pub async fn drain_all(&self) {
        for window in self.all() {
            window.switch(Serving::Stopped, self.config.drain_deadline);
        }
        for window in self.all() {
            window.drained().await;
        }
    }

    /// What the instances of release `number` of `window` share.
    pub(super) fn instance_context(
        self: &Arc<Self>,
        window: &Window,
        number: u64,
    ) -> InstanceContext {
        let registry: std::sync::Weak<Self> = Arc::downgrade(self);
        InstanceContext {
            window: window.name.as_str().into(),
            release: number,
            stores: self.stores.clone(),
            log: window.log.clone(),
            limits: window.limits.clone(),
            grants: window.grants.clone(),
            windows: registry,
            outgoing: self.config.outgoing.clone(),
            emit_guard: self.config.emit_guard.clone(),
            cpu_shares: window.cpu_shares.clone(),
            failures: window.failures.clone(),
            short: window.queue.short().clone(),
            usage: window.usage.clone(),
            at_work: InstanceAtWork::default(),
        }
    }

    /// Removes artifacts to which no kept release refers.
    pub(super) async fn clear_unused(self: &Arc<Self>) {
        let registry = self.clone();
        let _ = blocking(move || {
            registry.artifacts.clear_unused(|| registry.used().ok());
            Ok(())
        })
        .await;
    }

    /// The digests to which a record refers, in memory or on disk: the two may differ for a time.
    fn used(&self) -> Result<HashSet<String>, ChangeError> {
        // What an unreadable record needs is unknown, so nothing is removed then.
        let on_disk = self.records.all_blocking()?.into_iter();
        let on_disk: Vec<_> = on_disk
            .map(|(_, record)| record)
            .collect::<Result<_, _>>()?;
        let in_memory = self.all().into_iter().map(|window| {
            let known = window.recorded.known();
            known.record.clone()
        });
        let releases = on_disk
            .into_iter()
            .chain(in_memory)
            .flat_map(|record| record.releases);
        Ok(releases.map(|release| release.digest).collect())
    }
}
