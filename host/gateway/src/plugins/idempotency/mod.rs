//! `idempotency`: a POST or PATCH that is repeated with its `Idempotency-Key` is done once, and
//! answered like the first time (draft-ietf-httpapi-idempotency-key-header-07).
//!
//! The life of a key: `key` reads it and determines its scope -> a "begun" record is durable in the
//! `ledger` before the upstream is asked -> the request runs in its own task (`run`), which
//! continues if its client disconnects -> its answer is read whole, made durable, and only then
//! sent. A request with the same key is told to wait meanwhile, and later gets the stored answer.
//! After a crash the record still says "begun": the outcome is unknown, and the answer says so.
//!
//! A key is free again if the upstream surely did nothing
//! ([`hms_core::error::RequestError::never_ran`]).
//!
//! Space is shared: on disk by the `ledger`, in memory by the [`Budget`]s. Keys expire by the `age`
//! of the file.

mod age;
mod budget;
mod error;
mod key;
mod ledger;
mod plugin;
mod record;
mod rest;
mod run;
#[cfg(test)]
mod tests;

use crate::limits::Limits;
use crate::metrics::{ShareHits, Whose};
use crate::plugins::holder::Holder;
use crate::plugins::{Exchange, Rest};
use crate::request::headers::may_say_who;
use crate::request::rejection::Rejection;
use crate::request::target::Target;
use crate::routes::manifest::{Route, fold};
use crate::upstream::Answer;
use budget::{Budget, Held};
use bytes::{Bytes, BytesMut};
use error::IdempotencyError;
use hms_core::body::Body;
use hms_core::error::{Cause, RequestError};
use hms_manifest::{Field, Kind, Map};
use hms_store::{Scratch, Snapshot, StoreError};
use http::request::Parts;
use http::{HeaderMap, Method, Request, header};
use http_body_util::BodyExt;
use key::{Digest, Owner, Realm};
use ledger::{Ledger, Name};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// The upper bound of `max-body`. 4 MiB: a body is held whole, and stored as one value.
pub const MAX_BODY_BYTES: u64 = 4 << 20;

const DEFAULT_TTL: Duration = Duration::from_secs(24 * 3600);
const DEFAULT_BODY_BYTES: u64 = 1 << 20;

/// Concurrent requests with a key. As many as the default of connections to the gateway.
const MAX_RUNNING: u64 = 4096;

/// Time before the next try to open a file after a failure. 1 s, as for the stores of the windows.
const RETRY: Duration = Duration::from_secs(1);

/// Time between sweeps for expired keys, and between sweeps while more keys are due.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
const SWEEP_PAUSE: Duration = Duration::from_millis(50);

/// Time between saves of the file's age: the most that a crash can take from it.
const SAVE_EVERY: Duration = Duration::from_secs(60);

/// The names of the shares in metrics.
const BODIES: &str = "idempotency-bodies";
const ANSWERS: &str = "idempotency-answers";
const REQUESTS: &str = "idempotency-requests";
const KEYS: &str = "idempotency-keys";

/// Characters of a `scope`.
const MAX_SCOPE_CHARS: usize = 128;

const FIELDS: &[Field] = &[
    Field {
        name: "ttl",
        kind: Kind::Time(1_000..=24 * 3600 * 1000),
        doc: "How long an answer is stored and repeated, such as 60m or 1h. Default: 24h.",
    },
    Field {
        name: "required",
        kind: Kind::Flag,
        doc: "Whether a POST or PATCH without the header is refused with 400. Default: false.",
    },
    Field {
        name: "max-body",
        kind: Kind::Size(1..=MAX_BODY_BYTES),
        doc: "The largest request body with a key, beyond which it is refused with 413, and the largest answer that is stored. Default: 1MiB.",
    },
    Field {
        name: "scope",
        kind: Kind::Text("payments"),
        doc: "Routes with the same scope share their keys. Default: keys belong to the route's 'uri' and, if it has 'hosts', to the requested host.",
    },
];

/// The settings of one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    ttl: Duration,
    required: bool,
    max_body: u64,
    scope: Option<String>,
}

impl Rule {
    fn parse(map: &Map<'_>) -> Rule {
        Rule {
            ttl: map.time("ttl").unwrap_or(DEFAULT_TTL),
            required: map.flag("required").unwrap_or(false),
            max_body: map.size("max-body").unwrap_or(DEFAULT_BODY_BYTES),
            scope: map.parsed("scope", parse_scope),
        }
    }
}

fn parse_scope(text: &str) -> Result<String, String> {
    let fits = (1..=MAX_SCOPE_CHARS).contains(&text.len());
    if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "a scope is a text of 1 to {MAX_SCOPE_CHARS} visible ASCII characters, as 'payments'"
    ))
}

/// A request with a key, on a route with `idempotency`.
pub struct IdempotentRequest {
    rule: Rule,
    /// The scope of the key, in hex.
    scope: String,
    /// Whom it is charged to.
    owner: Owner,
    /// The fields that must be equal in two requests with one key.
    fields: Vec<u8>,
}

impl IdempotentRequest {
    /// None if the method needs no key, or there is none.
    ///
    /// # Errors
    ///
    /// If the key is invalid, or missing and required.
    fn read(
        rule: &Rule,
        route: &Route,
        target: &Target,
        parts: &Parts,
        user: Option<&str>,
        client: IpAddr,
    ) -> Result<Option<IdempotentRequest>, RequestError> {
        // All other methods are idempotent (RFC 9110 section 9.2.2).
        if ![Method::POST, Method::PATCH].contains(&parts.method) {
            return Ok(None);
        }
        let Some(key) = key::read(&parts.headers)? else {
            return match rule.required {
                true => Err(IdempotencyError::KeyMissing.into()),
                false => Ok(None),
            };
        };
        let uri = route.uri.shape();
        // If the route names no hosts, it is the same resource under all of them.
        let host = target.authority().filter(|_| !route.hosts.is_empty());
        let host = host.map(|host| fold(host.host())).unwrap_or_default();
        let realm = match &rule.scope {
            Some(name) => Realm::Named(name),
            None => Realm::Resource {
                uri: &uri,
                host: &host,
            },
        };
        Ok(Some(IdempotentRequest {
            rule: rule.clone(),
            scope: key::scope(realm, user, client, &key).hex(),
            owner: Owner::of(&Holder::of(user, client)),
            fields: fields(&parts.headers, user.is_none()),
        }))
    }

    fn name(&self) -> Name<'_> {
        Name {
            scope: &self.scope,
            owner: self.owner,
        }
    }
}

/// The content type. Also the credentials, if only the upstream reads them: a client that shares an
/// address with another must not get an answer that the upstream would refuse it. Cookies are
/// included, because most sessions are in one. No value contains the separator byte.
fn fields(headers: &HeaderMap, with_credentials: bool) -> Vec<u8> {
    let kind = headers.get(header::CONTENT_TYPE);
    let mut all = kind.map_or_else(Vec::new, |kind| kind.as_bytes().to_vec());
    if with_credentials {
        let shown = headers.iter().filter(|(name, _)| may_say_who(name));
        let shown = shown.map(|(name, value)| [name.as_ref(), value.as_bytes()]);
        let mut shown: Vec<[&[u8]; 2]> = shown.collect();
        shown.sort();
        for part in shown.as_flattened() {
            all.push(0);
            all.extend_from_slice(part);
        }
    }
    all
}

/// The keys of all routes.
pub struct Idempotency {
    path: Option<PathBuf>,
    /// Bytes of all keys and answers beyond which no new key is accepted.
    full_bytes: u64,
    ledger: OnceLock<Arc<Ledger>>,
    /// Locked while the file is opened. Until when the next try is delayed.
    opening: tokio::sync::Mutex<Option<Instant>>,
    /// Requests in flight in this process, by the scope of their key, with their fingerprint.
    running: Mutex<HashMap<String, Digest>>,
    tasks: TaskTracker,
    places: Budget,
    requests: Budget,
    answers: Budget,
    /// Time for the whole of a request's body.
    body_time: Duration,
    hits: ShareHits,
}

impl Idempotency {
    /// Opens nothing before it is needed. `hits` counts how often a share was used up.
    pub fn new(path: Option<PathBuf>, limits: &Limits, hits: &ShareHits) -> Self {
        let budget = |limit, of| Budget::new(limit, of, hits.clone());
        Idempotency {
            path,
            full_bytes: limits.max_idempotency_bytes,
            ledger: OnceLock::new(),
            opening: tokio::sync::Mutex::default(),
            running: Mutex::default(),
            tasks: TaskTracker::new(),
            places: budget(MAX_RUNNING, REQUESTS),
            requests: budget(limits.max_idempotency_held_bytes, BODIES),
            answers: budget(limits.max_idempotency_held_bytes, ANSWERS),
            body_time: limits.idempotency_body_time,
            hits: hits.clone(),
        }
    }

    /// Has `R` do `request`, unless it was done before; answers either way. A request that has
    /// begun continues if this future is dropped.
    ///
    /// # Errors
    ///
    /// Why it is not done, or its failure.
    async fn once<R: Rest>(
        self: &Arc<Self>,
        idempotent: Arc<IdempotentRequest>,
        exchange: Arc<Exchange>,
        request: Request<Body>,
    ) -> Result<Answer, RequestError> {
        let (parts, body) = request.into_parts();
        let (body, held) = self.read_in_time(idempotent.owner, body).await?;
        let target = (exchange.target.path(), exchange.target.query());
        let method = parts.method.as_str();
        let fingerprint = key::fingerprint(method, target, &idempotent.fields, &body);
        let request = Request::from_parts(parts, held.body(body));
        let this = self.clone();
        let run = this.run::<R>(idempotent, fingerprint, exchange, request);
        // Dropping the handle does not stop the task.
        let task = self.tasks.spawn(run);
        task.await
            .unwrap_or_else(|error| Err(RequestError::internal(error)))
    }

    /// Reads a body whole, within its time limit. Its size and rate are bounded already, but it is
    /// held in memory, where a body at the least rate would stay for hours.
    async fn read_in_time(&self, owner: Owner, body: Body) -> Result<(Bytes, Held), RequestError> {
        let read = self.read_request(owner, body);
        match tokio::time::timeout(self.body_time, read).await {
            Ok(read) => read,
            Err(_) => {
                let limit = self.body_time;
                Err(Rejection::BodyOvertime { limit }.into())
            }
        }
    }

    async fn read_request(
        &self,
        owner: Owner,
        mut body: Body,
    ) -> Result<(Bytes, Held), RequestError> {
        let mut held = self.requests.hold(owner);
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Rejection::BodyBroken(Cause::of(error)))?;
            let data = frame.into_data().unwrap_or_default();
            held.grow(data.len())
                .map_err(|whose| full(whose, "request bodies"))?;
            whole.extend_from_slice(&data);
        }
        Ok((whole.freeze(), held))
    }

    /// Waits until `deadline` for requests in flight whose clients are gone. The outcome of those
    /// still running is unknown after the next start.
    pub async fn finish(&self, deadline: Instant) {
        self.tasks.close();
        if tokio::time::timeout_at(deadline, self.tasks.wait())
            .await
            .is_err()
        {
            let count = self.tasks.len();
            tracing::warn!(
                count,
                "requests with idempotency keys still run after the drain; their outcome is unknown"
            );
        }
        if let Some(ledger) = self.ledger.get() {
            save_age(ledger).await;
        }
    }

    /// A copy of the file, with its current age; None if there is none yet. Blocks, on a thread of
    /// `runtime` that may block.
    ///
    /// # Errors
    ///
    /// Why there is no copy, as a sentence.
    pub fn snapshot(
        self: &Arc<Self>,
        runtime: &Handle,
        scratch: &mut Scratch<'_>,
    ) -> Result<Option<Snapshot>, String> {
        let is_there = self.path.as_ref().is_some_and(|path| path.exists());
        if self.ledger.get().is_none() && !is_there {
            return Ok(None);
        }
        let ledger = runtime.block_on(self.ledger());
        let ledger = ledger.map_err(|_| "it cannot be opened: the host's log says why")?;
        // No key may be older than the age that goes with it.
        runtime.block_on(save_age(&ledger));
        let made = ledger.snapshot(scratch);
        made.map(Some).map_err(|error| error.to_string())
    }

    /// The open file. Opens it if necessary.
    async fn ledger(self: &Arc<Self>) -> Result<Arc<Ledger>, IdempotencyError> {
        if let Some(ledger) = self.ledger.get() {
            return Ok(ledger.clone());
        }
        let mut not_before = self.opening.lock().await;
        if let Some(ledger) = self.ledger.get() {
            return Ok(ledger.clone());
        }
        if not_before.is_some_and(|until| Instant::now() < until) {
            return Err(IdempotencyError::Unavailable);
        }
        let Some(path) = self.path.clone() else {
            return Err(IdempotencyError::Unavailable);
        };
        let full_bytes = self.full_bytes;
        let opened = tokio::task::spawn_blocking(move || Ledger::open(path, full_bytes)).await;
        match opened.unwrap_or(Err(StoreError::Closed)) {
            Ok(ledger) => {
                // A key must not be older than the age that is kept.
                save_age(&ledger).await;
                let ledger = self.ledger.get_or_init(|| Arc::new(ledger)).clone();
                tokio::spawn(sweep(Arc::downgrade(self)));
                Ok(ledger)
            }
            Err(error) => {
                // The sentence says which file, why, and what to do.
                tracing::error!("routes with idempotency keys answer 503: {error}");
                *not_before = Some(Instant::now() + RETRY);
                Err(IdempotencyError::Unavailable)
            }
        }
    }
}

/// Removes expired keys as long as the file is in use, and saves its age.
async fn sweep(all: Weak<Idempotency>) {
    let (mut due, mut holders) = (None, Some(None));
    let mut saved = Instant::now();
    let mut pause = SWEEP_PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        let Some(all) = all.upgrade() else {
            return;
        };
        let Some(ledger) = all.ledger.get() else {
            return;
        };
        let at_work = |scope: &str| all.running.lock().contains_key(scope);
        let swept = ledger.sweep(ledger.now_ms(), due.take(), at_work).await;
        pause = SWEEP_EVERY;
        match swept {
            Ok(next) => due = next,
            Err(error) => {
                tracing::warn!(%error, "cannot remove expired idempotency keys now");
            }
        }
        // Once after the start.
        if let Some(after) = holders.take() {
            match ledger.tidy_some(after).await {
                Ok(next) => holders = next.map(Some),
                Err(error) => tracing::warn!(%error, "idempotency file"),
            }
        }
        if due.is_some() || holders.is_some() {
            pause = SWEEP_PAUSE;
        }
        if saved.elapsed() >= SAVE_EVERY {
            saved = Instant::now();
            save_age(ledger).await;
        }
    }
}

async fn save_age(ledger: &Ledger) {
    if let Err(error) = ledger.save_age().await {
        tracing::warn!(%error, "cannot save the age of the idempotency file now");
    }
}

/// The message for clients if a share of `what` is used up.
fn full(whose: Whose, what: &'static str) -> IdempotencyError {
    match whose {
        Whose::Caller => IdempotencyError::Share { what },
        Whose::Route | Whose::Host => IdempotencyError::Full,
    }
}

/// The message for clients if the file fails.
fn client_error(error: StoreError) -> IdempotencyError {
    if let StoreError::StoreFull { .. } = error {
        return IdempotencyError::Full;
    }
    tracing::warn!(%error, "idempotency file");
    IdempotencyError::Unavailable
}
