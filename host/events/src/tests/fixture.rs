//! A host whose windows are scripts.

use crate::events::{Events, EventsConfig};
use crate::limits::EventsLimits;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hms_core::body;
use hms_core::call::{WindowAnswer, WindowCall, Windows};
use hms_core::error::{Problem, RequestError};
use hms_core::events::EmitGuard;
use hms_grants::schedule::Schedule;
use hms_grants::subscription::{
    AfterPark, ContentMode, DeliverTo, Order, Retry, Start, Subscription,
};
use hms_grants::{AllGrants, Grants, WindowGrants};
use hms_store::conformance::Memory;
use hms_store::{Backend, NewEvent, Store, StoreLimits, Stores, Transaction};
use http::Response;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// 2026-01-01T00:00:00Z.
pub(super) const EPOCH: u64 = 1_767_225_600_000;

thread_local! {
    /// A test has its own thread.
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Tokio's time.
pub(super) fn clock() -> u64 {
    let began = BEGAN.get().unwrap_or_else(|| {
        let now = Instant::now();
        BEGAN.set(Some(now));
        now
    });
    EPOCH + u64::try_from(began.elapsed().as_millis()).unwrap()
}

/// What a window gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub window: String,
    pub subscription: String,
    pub source: String,
    pub sequence: u64,
    pub subject: String,
    pub attempt: u32,
    pub round: u64,
    pub body: String,
    pub at_ms: u64,
}

/// What it says.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    Status(u16),
    After(u16, &'static str),
    Fails(Problem),
    /// Says 200 then.
    In(Duration),
}

type Script = Box<dyn FnMut(&Seen) -> Reply + Send>;

#[derive(Default)]
struct Scripted {
    seen: Vec<Seen>,
    now: usize,
    most: usize,
}

pub(super) struct FakeWindows {
    script: Mutex<Script>,
    scripted: Mutex<Scripted>,
}

impl Windows for FakeWindows {
    fn call<'a>(&'a self, window: &'a str, call: WindowCall) -> BoxFuture<'a, WindowAnswer> {
        self.answer(window, call).boxed()
    }
}

impl FakeWindows {
    async fn answer(&self, window: &str, call: WindowCall) -> WindowAnswer {
        assert!(call.delivery().is_some());
        let (head, content) = call.request.into_parts();
        let content = content.collect().await.unwrap().to_bytes();
        let text = |name: &str| {
            let value = head.headers.get(name).map(|value| value.to_str().unwrap());
            value.unwrap_or_default().to_owned()
        };
        let delivery = text("x-hms-delivery");
        let parts: Vec<&str> = delivery.split("; ").collect();
        let number = |part: &str| part.split_once('=').unwrap().1.parse::<u64>().unwrap();
        let seen = Seen {
            window: window.to_owned(),
            subscription: parts[0].to_owned(),
            source: text("ce-source").rsplit(':').next().unwrap().to_owned(),
            sequence: text("ce-sequence").parse().unwrap(),
            subject: text("ce-subject"),
            attempt: number(parts[1]).try_into().unwrap(),
            round: number(parts[2]),
            body: String::from_utf8(content.to_vec()).unwrap(),
            at_ms: clock(),
        };
        let reply = self.script.lock()(&seen);
        {
            let mut scripted = self.scripted.lock();
            scripted.seen.push(seen);
            scripted.now += 1;
            scripted.most = scripted.most.max(scripted.now);
        }
        let outcome = match reply {
            Reply::Status(status) => Ok(Self::response(status, None)),
            Reply::After(status, after) => Ok(Self::response(status, Some(after))),
            Reply::Fails(problem) => Err(RequestError::new(problem, "a script says so")),
            Reply::In(time) => {
                tokio::time::sleep(time).await;
                Ok(Self::response(200, None))
            }
        };
        self.scripted.lock().now -= 1;
        WindowAnswer {
            outcome,
            release: Some(1),
            edition: None,
        }
    }

    fn response(status: u16, after: Option<&str>) -> Response<body::Body> {
        let mut response = Response::builder().status(status);
        if let Some(after) = after {
            response = response.header("retry-after", after);
        }
        response.body(body::full("ok")).unwrap()
    }
}

/// A host, and what outlives it.
pub(super) struct Host {
    pub events: Arc<Events>,
    pub windows: Arc<FakeWindows>,
    pub grants: Arc<AllGrants>,
    pub stores: Arc<Stores>,
    disk: Memory,
    limits: EventsLimits,
}

impl Host {
    /// With these subscriptions, each of the window named first. All is answered with 200.
    pub(super) async fn new(subscriptions: &[(&str, Subscription)]) -> Self {
        Self::with(subscriptions, EventsLimits::default()).await
    }

    pub(super) async fn with(subscriptions: &[(&str, Subscription)], limits: EventsLimits) -> Self {
        let stores = Box::new(Memory::new(StoreLimits::default()));
        Self::over(subscriptions, limits, stores).await
    }

    /// With the stores of the windows in `stores`.
    pub(super) async fn over(
        subscriptions: &[(&str, Subscription)],
        limits: EventsLimits,
        stores: Box<dyn Backend>,
    ) -> Self {
        // Of this runtime: others have other clocks.
        BEGAN.set(Some(Instant::now()));
        let grants = Arc::new(AllGrants::default());
        for (window, _) in subscriptions {
            let own = subscriptions.iter().filter(|(of, _)| of == window);
            let own = own.map(|(_, subscription)| subscription.clone()).collect();
            grant(&grants, window, own, Vec::new());
        }
        let windows = Arc::new(FakeWindows {
            script: Mutex::new(Box::new(|_| Reply::Status(200))),
            scripted: Mutex::default(),
        });
        let disk = Memory::new(StoreLimits::default());
        let stores = Arc::new(Stores::over(stores));
        let events = open(&disk, &stores, &windows, &grants, &limits).await;
        Host {
            events,
            windows,
            grants,
            stores,
            disk,
            limits,
        }
    }

    /// Ends as it should, and begins again.
    pub(super) async fn restart(&mut self) {
        self.events.stop().await;
        self.events.close().await;
        self.events = open(
            &self.disk,
            &self.stores,
            &self.windows,
            &self.grants,
            &self.limits,
        )
        .await;
    }

    /// Ends without notice, and begins again: what is not on disk is lost.
    pub(super) async fn crash(&mut self) {
        self.events.shared.state.close();
        self.events.stop().await;
        self.events = open(
            &self.disk,
            &self.stores,
            &self.windows,
            &self.grants,
            &self.limits,
        )
        .await;
    }

    /// Ends without notice. Gives what is there at the next start before anything was done.
    pub(super) async fn not_started(&self) -> Arc<Events> {
        self.events.shared.state.close();
        self.events.stop().await;
        let (stores, windows) = (&self.stores, &self.windows);
        opened(&self.disk, stores, windows, &self.grants, &self.limits).await
    }

    /// What the windows say from now on.
    pub(super) fn script(&self, script: impl FnMut(&Seen) -> Reply + Send + 'static) {
        *self.windows.script.lock() = Box::new(script);
    }

    /// What they got since this was last asked.
    pub(super) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.windows.scripted.lock().seen)
    }

    /// The sequences of that.
    pub(super) fn sequences(&self) -> Vec<u64> {
        self.seen().iter().map(|seen| seen.sequence).collect()
    }

    /// The most requests at once so far.
    pub(super) fn most_at_once(&self) -> usize {
        self.windows.scripted.lock().most
    }

    /// Emits events of `window`, one for each subject; the body of each is its subject too.
    pub(super) async fn emit(&self, window: &str, subjects: &[&str]) {
        let events = subjects.iter().map(|subject| event(subject)).collect();
        self.transact(window, events).await;
    }

    pub(super) async fn transact(&self, window: &str, events: Vec<NewEvent>) {
        if let Some(marking) = self.events.shared.logs.before_emit(window) {
            marking.await.unwrap();
        }
        let store = self.stores.open_async(window).await.unwrap();
        let mut events = events.into_iter().peekable();
        while events.peek().is_some() {
            let transaction = Transaction {
                events: events.by_ref().take(200).collect(),
                now_ms: clock(),
                ..Transaction::default()
            };
            store.transact(transaction).await.unwrap();
        }
    }

    /// Changes the subscriptions of a window.
    pub(super) fn grant(&self, window: &str, subscriptions: Vec<Subscription>) {
        grant(&self.grants, window, subscriptions, Vec::new());
        self.events.grants_changed();
    }

    pub(super) fn schedule(&self, window: &str, schedule: Schedule) {
        grant(&self.grants, window, Vec::new(), vec![schedule]);
        self.events.grants_changed();
    }

    /// Changes what the file of a window says of both.
    pub(super) fn declare(
        &self,
        window: &str,
        subscriptions: Vec<Subscription>,
        schedules: Vec<Schedule>,
    ) {
        grant(&self.grants, window, subscriptions, schedules);
        self.events.grants_changed();
    }

    /// Lets time pass.
    pub(super) async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Lets what is under way settle.
    pub(super) async fn settle(&self) {
        self.pass(Duration::from_millis(200)).await;
    }

    /// Waits until the subscription has finished all.
    pub(super) async fn caught_up(&self, window: &str, name: &str) {
        for _ in 0..100_000 {
            let status = self.events.subscription(window, name);
            if status
                .is_ok_and(|status| status.lag == 0 && status.sources.iter().all(|of| of.last > 0))
            {
                return;
            }
            self.pass(Duration::from_millis(50)).await;
        }
        panic!("{:?}", self.events.subscription(window, name));
    }
}

async fn open(
    disk: &Memory,
    stores: &Arc<Stores>,
    windows: &Arc<FakeWindows>,
    grants: &Arc<AllGrants>,
    limits: &EventsLimits,
) -> Arc<Events> {
    let events = opened(disk, stores, windows, grants, limits).await;
    events.start();
    // The subscriptions are there.
    tokio::time::sleep(Duration::from_millis(20)).await;
    events
}

async fn opened(
    disk: &Memory,
    stores: &Arc<Stores>,
    windows: &Arc<FakeWindows>,
    grants: &Arc<AllGrants>,
    limits: &EventsLimits,
) -> Arc<Events> {
    let store: Arc<dyn Store> = disk.open("events", true).unwrap().unwrap();
    let config = EventsConfig {
        stores: stores.clone(),
        windows: windows.clone(),
        outgoing: None,
        grants: grants.clone(),
        limits: limits.clone(),
        tracer: Arc::default(),
        clock,
    };
    Events::over(store, config).await.unwrap()
}

fn grant(
    grants: &AllGrants,
    window: &str,
    subscriptions: Vec<Subscription>,
    schedules: Vec<Schedule>,
) {
    grants.window(window).store(WindowGrants {
        grants: Grants {
            subscriptions,
            schedules,
            ..Grants::default()
        },
        ..WindowGrants::default()
    });
}

/// An event about `subject`.
pub(super) fn event(subject: &str) -> NewEvent {
    NewEvent {
        kind: "test.v1".into(),
        subject: Some(subject.into()),
        content_type: "text/plain".into(),
        data: subject.into(),
        ..NewEvent::default()
    }
}

/// A subscription to all events of a window, from the first on.
pub(super) fn subscription(name: &str, from: &str) -> Subscription {
    Subscription {
        name: name.into(),
        from: vec![from.parse().unwrap()],
        filters: Vec::new(),
        to: DeliverTo::Path("/events".into()),
        start: Start::Earliest,
        order: Order::Key,
        concurrency: 8,
        retry: Retry {
            first: Duration::from_secs(1),
            max: Duration::from_secs(60),
            total: Duration::from_secs(600),
        },
        after_park: AfterPark::Continue,
        content: ContentMode::Binary,
        line: 1,
    }
}

impl Host {
    /// Has what was seen be seen again.
    pub(super) fn put_back(&self, seen: Vec<Seen>) {
        let mut scripted = self.windows.scripted.lock();
        let newer = std::mem::replace(&mut scripted.seen, seen);
        scripted.seen.extend(newer);
    }
}
