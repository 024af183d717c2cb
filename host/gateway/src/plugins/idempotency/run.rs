//! One request with a key, in its own task: from reading its record to storing the answer.

use super::budget::Held;
use super::error::IdempotencyError;
use super::key::Digest;
use super::ledger::{Begun, Ledger, StoredRecord};
use super::record::{Record, State, StoredAnswer};
use super::rest::to_the_end;
use super::{Idempotency, IdempotentRequest, KEYS, client_error, full};
use crate::plugins::{Exchange, Rest};
use crate::upstream::{Answer, UpstreamError};
use bytes::BytesMut;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use hms_core::body::{Body, BodyError};
use hms_core::call::WindowAnswer;
use hms_core::error::{Cause, RequestError};
use hms_store::StoreError;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use std::collections::hash_map::Entry;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Set on a repeated answer.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Reads of one record before its request is refused: each read but the last met a concurrent
/// change.
const MAX_LOOKS: usize = 8;

/// The longest pause within an answer, and the longest time for all of it. Windows have shorter
/// limits of their own; without one, a service that stalls would hold its key for ever.
const ANSWER_IDLE: Duration = Duration::from_secs(60);
const ANSWER_TIME: Duration = Duration::from_secs(600);

/// Marks a key as in flight in this process, until it is dropped.
struct Claim {
    all: Arc<Idempotency>,
    scope: String,
    place: Arc<Held>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.all.running.lock().remove(&self.scope);
    }
}

/// What to do with a request.
enum Claimed {
    /// It was done: this is its answer.
    Replay(Box<StoredAnswer>),
    /// It must be done. The record says "begun".
    Ours(Claim, Begun),
}

/// An upstream's answer.
enum Taken {
    Whole(StoredAnswer, Held),
    /// Too large to store: what was read of it, then the rest as it comes, without trailers.
    Larger(Response<Body>),
    /// It only says why the upstream did nothing.
    NeverRan(Response<Body>),
    Failed(RequestError),
}

impl Idempotency {
    pub(super) async fn run<R: Rest>(
        self: Arc<Self>,
        idempotent: Arc<IdempotentRequest>,
        fingerprint: Digest,
        exchange: Arc<Exchange>,
        request: Request<Body>,
    ) -> Result<Answer, RequestError> {
        let ledger = self.ledger().await?;
        let (claim, begun) = match self.begin(&ledger, &idempotent, fingerprint).await? {
            Claimed::Ours(claim, begun) => (claim, begun),
            Claimed::Replay(kept) => {
                let mut held = self.answers.hold(idempotent.owner);
                held.grow(kept.body.len())
                    .map_err(|whose| full(whose, "responses being sent"))?;
                let mut response = kept.response(|body| held.body(body));
                let headers = response.headers_mut();
                headers.insert(REPLAYED, HeaderValue::from_static("true"));
                return Ok(Ok(response).into());
            }
        };
        let work = self.ask::<R>(&idempotent, &claim.place, &exchange, request);
        // A panic may come at any point, so the request counts as run.
        let (taken, release) = AssertUnwindSafe(work)
            .catch_unwind()
            .await
            .unwrap_or_else(|_| {
                let error = RequestError::internal("a panic behind an idempotency key");
                (Err(error), None)
            });
        let record = |state| {
            let expires_ms = ledger
                .now_ms()
                .saturating_add(idempotent.rule.ttl.as_millis() as u64);
            Record::new(fingerprint, expires_ms, state)
        };
        let (state, outcome) = match taken {
            Err(error) if error.never_ran() => (None, Err(error)),
            Ok(Taken::NeverRan(response)) => (None, Ok(response)),
            Ok(Taken::Whole(kept, held)) => {
                let response = kept.clone().response(|body| held.body(body));
                // Concurrent requests may have used up the holder's share. The request was done, so
                // the key stays.
                let state = match ledger.admit(idempotent.owner).await {
                    Ok(Err(whose)) => {
                        self.hits.hit(KEYS, whose);
                        State::NotKept
                    }
                    _ => State::Answered(kept),
                };
                (Some(state), Ok(response))
            }
            Ok(Taken::Larger(response)) => (Some(State::NotKept), Ok(response)),
            Ok(Taken::Failed(error)) | Err(error) => {
                let kept = StoredAnswer::problem(&error, &exchange.trace.request_id);
                (Some(State::Answered(kept)), Err(error))
            }
        };
        let answer = Answer::from(WindowAnswer {
            outcome,
            release,
            edition: None,
        });
        let Some(state) = state else {
            let freed = ledger.free(idempotent.name(), begun).await;
            drop(claim);
            noted(
                freed,
                "a key that could be free stays taken until it expires",
            );
            return Ok(answer);
        };
        let mut finished = ledger
            .finish(idempotent.name(), begun, &record(state))
            .await;
        if let Err(StoreError::StoreFull { .. } | StoreError::ValueTooLarge { .. }) = finished {
            let record = record(State::NotKept);
            finished = ledger.finish(idempotent.name(), begun, &record).await;
        }
        drop(claim);
        // The request was done: its client gets the answer all the same.
        noted(
            finished,
            "an answer could not be stored, so its outcome is unknown to a repeated request",
        );
        Ok(answer)
    }

    /// Claims the key, or says what became of its request.
    async fn begin(
        self: &Arc<Self>,
        ledger: &Ledger,
        idempotent: &IdempotentRequest,
        fingerprint: Digest,
    ) -> Result<Claimed, IdempotencyError> {
        let hex = fingerprint.hex();
        let mut left_behind = None;
        for _ in 0..MAX_LOOKS {
            let now_ms = ledger.now_ms();
            let found = ledger.get(&idempotent.scope).await.map_err(client_error)?;
            let live = |found: &&StoredRecord| found.record.expires_ms > now_ms;
            if let Some(StoredRecord { record, version }) = found.as_ref().filter(live) {
                if record.fingerprint != hex {
                    return Err(IdempotencyError::KeyReused);
                }
                match &record.state {
                    State::Answered(kept) => return Ok(Claimed::Replay(Box::new(kept.clone()))),
                    State::NotKept => return Err(IdempotencyError::AnswerNotKept),
                    State::Begun => {}
                }
                self.check_running(&idempotent.scope, fingerprint)?;
                // Its owner changes the record before the claim ends. An unchanged record has no
                // owner.
                if left_behind == Some(*version) {
                    return Err(IdempotencyError::Unknown);
                }
                left_behind = Some(*version);
                continue;
            }
            let claim = self.claim(idempotent, fingerprint)?;
            if let Err(whose) = ledger.admit(idempotent.owner).await.map_err(client_error)? {
                self.hits.hit(KEYS, whose);
                return Err(full(whose, "stored keys and responses"));
            }
            let expires_ms = now_ms.saturating_add(idempotent.rule.ttl.as_millis() as u64);
            let record = Record::new(fingerprint, expires_ms, State::Begun);
            let begun = ledger.begin(idempotent.name(), &record, found.as_ref());
            if let Some(begun) = begun.await.map_err(client_error)? {
                return Ok(Claimed::Ours(claim, begun));
            }
        }
        Err(IdempotencyError::Running)
    }

    fn check_running(&self, scope: &str, fingerprint: Digest) -> Result<(), IdempotencyError> {
        match self.running.lock().get(scope) {
            Some(running) => Err(taken(*running, fingerprint)),
            None => Ok(()),
        }
    }

    fn claim(
        self: &Arc<Self>,
        idempotent: &IdempotentRequest,
        fingerprint: Digest,
    ) -> Result<Claim, IdempotencyError> {
        let mut running = self.running.lock();
        match running.entry(idempotent.scope.clone()) {
            Entry::Occupied(running) => Err(taken(*running.get(), fingerprint)),
            Entry::Vacant(vacant) => {
                let mut place = self.places.hold(idempotent.owner);
                place
                    .grow(1)
                    .map_err(|whose| full(whose, "requests in progress"))?;
                vacant.insert(fingerprint);
                Ok(Claim {
                    all: self.clone(),
                    scope: idempotent.scope.clone(),
                    place: Arc::new(place),
                })
            }
        }
    }

    /// Calls the upstream. The outer error occurs before the answer began.
    async fn ask<R: Rest>(
        &self,
        idempotent: &IdempotentRequest,
        place: &Arc<Held>,
        exchange: &Arc<Exchange>,
        request: Request<Body>,
    ) -> (Result<Taken, RequestError>, Option<u64>) {
        let answer = match R::run(exchange.clone(), request).await {
            Ok(answer) => answer,
            Err(error) => return (Err(error), None),
        };
        let taken = match answer.outcome {
            // A middleware forwarded the reason for a refusal.
            Ok(response) if exchange.outcome.never_ran(response.status()) => {
                Ok(Taken::NeverRan(response))
            }
            Ok(response) => Ok(self.take(response, idempotent, place).await),
            Err(error) => Err(error),
        };
        (taken, answer.release)
    }

    /// Reads an answer whole, up to `max-body`. The rest of a larger one holds `place` until it has
    /// been read.
    async fn take(
        &self,
        response: Response<Body>,
        idempotent: &IdempotentRequest,
        place: &Arc<Held>,
    ) -> Taken {
        let (head, mut body) = response.into_parts();
        let max = idempotent.rule.max_body;
        let mut held = self.answers.hold(idempotent.owner);
        let mut whole = BytesMut::new();
        let until = Instant::now() + ANSWER_TIME;
        loop {
            let idle = Instant::now() + ANSWER_IDLE;
            let data = match timeout_at(idle.min(until), body.frame()).await {
                Err(_) => {
                    let late = UpstreamError::Timeout { limit: ANSWER_TIME };
                    return Taken::Failed(late.into());
                }
                Ok(None) => return Taken::Whole(StoredAnswer::new(head, whole.freeze()), held),
                Ok(Some(Err(error))) => return Taken::Failed(broken(error)),
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            };
            let has_room = held.grow(data.len()).is_ok();
            if !has_room || (whole.len() + data.len()) as u64 > max {
                let (rest, reading) = to_the_end(body, ANSWER_TIME);
                let place = place.clone();
                self.tasks.spawn(async move {
                    let _place = place;
                    reading.await;
                });
                // The last piece is as large as on any route, and what came before is charged until
                // it is sent.
                let read = [held.bytes(whole.freeze()), data];
                let read = stream::iter(read).map(|data| Ok(Frame::data(data)));
                let body = StreamBody::new(read.chain(rest.into_data_stream().map_ok(Frame::data)));
                let body = body.boxed_unsync();
                return Taken::Larger(Response::from_parts(head, body));
            }
            whole.extend_from_slice(&data);
        }
    }
}

/// The message for a second request with a key.
fn taken(running: Digest, fingerprint: Digest) -> IdempotencyError {
    match running == fingerprint {
        true => IdempotencyError::Running,
        false => IdempotencyError::KeyReused,
    }
}

/// Why an answer broke off. It had begun, so the upstream did something, whatever the reason says.
fn broken(error: BodyError) -> RequestError {
    match error.downcast::<RequestError>() {
        Ok(error) if !error.never_ran() => *error,
        Ok(error) => UpstreamError::Broken(error.in_full().into()).into(),
        Err(error) => UpstreamError::Broken(Cause::of(error)).into(),
    }
}

fn noted(outcome: Result<(), StoreError>, what: &str) {
    if let Err(error) = outcome {
        tracing::error!(%error, "{what}");
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
