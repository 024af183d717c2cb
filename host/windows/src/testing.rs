//! A small registry for tests: real releases of a component that does nothing, over a disk that
//! tests can fill.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "for tests, which fail by a panic"
)]

use super::change::{Change, TURN_TIME};
use super::records::{Records, Swapped};
use super::traffic::serving::Serving;
use super::window::Window;
use super::{
    DeployOptions, RecordVersion, Registry, ReleaseRecord, TrafficShare, Upload, WindowName,
    WindowRecord, WindowsConfig,
};
use hms_core::call::WindowCall;
use hms_disk::reserve::Reserve;
use hms_runtime::{Compiler, EngineConfig};
use hms_store::{
    Applied, Entry, EntryKey, EventsPage, LogBounds, LogObserver, LogState, Op, Page, Read,
    Scratch, Snapshot, Store, StoreError, StoreStats, StoredEvent, TransactFuture, Transaction,
    WriteFuture,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// A window of WASI 0.2 that can be started.
const WINDOW: &str = r#"(component
    (import "wasi:http/types@0.2.0" (instance $types
        (export "incoming-request" (type (sub resource)))
        (export "response-outparam" (type (sub resource)))))
    (alias export $types "incoming-request" (type $request))
    (alias export $types "response-outparam" (type $out))
    (core module $code (func (export "handle") (param i32 i32)))
    (core instance $instance (instantiate $code))
    (type $handle (func (param "request" (own $request)) (param "response-out" (own $out))))
    (func $lifted (type $handle) (canon lift (core func $instance "handle")))
    (component $shape
        (import "incoming" (type $request (sub resource)))
        (import "out" (type $out (sub resource)))
        (type $handle (func (param "request" (own $request)) (param "response-out" (own $out))))
        (import "handle" (func $handle (type $handle)))
        (export "handle" (func $handle)))
    (instance $handler (instantiate $shape
        (with "incoming" (type $request))
        (with "out" (type $out))
        (with "handle" (func $lifted))))
    (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#;

/// The bytes of a component; those of each mark are another one.
pub fn component(mark: u8) -> Vec<u8> {
    marked(WINDOW, mark)
}

/// The same of one that imports what calls services.
pub fn caller(mark: u8) -> Vec<u8> {
    let import = "(component (import \"wasi:http/outgoing-handler@0.2.0\" (instance))";
    marked(&WINDOW.replacen("(component", import, 1), mark)
}

fn marked(text: &str, mark: u8) -> Vec<u8> {
    let mut bytes = wat::parse_str(text).unwrap();
    // A custom section.
    bytes.extend([0, 3, 1, b'v', mark]);
    bytes
}

/// How long what closes a window waits for its turn, where tests are about something else: the
/// machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// The window of all tests.
pub fn name() -> WindowName {
    "w".parse().unwrap()
}

/// A request of a client.
pub fn call() -> WindowCall {
    WindowCall::of_client(http::Request::new(hms_core::body::empty()))
}

/// What the disk does with a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Writes succeed.
    None,
    /// Writes fail for lack of space.
    Full,
    /// Full as long as there is a file of that name.
    FullWhile(PathBuf),
    /// It takes the write, and says that it failed.
    TakesAndFails,
    /// It takes the write, and says nothing for as long as this lasts.
    Hangs,
}

/// A disk for the records: in memory, and there over a restart of the host. A write is done when it
/// is asked for, and answered some polls later, as many as the seed says.
pub struct Disk(Arc<Mutex<State>>);

struct State {
    entries: BTreeMap<(String, String), Entry>,
    /// The last that was given.
    version: u64,
    trouble: Trouble,
    random: Random,
    /// No other host writes to it.
    alone: bool,
}

/// Numbers that look random, the same for each seed.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The same sequence for the same `seed`.
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

impl Disk {
    /// An empty disk without trouble, shared with other hosts.
    pub fn new() -> Arc<Self> {
        let state = State {
            entries: BTreeMap::new(),
            version: 0,
            trouble: Trouble::None,
            random: Random::new(1),
            alone: false,
        };
        Arc::new(Disk(Arc::new(Mutex::new(state))))
    }

    /// Makes the answers of the disk come after other numbers of polls.
    pub fn seed(&self, seed: u64) {
        self.0.lock().random = Random::new(seed);
    }

    /// Has it be one that no other host writes to.
    pub fn is_alone(&self) {
        self.0.lock().alone = true;
    }

    /// Lets writes meet `trouble` from now on.
    pub fn trouble(&self, trouble: Trouble) {
        self.0.lock().trouble = trouble;
    }
}

impl Disk {
    fn entry(&self, bucket: &str, key: &str) -> Option<Entry> {
        let state = self.0.lock();
        state.entries.get(&(bucket.into(), key.into())).cloned()
    }
}

impl State {
    /// What a compare-and-swap meets that it did not expect.
    fn conflict(&self, op: &Op) -> Option<Option<Entry>> {
        let Op::Swap {
            bucket,
            key,
            expected,
            ..
        } = op
        else {
            return None;
        };
        let met = self.entries.get(&(bucket.clone(), key.clone()));
        (met.map(|entry| entry.version) != *expected).then(|| met.cloned())
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Set { bucket, key, value }
            | Op::Swap {
                bucket, key, value, ..
            } => {
                self.version += 1;
                let version = self.version;
                self.entries.insert((bucket, key), Entry { value, version });
            }
            Op::Delete { bucket, key } => {
                self.entries.remove(&(bucket, key));
            }
            other => panic!("records are not written by {other:?}"),
        }
    }
}

impl Store for Disk {
    fn is_shared(&self) -> bool {
        !self.0.lock().alone
    }

    fn get(&self, bucket: &str, key: &str) -> Read<Option<Entry>> {
        Read::ready(Ok(self.entry(bucket, key)))
    }

    fn get_many(&self, bucket: &str, keys: &[String]) -> Read<Vec<Option<Entry>>> {
        let entries = keys.iter().map(|key| self.entry(bucket, key));
        Read::ready(Ok(entries.collect()))
    }

    fn exists(&self, bucket: &str, key: &str) -> Read<bool> {
        Read::ready(Ok(self.entry(bucket, key).is_some()))
    }

    fn keys(&self, bucket: &str, _: Option<&str>, _: u64, _: usize) -> Read<Page> {
        let state = self.0.lock();
        let keys = state.entries.keys().filter(|(of, _)| of == bucket);
        let keys = keys.map(|(_, key)| key.clone()).collect();
        Read::ready(Ok(Page { keys, more: false }))
    }

    fn buckets(&self, _: Option<&str>, _: usize) -> Read<Page> {
        let state = self.0.lock();
        let mut keys: Vec<String> = state.entries.keys().map(|(of, _)| of.clone()).collect();
        keys.sort();
        keys.dedup();
        Read::ready(Ok(Page { keys, more: false }))
    }

    fn write(&self, ops: Vec<Op>) -> WriteFuture {
        let mut state = self.0.lock();
        let path = PathBuf::from("host.redb");
        let full = Err(StoreError::DiskFull { path: path.clone() });
        let failed = Err(StoreError::Io {
            path,
            reason: "the test has it so".into(),
        });
        let is_full = match &state.trouble {
            Trouble::Full => true,
            Trouble::FullWhile(file) => file.exists(),
            _ => false,
        };
        // What is not written is answered on a disk that hangs, too.
        let met = ops.iter().find_map(|op| state.conflict(op));
        let (hangs, answer) = match met {
            _ if is_full => (true, full),
            Some(met) => (false, Ok(vec![Applied::Conflict(met)])),
            None => {
                let written = Ok(vec![Applied::Written; ops.len()]);
                ops.into_iter().for_each(|op| state.apply(op));
                match state.trouble {
                    Trouble::TakesAndFails => (true, failed),
                    _ => (true, written),
                }
            }
        };
        let polls = state.random.below(4);
        let state = self.0.clone();
        Box::pin(async move {
            while hangs && state.lock().trouble == Trouble::Hangs {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            for _ in 0..polls {
                tokio::task::yield_now().await;
            }
            answer
        })
    }

    fn read_places(&self, places: &[EntryKey]) -> Read<Vec<Option<Entry>>> {
        let entries = places.iter().map(|at| self.entry(&at.bucket, &at.key));
        Read::ready(Ok(entries.collect()))
    }

    fn transact(&self, transaction: Transaction) -> TransactFuture {
        panic!("records are not written by {transaction:?}")
    }

    fn events(&self, _: u64, _: usize, _: usize) -> Read<EventsPage> {
        Read::ready(Ok(EventsPage::default()))
    }

    fn waiting_events(&self, _: usize) -> Read<Vec<(u64, StoredEvent)>> {
        Read::ready(Ok(Vec::new()))
    }

    fn promote_due(&self, _: u64, _: usize) -> TransactFuture {
        panic!("no event waits among the records")
    }

    fn trim(&self, _: u64, _: u64) -> TransactFuture {
        panic!("there is no event among the records")
    }

    fn log_state(&self) -> LogState {
        LogState::default()
    }

    fn set_log_bounds(&self, _: LogBounds) {}

    fn observe_log(&self, _: LogObserver) {}

    fn stats(&self) -> StoreStats {
        StoreStats::default()
    }

    fn set_max_store_bytes(&self, _: u64) {}

    fn snapshot(&self, _: &mut Scratch<'_>) -> Result<Snapshot, StoreError> {
        let reason = "it is in memory".into();
        Err(StoreError::Scratch { reason })
    }

    fn close(&self) {}
}

/// A data folder, its disk, and the registry over both.
pub struct Fixture {
    /// Deleted when the fixture is dropped.
    pub dir: TempDir,
    /// The store of the records.
    pub disk: Arc<Disk>,
    /// The host under test.
    pub registry: Arc<Registry>,
}

/// What a window is: its record, what is open, and whether it has stored anything.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The record in force; None if there is no window.
    pub record: Option<WindowRecord>,
    /// What serves, for comparisons.
    pub serving: String,
    /// Whether the window's store holds something.
    pub data: bool,
}

impl Seen {
    /// Without what no two releases have in common: when, by whom, and of which bytes.
    pub fn comparable(mut self) -> Seen {
        let releases = self
            .record
            .iter_mut()
            .flat_map(|record| &mut record.releases);
        for release in releases {
            *release = ReleaseRecord {
                outcome: release.outcome.clone(),
                ..numbered(release.number)
            };
        }
        if let Some(record) = &mut self.record {
            record.version = RecordVersion::default();
            if let Some(canary) = &mut record.canary {
                canary.salt = 0;
            }
        }
        self
    }
}

/// A release of which only the number is known.
pub fn numbered(number: u64) -> ReleaseRecord {
    ReleaseRecord {
        number,
        digest: String::new(),
        size: 0,
        deployed_at: time::OffsetDateTime::UNIX_EPOCH,
        by: String::new(),
        imports: vec![],
        exports: vec![],
        fallback: false,
        trap_unknown: false,
        grants: None,
        before: None,
        outcome: None,
    }
}

impl Fixture {
    /// A registry without windows, whose reserve is `with_reserve` there.
    pub async fn new(with_reserve: bool) -> Fixture {
        Self::with(with_reserve, PATIENCE).await
    }

    /// One in which what closes a window waits for its turn as long as it does for operators.
    pub async fn of_operators() -> Fixture {
        Self::with(false, TURN_TIME).await
    }

    async fn with(with_reserve: bool, turn_time: Duration) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new();
        let reserve = match with_reserve {
            true => Reserve::open(dir.path()),
            false => Arc::default(),
        };
        let registry = open(&dir, disk.clone(), reserve, turn_time);
        Fixture {
            dir,
            disk,
            registry,
        }
    }

    /// Another host over the same disk, as after a restart.
    pub async fn restarted(&self) -> Arc<Registry> {
        let registry = open(&self.dir, self.disk.clone(), Arc::default(), PATIENCE);
        registry.restore().await.unwrap();
        registry
    }

    /// A component that differs from others by `mark`.
    pub async fn upload(&self, mark: u8) -> Upload {
        self.upload_of(&component(mark)).await
    }

    /// These bytes of a component.
    pub async fn upload_of(&self, component: &[u8]) -> Upload {
        let mut receiving = self
            .registry
            .artifacts()
            .receive(1 << 20, "")
            .await
            .unwrap();
        receiving.chunk(component).await.unwrap();
        receiving.finish().await.unwrap()
    }

    /// Deploys the component of that mark to the window of that name.
    pub async fn deploy(&self, name: &str, mark: u8, canary: Option<TrafficShare>) {
        let upload = self.upload(mark).await;
        let options = DeployOptions {
            canary,
            fallback: true,
            ..DeployOptions::default()
        };
        let name = name.parse().unwrap();
        let deployed = self.registry.deploy(name, upload, options, &|_| {}).await;
        deployed.unwrap();
    }

    /// The window `w` with two releases: open, stopped, and open with a third as its canary.
    pub async fn states(&self) -> [WindowRecord; 3] {
        // Another window keeps their components, so that the removal of the one does not have them
        // compiled again.
        for mark in 1..=4 {
            self.deploy("keeper", mark, None).await;
        }
        for mark in 1..=2 {
            self.deploy("w", mark, None).await;
        }
        let open = self.on_disk().unwrap();
        let stopped = WindowRecord {
            stopped: true,
            ..open.clone()
        };
        self.deploy("w", 3, "50%".parse().ok()).await;
        [open, stopped, self.on_disk().unwrap()]
    }

    /// The file in which the window keeps what it stores.
    pub fn store(&self) -> PathBuf {
        self.dir.path().join("windows/w/store.redb")
    }

    /// Has the window `w` be as `record` says, on disk and in memory, with something stored.
    pub async fn set_up(&self, record: &WindowRecord) {
        let registry = &self.registry;
        registry.stores.close("w");
        std::fs::create_dir_all(self.store().parent().unwrap()).unwrap();
        std::fs::write(self.store(), "what it has stored").unwrap();
        if let Ok(window) = registry.window(&name()) {
            registry.forget(&window);
        }
        self.put(record).await;
        if record.releases.is_empty() {
            return;
        }
        let window = registry.window_or_new(&name(), record.clone());
        let mut change = Change::of_window(registry, &window).await.unwrap();
        change.settle(record.clone()).await.unwrap();
    }

    /// Has the disk have `record`, as another host has it.
    pub async fn put_by_another(&self, record: &WindowRecord) {
        let another = Records::new(self.disk.clone());
        let version = another.version_after(record.version);
        let record = record.clone();
        self.put(&WindowRecord { version, ..record }).await;
    }

    /// Has the disk have `record`, whatever it had.
    async fn put(&self, record: &WindowRecord) {
        let mut place = None;
        for _ in 0..2 {
            let records = Records::new(self.disk.clone());
            match records.swap(name(), record.clone(), place).await.unwrap() {
                Swapped::Done => return,
                Swapped::Met(met) => place = met.map(|met| met.place),
            }
        }
        panic!("the disk takes no record");
    }

    /// The window as `registry` has it.
    pub fn seen(&self, registry: &Arc<Registry>) -> Seen {
        let window = registry.window(&name()).ok();
        let record = window.as_ref().map(|window| window.recorded.known());
        let record = record.map(|known| known.record.clone());
        Seen {
            record: record.filter(|record| !record.is_vacant()),
            serving: serving(window.as_deref()),
            data: self.store().exists(),
        }
    }

    /// The record as the disk has it.
    pub fn on_disk(&self) -> Option<WindowRecord> {
        let all = Records::new(self.disk.clone()).all_blocking().unwrap();
        let found = all.into_iter().find(|(found, _)| *found == name());
        found.map(|(_, record)| record.unwrap())
    }
}

fn serving(window: Option<&Window>) -> String {
    match window.map(|window| window.serving()).as_deref() {
        None | Some(Serving::Empty) => "nothing".into(),
        Some(Serving::Stopped) => "stopped".into(),
        Some(Serving::Open { live, canary }) => match canary {
            None => format!("{}", live.record.number),
            Some(canary) => {
                let candidate = canary.release.record.number;
                let share = TrafficShare::of_steps(canary.analysis.seen().share);
                format!("{} and {candidate} at {share}", live.record.number)
            }
        },
    }
}

fn open(
    dir: &TempDir,
    disk: Arc<Disk>,
    reserve: Arc<Reserve>,
    turn_time: Duration,
) -> Arc<Registry> {
    let mut config = WindowsConfig::new(dir.path().to_owned());
    config.engine = EngineConfig {
        instances: 8,
        max_memory_bytes: 128 << 20,
        ..EngineConfig::default()
    };
    config.drain_deadline = Duration::from_secs(1);
    config.turn_time = turn_time;
    config.disk_time = Duration::from_secs(1);
    config.reserve = reserve;
    config.watched = Some(dir.path().join("watched"));
    Registry::open_over(config, Compiler::in_process(), disk).unwrap()
}
