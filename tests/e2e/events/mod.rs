//! Events between windows: real stores, real components that get them, and deliveries between.
//!
//! Here over a registry in this process, where the test plays the window that emits. The others are
//! over whole hosts, by what [`office`] has: [`hosts`], [`crash`] and [`commits`] are about hosts
//! that end, [`attempts`] about events that are not taken at once, [`releases`] about deploys
//! meanwhile, [`sinks`] about services, [`timers`] about time, and [`forged`] about who else sends
//! events.

mod attempts;
mod commits;
mod crash;
mod forged;
mod hosts;
mod office;
mod releases;
mod sinks;
mod timers;

use hms_core::events::EmitGuard;
use hms_events::{Events, EventsConfig, EventsLimits, Gate, system_clock};
use hms_grants::subscription::{
    AfterPark, ContentMode, DeliverTo, Order, Retry, Start, Subscription,
};
use hms_grants::{AllGrants, Grants, WindowGrants};
use hms_harness::eventually;
use hms_runtime::Compiler;
use hms_store::{NewEvent, Transaction};
use hms_windows::{ChangeError, Consent, DeployOptions, Registry, WindowsConfig};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A registry with its deliveries.
struct Fixture {
    registry: Arc<Registry>,
    grants: Arc<AllGrants>,
    gate: Arc<Gate>,
    events: Arc<Events>,
}

impl Fixture {
    async fn open(data: &Path) -> Fixture {
        Fixture::open_at(data, system_clock).await
    }

    /// By a clock of the test's own.
    async fn open_at(data: &Path, clock: fn() -> u64) -> Fixture {
        let mut config = WindowsConfig::new(data.to_owned());
        config.engine.instances = 32;
        let gate = Arc::<Gate>::default();
        config.emit_guard = Some(gate.clone());
        config.outboxes = Some(gate.clone());
        let grants = config.grants.clone();
        // The one before lets go of its files a moment after it has ended.
        let registry = eventually("the data folder is free", || async {
            Registry::open(config.clone(), Compiler::in_process()).ok()
        })
        .await;
        let deliveries = EventsConfig {
            stores: registry.stores().clone(),
            windows: registry.clone(),
            outgoing: None,
            grants: grants.clone(),
            limits: EventsLimits::default(),
            tracer: Arc::default(),
            clock,
        };
        let events = Events::open(data.join("events.redb"), deliveries)
            .await
            .unwrap();
        gate.open(&events);
        Fixture {
            registry,
            grants,
            gate,
            events,
        }
    }

    async fn deploy(&self, window: &str, guest: &str) {
        let wasm = hms_harness::guests::path(guest).await;
        let name = window.parse().unwrap();
        let options = DeployOptions {
            consent: Consent::Everything,
            ..DeployOptions::default()
        };
        let deployed = Box::pin(self.registry.deploy_file(&name, &wasm, options));
        assert!(deployed.await.is_ok(), "{name} is not deployed");
    }

    /// Has `window`, which no route may lead to, get the events of `payments` at `path`.
    fn subscribe(&self, window: &str, path: &str) {
        let grants = Grants {
            internal: true,
            subscriptions: vec![Subscription {
                name: "all".into(),
                from: vec!["payments".parse().unwrap()],
                filters: Vec::new(),
                to: DeliverTo::Path(path.into()),
                start: Start::Earliest,
                order: Order::Key,
                concurrency: 8,
                retry: Retry {
                    first: Duration::from_millis(200),
                    max: Duration::from_millis(400),
                    total: Duration::from_secs(600),
                },
                after_park: AfterPark::Continue,
                content: ContentMode::Binary,
                line: 1,
            }],
            ..Grants::default()
        };
        self.grants.window(window).store(WindowGrants {
            grants,
            ..WindowGrants::default()
        });
        self.events.grants_changed();
    }

    async fn emit(&self, datas: &[&str]) {
        if let Some(marking) = self.gate.before_emit("payments") {
            marking.await.unwrap();
        }
        let events = datas.iter().map(|data| NewEvent {
            kind: "gov.payment.paid.v1".into(),
            subject: Some("one".into()),
            content_type: "text/plain".into(),
            data: (*data).into(),
            ..NewEvent::default()
        });
        let transaction = Transaction {
            events: events.collect(),
            now_ms: system_clock(),
            ..Transaction::default()
        };
        let store = self.registry.stores().open_async("payments").await.unwrap();
        store.transact(transaction).await.unwrap();
    }

    /// What the guest has appended to its list, once it has so many parts.
    async fn inbox(&self, window: &str, wanted: &str) {
        eventually("the events are in the window's store", || async {
            let store = self.registry.stores().get(window)?;
            let entry = store.get("inbox", "all").await.unwrap()?;
            let text = String::from_utf8_lossy(&entry.value).into_owned();
            text.contains(wanted).then_some(())
        })
        .await;
    }

    /// The parts of that list.
    async fn appended(&self, window: &str) -> Vec<String> {
        let Some(store) = self.registry.stores().get(window) else {
            return Vec::new();
        };
        let entry = store.get("inbox", "all").await.unwrap();
        entry.map_or_else(Vec::new, |entry| {
            serde_json::from_slice(&entry.value).unwrap()
        })
    }

    async fn close(self) {
        self.events.stop().await;
        self.registry.drain_all().await;
        self.events.close().await;
        self.registry.stores().close_all();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_reach_a_window_that_no_route_leads_to_and_outlive_the_host() {
    let data = tempfile::tempdir().unwrap();
    let fixture = Fixture::open(data.path()).await;
    fixture.deploy("notifications", "prober").await;
    fixture.subscribe("notifications", "/cas/inbox/all");
    fixture.events.start();
    fixture.emit(&["first;"]).await;
    fixture.inbox("notifications", "first;").await;
    // The window is away: nothing is lost, and nothing is tried.
    fixture
        .registry
        .stop(&"notifications".parse().unwrap())
        .await
        .unwrap();
    fixture.emit(&["second;", "third;"]).await;
    fixture.close().await;

    let fixture = Fixture::open(data.path()).await;
    fixture.subscribe("notifications", "/cas/inbox/all");
    fixture.registry.restore().await.unwrap();
    fixture.events.start();
    fixture
        .registry
        .start(&"notifications".parse().unwrap())
        .await
        .unwrap();
    fixture.inbox("notifications", "third;").await;
    let store = fixture.registry.stores().get("notifications").unwrap();
    let entry = store.get("inbox", "all").await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&entry.value).into_owned();
    for event in ["first;", "second;", "third;"] {
        assert_eq!(text.matches(event).count(), 1, "{text}");
    }
    let at = |event: &str| text.find(event).unwrap();
    assert!(
        at("first;") < at("second;") && at("second;") < at("third;"),
        "{text}"
    );
    fixture.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_on_which_a_release_traps_is_delivered_to_the_next_one() {
    let data = tempfile::tempdir().unwrap();
    let fixture = Fixture::open(data.path()).await;
    fixture.deploy("notifications", "prober").await;
    fixture.subscribe("notifications", "/trap");
    fixture.events.start();
    fixture.emit(&["first;"]).await;
    eventually("it was tried", || async {
        let (status, _) = fixture
            .registry
            .status(&"notifications".parse().unwrap())
            .unwrap();
        status
            .failures
            .contains_key("instance-trapped")
            .then_some(())
    })
    .await;
    let name = "payments".parse().unwrap();
    fixture.deploy("payments", "prober").await;
    let refused = fixture.registry.remove(&name, true).await.unwrap_err();
    assert!(matches!(refused, ChangeError::Undelivered(_)), "{refused}");
    fixture.subscribe("notifications", "/cas/inbox/all");
    fixture.inbox("notifications", "first;").await;
    eventually("all is delivered", || async {
        let status = fixture.events.subscription("notifications", "all").ok()?;
        (status.lag == 0 && status.parked == 0).then_some(())
    })
    .await;
    fixture.registry.remove(&name, true).await.unwrap();
    fixture.close().await;
}
