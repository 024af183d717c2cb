//! The table of the admin API's requests.

use super::claimed::Claimed;
use super::events::Verb as Parked;
use super::tasks::Tasks;
use super::token::AdminToken;
use super::{
    Backups, Metrics, events, grants, keys, limits, reply, requests, routes, store, windows,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hms_api::{Health, HealthStatus, Word};
use hms_core::body::Body;
use hms_dashboard::{AdminApi, Dashboard, Entered};
use hms_events::Events;
use hms_gateway::Gateway;
use hms_grants::GrantsFolder;
use hms_windows::{Registry, WindowName};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use parking_lot::{Mutex, MutexGuard};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio_util::sync::CancellationToken;

/// Whether the host is ready for traffic: false until everything is open and has been read, and
/// again once it shuts down.
#[derive(Clone, Default)]
pub struct Readiness(Arc<State>);

#[derive(Default)]
struct State {
    ready: AtomicBool,
    waits: Mutex<Vec<Wait>>,
}

/// What must be read first, and whether it has been.
struct Wait {
    what: &'static str,
    is_over: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Readiness {
    /// Sets it.
    pub fn set(&self, ready: bool) {
        self.0.ready.store(ready, Relaxed);
    }

    /// Keeps the host from being ready until `is_over` says that `what` has been read. It is
    /// polled, so it must not block.
    pub fn wait_for(&self, what: &'static str, is_over: impl Fn() -> bool + Send + Sync + 'static) {
        let is_over = Box::new(is_over);
        self.waits().push(Wait { what, is_over });
    }

    fn answer(&self) -> Response<Body> {
        let waits = self.waits();
        let open = waits.iter().filter(|wait| !(wait.is_over)());
        let not_read_yet: Vec<Word> = open.map(|wait| wait.what.into()).collect();
        let (code, status) = match self.0.ready.load(Relaxed) && not_read_yet.is_empty() {
            true => (StatusCode::OK, HealthStatus::Ready),
            false => (StatusCode::SERVICE_UNAVAILABLE, HealthStatus::NotReady),
        };
        reply::json(
            code,
            &Health {
                status,
                not_read_yet,
            },
        )
    }

    fn waits(&self) -> MutexGuard<'_, Vec<Wait>> {
        self.0.waits.lock()
    }
}

/// The admin API.
pub struct Admin {
    /// The required bearer token.
    pub token: Arc<AdminToken>,
    /// The windows it shows and changes.
    pub windows: Arc<Registry>,
    /// The gateway, for its routes and API keys.
    pub gateway: Arc<Gateway>,
    /// What the windows are granted.
    pub grants: Arc<GrantsFolder>,
    /// The events of the windows, and their deliveries.
    pub events: Arc<Events>,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// What `/readyz` answers.
    pub readiness: Readiness,
    /// The changes in progress.
    pub tasks: Tasks,
    /// What takes backups.
    pub backups: Backups,
    /// Cancelled when the host ends, which no request that waits for an event holds up.
    pub shutdown: CancellationToken,
    /// The pages for people.
    pub dashboard: Arc<Dashboard>,
}

/// The dashboard asks what it shows of the same API as everybody.
impl AdminApi for Admin {
    fn call(self: Arc<Self>, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        async move {
            let path = request.uri().path().to_owned();
            match self.open_to_all(request.method(), &path).await {
                Some(answer) => answer,
                None => self.routed(&self.tasks, request).await,
            }
        }
        .boxed()
    }

    fn credential(&self) -> BoxFuture<'_, [u8; 32]> {
        self.token.credential().boxed()
    }
}

impl Admin {
    /// Answers one request of `client`, which is `claimed` for it once it has presented the token.
    ///
    /// The future may be dropped at any time: a change that it has begun continues.
    pub(super) async fn answer(
        self: &Arc<Self>,
        request: Request<Body>,
        client: IpAddr,
        claimed: &mut Claimed,
    ) -> Response<Body> {
        let path = request.uri().path().to_owned();
        if let Some(response) = self.open_to_all(request.method(), &path).await {
            return response;
        }
        if Dashboard::has(&path) {
            return self.of_dashboard(request, client, claimed).await;
        }
        if !self.authorised(request.headers()).await {
            let detail = match request.headers().contains_key(header::AUTHORIZATION) {
                true => {
                    "`Authorization` does not have the admin token of this host, which is in \
                     DATA/admin.token"
                }
                false => {
                    "the admin API requires `Authorization: Bearer TOKEN` with the token in \
                     DATA/admin.token"
                }
            };
            let mut response = reply::refuse(StatusCode::UNAUTHORIZED, "unauthorized", detail);
            let challenge = http::HeaderValue::from_static("Bearer realm=\"hms-admin\"");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
            return response;
        }
        self.proven(request, claimed).await
    }

    /// A request of the dashboard. Those of the API are answered as if they had the token.
    async fn of_dashboard(
        self: &Arc<Self>,
        request: Request<Body>,
        client: IpAddr,
        claimed: &mut Claimed,
    ) -> Response<Body> {
        match self.dashboard.enter(self.clone(), request, client).await {
            Entered::Answered(answer) => answer,
            Entered::Api(request) => self.proven(request, claimed).await,
            Entered::Page(wanted) => match claimed.prove(wanted.is_live()) {
                true => self.dashboard.page(self.clone(), wanted).await,
                false => busy(),
            },
        }
    }

    /// A request from somebody who may do everything.
    async fn proven(&self, request: Request<Body>, claimed: &mut Claimed) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let segments = segments(&path);
        let query = request.uri().query().unwrap_or_default();
        if !claimed.prove(gives(request.method(), &segments, query)) {
            return busy();
        }
        let tasks = self.tasks.of_request(claimed.room());
        self.routed(&tasks, request).await
    }

    async fn routed(&self, tasks: &Tasks, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let segments = segments(&path);
        let query = request.uri().query().unwrap_or_default();
        match segments.as_slice() {
            ["windows"] if request.method() == Method::GET => {
                windows::list(&self.windows, &self.events)
            }
            ["windows"] => reply::method_not_allowed("GET"),
            ["windows", name] => match name.parse() {
                Ok(name) => self.window(tasks, name, request).await,
                Err(why) => reply::refuse(StatusCode::BAD_REQUEST, "bad-name", why),
            },
            ["windows", name, "limits"] => match name.parse() {
                Ok(name) => self.limits(tasks, name, request).await,
                Err(why) => reply::refuse(StatusCode::BAD_REQUEST, "bad-name", why),
            },
            ["windows", name, "grants"] => match name.parse() {
                Ok(name) => self.grants(tasks, name, request).await,
                Err(why) => reply::refuse(StatusCode::BAD_REQUEST, "bad-name", why),
            },
            ["windows", name, "store", rest @ ..] => match name.parse() {
                Ok(name) => self.store(&name, rest, request.method(), query).await,
                Err(why) => reply::refuse(StatusCode::BAD_REQUEST, "bad-name", why),
            },
            [
                "windows",
                name,
                part @ ("events" | "subscriptions" | "schedules"),
                rest @ ..,
            ] => match name.parse() {
                Ok(name) => self.of_events(tasks, name, part, rest, request).await,
                Err(why) => reply::refuse(StatusCode::BAD_REQUEST, "bad-name", why),
            },
            ["windows", name, verb] => match name.parse() {
                Ok(name) => {
                    let query = request.uri().query().unwrap_or_default();
                    self.verb(tasks, name, verb, request.method(), query).await
                }
                Err(why) => reply::refuse(StatusCode::BAD_REQUEST, "bad-name", why),
            },
            ["keys"] => match *request.method() {
                Method::GET => keys::list(&self.gateway),
                Method::POST => keys::add(tasks, &self.gateway, request.into_body()).await,
                _ => reply::method_not_allowed("GET, POST"),
            },
            ["keys", id] => match *request.method() {
                Method::DELETE => keys::revoke(tasks, &self.gateway, id).await,
                _ => reply::method_not_allowed("DELETE"),
            },
            ["backup"] if request.method() == Method::GET => {
                let query = request.uri().query().unwrap_or_default();
                self.backups
                    .begin(&self.windows, &self.gateway, &self.grants, query)
            }
            ["backup"] => reply::method_not_allowed("GET"),
            ["grants"] if request.method() == Method::GET => {
                grants::list(&self.grants, &self.windows)
            }
            ["grants"] => reply::method_not_allowed("GET"),
            ["subscriptions"] if request.method() == Method::GET => {
                events::subscriptions(&self.events, query)
            }
            ["parked"] if request.method() == Method::GET => {
                events::parked(&self.events, query).await
            }
            ["schedules"] if request.method() == Method::GET => {
                events::schedules(&self.events, query)
            }
            ["subscriptions" | "parked" | "schedules"] => reply::method_not_allowed("GET"),
            ["requests"] if request.method() == Method::GET => {
                requests::list(self.gateway.recent(), query)
            }
            ["requests", id] if request.method() == Method::GET => {
                requests::show(self.gateway.recent(), id)
            }
            ["requests"] | ["requests", _] => reply::method_not_allowed("GET"),
            ["routes"] if request.method() == Method::GET => routes::list(&self.gateway),
            ["routes"] => reply::method_not_allowed("GET"),
            ["routes", name] => match *request.method() {
                Method::GET => routes::show(&self.gateway, name),
                Method::PUT => {
                    let (head, body) = request.into_parts();
                    let query = head.uri.query().unwrap_or_default();
                    routes::put(tasks, &self.gateway, name, query, body).await
                }
                Method::DELETE => routes::remove(tasks, &self.gateway, name).await,
                _ => reply::method_not_allowed("GET, PUT, DELETE"),
            },
            _ => not_found(),
        }
    }

    async fn open_to_all(&self, method: &Method, path: &str) -> Option<Response<Body>> {
        let known = ["/healthz", "/readyz", "/metrics"].contains(&path);
        if known && method != Method::GET && method != Method::HEAD {
            return Some(reply::method_not_allowed("GET, HEAD"));
        }
        Some(match path {
            "/healthz" => reply::json(
                StatusCode::OK,
                &Health {
                    status: HealthStatus::Ok,
                    not_read_yet: Vec::new(),
                },
            ),
            "/readyz" => self.readiness.answer(),
            "/metrics" => {
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                let text = self.metrics.render(&self.windows, &self.gateway);
                reply::text(StatusCode::OK, kind, text)
            }
            _ => return None,
        })
    }

    async fn authorised(&self, headers: &HeaderMap) -> bool {
        let shown = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '));
        match shown {
            Some((scheme, given)) if scheme.eq_ignore_ascii_case("bearer") => {
                self.token.admits(given.trim()).await
            }
            _ => false,
        }
    }

    async fn window(
        &self,
        tasks: &Tasks,
        name: WindowName,
        request: Request<Body>,
    ) -> Response<Body> {
        match *request.method() {
            Method::GET => windows::show(&self.windows, &self.events, &name),
            Method::PUT => windows::deploy(tasks, self.windows.clone(), name, request).await,
            Method::DELETE => {
                let query = request.uri().query().unwrap_or_default();
                windows::change(tasks, &self.windows, name, windows::Verb::remove(query)).await
            }
            _ => reply::method_not_allowed("GET, PUT, DELETE"),
        }
    }

    async fn limits(
        &self,
        tasks: &Tasks,
        name: WindowName,
        request: Request<Body>,
    ) -> Response<Body> {
        match *request.method() {
            Method::GET => limits::show(&self.windows, &name),
            Method::PATCH => limits::change(tasks, &self.windows, name, request.into_body()).await,
            _ => reply::method_not_allowed("GET, PATCH"),
        }
    }

    async fn grants(
        &self,
        tasks: &Tasks,
        name: WindowName,
        request: Request<Body>,
    ) -> Response<Body> {
        match *request.method() {
            Method::GET => grants::show(&self.grants, &self.windows, &name),
            Method::PUT => {
                let (head, body) = request.into_parts();
                let query = head.uri.query().unwrap_or_default();
                grants::put(tasks, &self.grants, &self.windows, name, query, body).await
            }
            Method::DELETE => grants::remove(tasks, &self.grants, name).await,
            _ => reply::method_not_allowed("GET, PUT, DELETE"),
        }
    }

    async fn store(
        &self,
        name: &WindowName,
        rest: &[&str],
        method: &Method,
        query: &str,
    ) -> Response<Body> {
        match rest {
            [] if method == Method::GET => store::keys(&self.windows, name, query).await,
            ["value"] if method == Method::GET => store::value(&self.windows, name, query).await,
            ["buckets"] if method == Method::GET => {
                store::buckets(&self.windows, name, query).await
            }
            [] | ["value" | "buckets"] => reply::method_not_allowed("GET"),
            _ => not_found(),
        }
    }

    /// The paths below `/windows/NAME/` that are about events: what is behind `part` is `rest`.
    async fn of_events(
        &self,
        tasks: &Tasks,
        name: WindowName,
        part: &str,
        rest: &[&str],
        request: Request<Body>,
    ) -> Response<Body> {
        let (method, query) = (request.method(), request.uri().query().unwrap_or_default());
        let (events, windows) = (&self.events, &self.windows);
        let of = |sub: &str| events::Of {
            window: name.clone(),
            name: sub.to_owned(),
        };
        let (get, post, delete) = (
            method == Method::GET,
            method == Method::POST,
            method == Method::DELETE,
        );
        match (part, rest) {
            ("events", []) if get => {
                events::list(events, windows, &self.shutdown, &name, query).await
            }
            ("events", [sequence]) if get => events::show(events, windows, &name, sequence).await,
            ("events", [] | [_]) => reply::method_not_allowed("GET"),
            ("subscriptions", [sub]) if get => events::subscription(events, &name, sub),
            ("subscriptions", [_]) => reply::method_not_allowed("GET"),
            ("subscriptions", [sub, "parked"]) if delete => {
                events::all_parked(tasks, events, Parked::Drop, of(sub)).await
            }
            ("subscriptions", [sub, "parked", "retry"]) if post => {
                events::all_parked(tasks, events, Parked::Retry, of(sub)).await
            }
            ("subscriptions", [_, "parked", "retry"]) => reply::method_not_allowed("POST"),
            ("subscriptions", [sub, "parked", event]) if delete => {
                events::one_parked(tasks, events, Parked::Drop, of(sub), event).await
            }
            ("subscriptions", [_, "parked"] | [_, "parked", _]) => {
                reply::method_not_allowed("DELETE")
            }
            ("subscriptions", [sub, "parked", event, "retry"]) if post => {
                events::one_parked(tasks, events, Parked::Retry, of(sub), event).await
            }
            ("subscriptions", [sub, verb @ ("pause" | "resume" | "replay")]) if post => {
                let body = request.into_body();
                events::change(tasks, events, name, sub, verb, body).await
            }
            ("schedules", [schedule, "run"]) if post => {
                events::run(tasks, events, name, schedule).await
            }
            ("subscriptions", [_, "pause" | "resume" | "replay"] | [_, "parked", _, "retry"])
            | ("schedules", [_, "run"]) => reply::method_not_allowed("POST"),
            _ => not_found(),
        }
    }

    async fn verb(
        &self,
        tasks: &Tasks,
        name: WindowName,
        verb: &str,
        method: &Method,
        query: &str,
    ) -> Response<Body> {
        if verb == "log" {
            return match *method {
                Method::GET => windows::log(&self.windows, &name),
                _ => reply::method_not_allowed("GET"),
            };
        }
        match windows::Verb::read(verb, query) {
            None => not_found(),
            Some(_) if *method != Method::POST => reply::method_not_allowed("POST"),
            Some(verb) => windows::change(tasks, &self.windows, name, verb).await,
        }
    }
}

fn segments(path: &str) -> Vec<&str> {
    path.trim_start_matches('/').split('/').collect()
}

fn busy() -> Response<Body> {
    let detail = "the admin API has too many requests in flight: try again shortly";
    reply::refuse(StatusCode::SERVICE_UNAVAILABLE, "admin-busy", detail)
}

/// Whether a request may wait long, for a disk, a compiler, its client or the next event. Other
/// requests that look, close or remove something do not.
fn gives(method: &Method, segments: &[&str], query: &str) -> bool {
    match (method, segments) {
        (_, ["backup"]) => true,
        (_, ["windows", _, "store", ..]) => true,
        (_, ["windows", _, "events"]) if query.contains("follow") => true,
        (&Method::GET | &Method::HEAD | &Method::DELETE, _) => false,
        (_, ["windows", _, "stop" | "abort"]) => false,
        (_, ["windows", _, "subscriptions", _, "pause"]) => false,
        _ => true,
    }
}

fn not_found() -> Response<Body> {
    let detail = "not found; the paths of the admin API are /windows, /windows/NAME, \
                  /windows/NAME/start|stop|rollback|canary|promote|abort|log|limits|grants|events|store, \
                  /windows/NAME/store/value|buckets, \
                  /windows/NAME/events/SEQUENCE, /windows/NAME/subscriptions/SUB, \
                  /windows/NAME/subscriptions/SUB/pause|resume|replay|parked, \
                  /windows/NAME/subscriptions/SUB/parked/retry|EVENT, \
                  /windows/NAME/subscriptions/SUB/parked/EVENT/retry, \
                  /windows/NAME/schedules/SCHEDULE/run, /subscriptions, /parked, /schedules, \
                  /grants, /requests, /requests/ID, /routes, /routes/NAME, /keys, /keys/ID, /backup, /healthz, /readyz and /metrics";
    reply::refuse(StatusCode::NOT_FOUND, "not-found", detail)
}
