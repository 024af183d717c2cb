//! `idempotency`: a POST or PATCH that is sent again with its `Idempotency-Key` is done once, and answered as the first
//! time (draft-ietf-httpapi-idempotency-key-header-07).
//!
//! The life of a key: `key` reads it and says whose it is -> a record "begun" is durable in the `ledger` before the upstream
//! is asked -> the request runs in a task of its own (`run`), which goes on when its client goes away -> its answer is
//! read whole, made durable, and only then sent. Whoever comes with the key meanwhile is told to wait, and later
//! gets the kept answer. After a crash the record still says "begun": then nobody knows, and that is what is said.
//!
//! A key is free again where the upstream surely did nothing ([`crate::error::Error::never_ran`]).

mod budget;
mod key;
mod ledger;
mod record;
mod rest;
mod run;
#[cfg(test)]
mod tests;

use crate::body::Body;
use crate::error::Error;
use crate::gateway::manifest::{Field, Kind, Map, Route};
use crate::gateway::upstream::Answer;
use crate::gateway::way::Way;
use crate::store::StoreError;
use budget::{Budget, Held};
use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{Method, Request, header};
use http_body_util::BodyExt;
use key::Digest;
use ledger::Ledger;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// The most that `max-body` may be. 4 MiB: a body is held whole, and kept as one value.
pub const MAX_BODY_BYTES: u64 = 4 << 20;

const DEFAULT_TTL: Duration = Duration::from_secs(24 * 3600);
const DEFAULT_BODY_BYTES: u64 = 1 << 20;

/// Requests with a key at work at once. As many as there are connections to the gateway by default.
const MAX_RUNNING: usize = 4096;

/// Bytes of request bodies, and of answers, that are held at once. 256 MiB each: a payment has some hundred.
const MAX_HELD_BYTES: u64 = 256 << 20;

/// Time from a file that could not be opened to the next try. 1 s, as for the stores of the windows.
const RETRY: Duration = Duration::from_secs(1);

/// Time between two sweeps for expired keys, and between two where there is more to sweep.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
const SWEEP_PAUSE: Duration = Duration::from_millis(50);

pub const FIELDS: &[Field] = &[
    Field {
        name: "ttl",
        kind: Kind::Time(1_000..=24 * 3600 * 1000),
        doc: "How long an answer is kept and sent again, as 60m or 1h. Default: a day, 24h.",
    },
    Field {
        name: "required",
        kind: Kind::Flag,
        doc: "Whether a POST or PATCH without the header is refused with 400. Default: false.",
    },
    Field {
        name: "max-body",
        kind: Kind::Size(1..=MAX_BODY_BYTES),
        doc: "Bytes of a request body with a key, beyond which it is refused with 413, and of an answer that is kept. Default: 1MiB.",
    },
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    ttl: Duration,
    required: bool,
    max_body: u64,
}

impl Rule {
    pub fn read(map: &Map<'_>) -> Rule {
        Rule {
            ttl: map.time("ttl").unwrap_or(DEFAULT_TTL),
            required: map.flag("required").unwrap_or(false),
            max_body: map.size("max-body").unwrap_or(DEFAULT_BODY_BYTES),
        }
    }
}

/// A request with a key on a route that heeds it.
pub struct Keyed {
    rule: Rule,
    /// Whose key it is, in hex.
    scope: String,
    content_type: Vec<u8>,
}

impl Keyed {
    /// Nothing where the route or the method has no use for a key, or there is none.
    ///
    /// # Errors
    ///
    /// Where the key is broken, or missing and required.
    pub fn read(
        route: &Route,
        parts: &Parts,
        user: Option<&str>,
        client: IpAddr,
    ) -> Result<Option<Keyed>, Error> {
        let Some(rule) = &route.rules.idempotency else {
            return Ok(None);
        };
        // The others are idempotent as they are (RFC 9110 section 9.2.2).
        if ![Method::POST, Method::PATCH].contains(&parts.method) {
            return Ok(None);
        }
        let Some(key) = key::read(&parts.headers)? else {
            return match rule.required {
                true => Err(Error::IdempotencyKeyMissing),
                false => Ok(None),
            };
        };
        let content_type = parts.headers.get(header::CONTENT_TYPE);
        Ok(Some(Keyed {
            rule: rule.clone(),
            scope: key::scope(&route.name, user, client, &key).hex(),
            content_type: content_type.map_or_else(Vec::new, |kind| kind.as_bytes().to_vec()),
        }))
    }

    /// The most bytes of the request's body.
    pub fn max_body(&self) -> u64 {
        self.rule.max_body
    }
}

/// The keys of all routes.
pub struct Idempotency {
    path: Option<PathBuf>,
    /// Bytes of all keys and answers from which on no new key is taken.
    full_bytes: u64,
    ledger: OnceLock<Arc<Ledger>>,
    /// Held while the file is opened; until when it is not tried again.
    opening: tokio::sync::Mutex<Option<Instant>>,
    /// Requests at work in this process, by the scope of their key, with their fingerprint.
    running: Mutex<HashMap<String, Digest>>,
    tasks: TaskTracker,
    requests: Budget,
    answers: Budget,
}

impl Idempotency {
    /// Nothing is opened before it is needed. From `full_bytes` of keys and answers on no new key is taken.
    pub fn new(path: Option<PathBuf>, full_bytes: u64) -> Self {
        Idempotency {
            path,
            full_bytes,
            ledger: OnceLock::new(),
            opening: tokio::sync::Mutex::default(),
            running: Mutex::default(),
            tasks: TaskTracker::new(),
            requests: Budget::new(MAX_HELD_BYTES),
            answers: Budget::new(MAX_HELD_BYTES),
        }
    }

    /// Has `request` done along `way`, unless it was; answers either way. What is begun goes on when this is dropped.
    ///
    /// # Errors
    ///
    /// Why it is not done, or what came of it.
    pub async fn pass(
        self: &Arc<Self>,
        keyed: Keyed,
        way: Arc<Way>,
        request: Request<Body>,
    ) -> Result<Answer, Error> {
        let (parts, body) = request.into_parts();
        let (body, held) = self.read_request(body).await?;
        let target = (way.target.path(), way.target.query());
        let method = parts.method.as_str();
        let fingerprint = key::fingerprint(method, target, &keyed.content_type, &body);
        let request = Request::from_parts(parts, held.body(body));
        let this = self.clone();
        let task = async move { this.run(keyed, fingerprint, way, request).await };
        // Dropping the handle lets the task go on.
        let task = self.tasks.spawn(task);
        task.await
            .unwrap_or_else(|error| Err(Error::internal(error)))
    }

    /// Reads a body whole. Its size is bounded already.
    async fn read_request(&self, mut body: Body) -> Result<(Bytes, Held), Error> {
        let mut held = self.requests.hold();
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Error::BadRequest(error.to_string()))?;
            let data = frame.into_data().unwrap_or_default();
            if !held.grow(data.len()) {
                return Err(Error::IdempotencyFull);
            }
            whole.extend_from_slice(&data);
        }
        Ok((whole.freeze(), held))
    }

    /// Waits until `deadline` for the requests at work whose clients are gone. What then still runs is unknown after the
    /// next start.
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
    }

    /// The open file; opens it where that is needed.
    async fn ledger(&self) -> Result<Arc<Ledger>, Error> {
        if let Some(ledger) = self.ledger.get() {
            return Ok(ledger.clone());
        }
        let mut not_before = self.opening.lock().await;
        if let Some(ledger) = self.ledger.get() {
            return Ok(ledger.clone());
        }
        if not_before.is_some_and(|until| Instant::now() < until) {
            return Err(Error::IdempotencyUnavailable);
        }
        let Some(path) = self.path.clone() else {
            return Err(Error::IdempotencyUnavailable);
        };
        let full_bytes = self.full_bytes;
        let opened = tokio::task::spawn_blocking(move || Ledger::open(path, full_bytes)).await;
        match opened.unwrap_or(Err(StoreError::Closed)) {
            Ok(ledger) => {
                let ledger = self.ledger.get_or_init(|| Arc::new(ledger)).clone();
                tokio::spawn(sweep(Arc::downgrade(&ledger)));
                Ok(ledger)
            }
            Err(error) => {
                // The sentence says which file, why, and what to do.
                tracing::error!("routes with idempotency keys answer 503: {error}");
                *not_before = Some(Instant::now() + RETRY);
                Err(Error::IdempotencyUnavailable)
            }
        }
    }
}

/// Removes expired keys for as long as the ledger is in use.
async fn sweep(ledger: std::sync::Weak<Ledger>) {
    let mut pause = SWEEP_PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        let Some(ledger) = ledger.upgrade() else {
            return;
        };
        pause = match ledger.sweep(ledger::now_ms()).await {
            Ok(true) => SWEEP_PAUSE,
            Ok(false) => SWEEP_EVERY,
            Err(error) => {
                tracing::warn!(%error, "expired idempotency keys cannot be removed just now");
                SWEEP_EVERY
            }
        };
    }
}

/// What clients are told of a failure of the file.
fn told(error: StoreError) -> Error {
    if let StoreError::StoreFull { .. } = error {
        return Error::IdempotencyFull;
    }
    tracing::warn!(%error, "the file of idempotency keys");
    Error::IdempotencyUnavailable
}

// What this guards is whole at every moment, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
