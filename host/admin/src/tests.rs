//! Every change by its request, whose client leaves at any of its steps.

use super::claimed::{Claimed, Rooms};
use super::token::AdminToken;
use super::{Admin, Backups, Metrics, Readiness, Tasks};
use hms_core::body;
use hms_dashboard::{About, Dashboard};
use hms_events::{Events, EventsConfig, EventsLimits, system_clock};
use hms_gateway::plugins::auth::{ApiKeys, AuthConfig, KeySource, dev_secret};
use hms_gateway::{Gateway, GatewayConfig};
use hms_grants::{GrantsFolder, GrantsMetrics, NamedFiles};
use hms_net::connection_limit::Activity;
use hms_windows::WindowRecord;
use hms_windows::testing::{self, Seen, component};
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(20);

const ROUTE: &str = "uri: /r/**\nupstream: http://hms-svc-w\n";
const OTHER: &str = "uri: /other/**\nupstream: http://hms-svc-w\n";

struct Fixture {
    inner: testing::Fixture,
    admin: Arc<Admin>,
}

/// All that the changes are about, in memory and on disk.
#[derive(Debug, PartialEq)]
struct World {
    window: Seen,
    keys: Vec<String>,
    routes: Vec<String>,
}

impl Fixture {
    async fn open() -> Fixture {
        let inner = testing::Fixture::new(false).await;
        let data = inner.dir.path();
        let routes = inner.dir.path().join("routes");
        std::fs::create_dir(&routes).unwrap();
        let secret = dev_secret::load_or_create(data).unwrap();
        let auth = AuthConfig {
            api_keys: ApiKeys::open(data, Arc::default()).unwrap(),
            ..AuthConfig::new(KeySource::DevSecret(secret))
        };
        let config = GatewayConfig::new(&routes, auth);
        let windows = inner.registry.clone();
        let deliveries = EventsConfig {
            stores: windows.stores().clone(),
            windows: windows.clone(),
            outgoing: None,
            grants: Arc::default(),
            limits: EventsLimits::default(),
            tracer: Arc::default(),
            clock: system_clock,
        };
        let events = Events::open(data.join("events.redb"), deliveries).await;
        let gateway = Gateway::new(config, windows.clone());
        let admin = Admin {
            token: AdminToken::fixed("token"),
            windows,
            metrics: Metrics::new(&gateway),
            gateway,
            grants: Arc::new(GrantsFolder::load(
                NamedFiles::of(data.join("grants")),
                None,
                Arc::default(),
                GrantsMetrics::default(),
            )),
            readiness: Readiness::default(),
            tasks: Tasks::default(),
            backups: Backups::new(data.to_owned(), CancellationToken::new()),
            events: events.unwrap(),
            shutdown: CancellationToken::new(),
            dashboard: Arc::new(Dashboard::new(About::default(), CancellationToken::new())),
        };
        let admin = Arc::new(admin);
        Fixture { inner, admin }
    }

    fn routes(&self) -> PathBuf {
        self.inner.dir.path().join("routes")
    }

    /// A window of that record, one key, one route. Gives the key's id.
    async fn set_up(&self, window: &WindowRecord) -> String {
        self.inner.set_up(window).await;
        let keys = self.admin.gateway.api_keys();
        for key in keys.list() {
            keys.revoke(&key.id).unwrap();
        }
        let (key, _) = keys.add("robot", &[], None).unwrap();
        let gateway = &self.admin.gateway;
        for name in ["r", "new"] {
            let _ = gateway.remove_route(name.into()).await;
        }
        gateway.put_route("r".into(), ROUTE.into()).await.unwrap();
        key.id
    }

    /// What there is, which memory and disk agree on.
    fn world(&self, case: &str) -> World {
        let seen = self.inner.seen(&self.inner.registry);
        assert_eq!(seen.record, self.inner.on_disk(), "{case}: the record");
        let users = |keys: &ApiKeys| -> Vec<String> {
            keys.list().into_iter().map(|key| key.user).collect()
        };
        let keys = users(self.admin.gateway.api_keys());
        let again = ApiKeys::open(self.inner.dir.path(), Arc::default()).unwrap();
        assert_eq!(users(&again), keys, "{case}: the keys");
        let shown = self.admin.gateway.routes();
        let mut routes: Vec<String> = shown.into_iter().map(|status| status.file).collect();
        routes.sort();
        let files = std::fs::read_dir(self.routes()).unwrap();
        let mut files: Vec<String> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        assert_eq!(files, routes, "{case}: the routes");
        World {
            window: seen.comparable(),
            keys,
            routes,
        }
    }

    /// Sends a request and leaves after so many polls of its answer. Its status, where there is one
    /// by then.
    async fn ask(&self, verb: &Verb, key: &str, mut polls: usize) -> Option<StatusCode> {
        let request = Request::builder()
            .method(verb.method.clone())
            .uri(verb.path.replace("KEY", key))
            .header(header::AUTHORIZATION, "Bearer token")
            .body(body::full(verb.body.clone()))
            .unwrap();
        let at_work = Activity::new().begin_unproven().unwrap();
        let mut claimed = Claimed::new(at_work, Rooms::default());
        let mut answer = Box::pin(self.admin.answer(request, CLIENT, &mut claimed));
        let answered = poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer.status())),
            Poll::Pending if polls <= 1 => Poll::Ready(None),
            Poll::Pending => {
                polls -= 1;
                Poll::Pending
            }
        })
        .await;
        drop(answer);
        assert_eq!(self.admin.tasks.end(PATIENCE).await, 0, "a change hangs");
        answered
    }
}

struct Verb {
    method: Method,
    path: &'static str,
    body: Vec<u8>,
    /// Which of the states of the window it changes.
    state: usize,
}

fn verb(method: Method, path: &'static str, body: impl Into<Vec<u8>>, state: usize) -> Verb {
    Verb {
        method,
        path,
        body: body.into(),
        state,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_leaving_at_any_step_leaves_its_change_done_or_not_begun() {
    let fixture = Fixture::open().await;
    let states = fixture.inner.states().await;
    let limits = r#"{"queue": 7}"#;
    let key = r#"{"user": "other"}"#;
    let verbs = [
        verb(Method::PUT, "/windows/w?yes=true", component(3), 0),
        verb(Method::PUT, "/windows/w?canary=10%25", component(4), 0),
        verb(Method::POST, "/windows/w/start", "", 1),
        verb(Method::POST, "/windows/w/stop", "", 0),
        verb(Method::POST, "/windows/w/rollback", "", 0),
        verb(Method::POST, "/windows/w/canary?share=25%25", "", 2),
        verb(Method::POST, "/windows/w/promote", "", 2),
        verb(Method::POST, "/windows/w/abort", "", 2),
        verb(Method::PATCH, "/windows/w/limits", limits, 0),
        verb(Method::DELETE, "/windows/w", "", 0),
        verb(Method::DELETE, "/windows/w?store=delete", "", 0),
        verb(Method::PUT, "/routes/new", OTHER, 0),
        verb(Method::DELETE, "/routes/r", "", 0),
        verb(Method::POST, "/keys", key, 0),
        verb(Method::DELETE, "/keys/KEY", "", 0),
    ];
    for verb in &verbs {
        let case = format!("{} {}", verb.method, verb.path);
        let state = &states[verb.state];
        let key = fixture.set_up(state).await;
        let before = fixture.world(&case);
        let status = fixture.ask(verb, &key, usize::MAX).await;
        assert!(status.unwrap().is_success(), "{case}: {status:?}");
        let after = fixture.world(&case);
        assert_ne!(before, after, "{case}");
        for polls in 1.. {
            fixture.inner.disk.seed(polls as u64);
            let key = fixture.set_up(state).await;
            let answered = fixture.ask(verb, &key, polls).await;
            let now = fixture.world(&format!("{case}, left after {polls} polls"));
            let not_begun = answered.is_none() && now == before;
            assert!(
                not_begun || now == after,
                "{case}, left after {polls} polls: {now:#?}"
            );
            if answered.is_some() {
                break;
            }
        }
    }
}

/// Every path of the page with its methods: `NAME` and `ID` are as in the page.
fn documented() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let page = include_str!("../../../docs/admin-api.md");
    let mut requests: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for line in page.lines() {
        let request = line
            .strip_prefix("| [`")
            .and_then(|row| row.split('`').next());
        if let Some((method, path)) = request.and_then(|request| request.split_once(' ')) {
            assert!(requests.entry(path).or_default().insert(method), "{line}");
        }
    }
    requests
}

/// Every path that the API says it has.
fn paths(detail: &str) -> BTreeSet<String> {
    let (_, list) = detail.split_once("are ").unwrap();
    let list = list.replace(" and ", ", ");
    let expand = |path: &str| -> Vec<String> {
        let (base, verbs) = path.rsplit_once('/').unwrap();
        let verbs = verbs.split('|');
        verbs.map(|verb| format!("{base}/{verb}")).collect()
    };
    list.split(", ").flat_map(expand).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_has_every_request_of_the_api_and_no_other() {
    let fixture = Fixture::open().await;
    let documented = documented();
    let answer = async |path: &str| {
        let request = Request::builder()
            .method(Method::OPTIONS)
            .uri(path)
            .header(header::AUTHORIZATION, "Bearer token")
            .body(body::empty())
            .unwrap();
        let at_work = Activity::new().begin_unproven().unwrap();
        let mut claimed = Claimed::new(at_work, Rooms::default());
        fixture.admin.answer(request, CLIENT, &mut claimed).await
    };
    for (path, methods) in &documented {
        let refused = answer(&path.replace("NAME", "w")).await;
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let allowed = refused.headers()[header::ALLOW].to_str().unwrap();
        let allowed = allowed.split(", ").filter(|method| *method != "HEAD");
        assert_eq!(&allowed.collect::<BTreeSet<_>>(), methods, "{path}");
    }
    let unknown = answer("/nothing").await.into_body().collect().await;
    let problem: hms_api::Problem = serde_json::from_slice(&unknown.unwrap().to_bytes()).unwrap();
    let known: BTreeSet<_> = documented.into_keys().map(str::to_owned).collect();
    assert_eq!(paths(&problem.detail), known);
}
