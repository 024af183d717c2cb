//! One delivery, from its place to its line in the log.

use super::Subscriber;
use crate::binding::{self, Which};
use crate::flow::{Origin, Ref};
use crate::limits::{ANSWER_BYTES, PAGE_BYTES};
use crate::outcome::{self, Verdict};
use crate::records::of_payload;
use hms_core::body::Body;
use hms_core::call::{Asker, Delivery, WindowCall};
use hms_core::error::RequestError;
use hms_core::headers::{REQUEST_ID, TRACEPARENT};
use hms_core::outgoing::{CallChain, OnBehalf, RequestedTimeouts};
use hms_core::trace::{Outline, SpanLog, Spans, TraceContext, What};
use hms_disk::crash;
use hms_grants::subscription::DeliverTo;
use hms_store::{StoreError, StoredEvent};
use hms_telemetry::trace::Inbound;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::Instant;

/// What came of a delivery.
pub(super) struct DeliveryOutcome {
    pub verdict: Verdict,
    /// The status of the answer.
    pub status: Option<u16>,
    pub release: Option<u64>,
    /// A sentence; none where it is done.
    pub why: String,
}

impl DeliveryOutcome {
    fn new(verdict: Verdict, why: impl Into<String>) -> Self {
        DeliveryOutcome {
            verdict,
            status: None,
            release: None,
            why: why.into(),
        }
    }
}

/// A delivery that has begun. Dropped before it is settled, nobody knows what came of it: the event
/// is delivered again.
struct Flight {
    subscriber: Arc<Subscriber>,
    at: Option<Ref>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(at) = self.at.take() {
            self.subscriber.inner.lock().flow.put_back(at);
            self.subscriber.wake.notify_one();
        }
    }
}

/// An event to deliver.
pub(super) struct Picked {
    pub source: String,
    pub stored: StoredEvent,
    pub attempt: u32,
    pub round: u64,
}

impl Subscriber {
    /// Delivers the event that was taken from the flow.
    pub(super) async fn fly(self: Arc<Self>, at: Ref) {
        let mut flight = Flight {
            subscriber: self.clone(),
            at: Some(at),
        };
        let place = self.shared.places.enter(&self.window);
        let Some(_place) = self.cancel.run_until_cancelled(place).await else {
            return;
        };
        let picked = match self.picked(at).await {
            Ok(Some(picked)) => picked,
            Ok(None) => {
                flight.at = None;
                self.is_gone(at);
                return;
            }
            Err(error) => {
                let (window, subscription) = (&*self.window, &*self.id.name);
                tracing::debug!(window, subscription, "cannot read an event: {error}");
                flight.at = None;
                self.not_tried(at);
                return;
            }
        };
        let begun = Instant::now();
        let outcome = self.deliver(&picked).await;
        flight.at = None;
        self.log(&picked, &outcome, begun);
        if outcome.verdict == Verdict::Done {
            crash::point("delivered");
        }
        self.settle(at, &picked, outcome);
    }

    /// The event with its payload. None if it is not there any more.
    async fn picked(&self, at: Ref) -> Result<Option<Picked>, StoreError> {
        let (source, id, tries, round) = {
            let inner = self.inner.lock();
            let Some(cursor) = inner.cursors.get(at.source) else {
                return Ok(None);
            };
            let (id, round) = match inner.again.get(&at) {
                Some(again) => (Some(again.id.clone()), again.round),
                None => (None, cursor.record.round(at.sequence)),
            };
            (cursor.source.clone(), id, inner.flow.tries(at), round)
        };
        let stored = match (at.origin, id) {
            (Origin::Log, _) => {
                let Some(store) = self.shared.logs.store(&source).await? else {
                    return Ok(None);
                };
                let page = store.events(at.sequence - 1, 1, PAGE_BYTES).await?;
                let mut events = page.events.into_iter();
                events.find(|stored| stored.sequence == at.sequence)
            }
            (Origin::Parked, Some(id)) => {
                let (state, payloads) = (&self.shared.state, self.id.payloads());
                let mut bytes = state.get_bytes(&payloads, &id).await?;
                if bytes.is_none() {
                    // It was parked a moment ago.
                    state.flush().await?;
                    bytes = state.get_bytes(&payloads, &id).await?;
                }
                bytes.as_deref().and_then(of_payload)
            }
            (Origin::Parked, None) => None,
        };
        Ok(stored.map(|stored| Picked {
            source,
            stored,
            attempt: tries.count.saturating_add(1),
            round,
        }))
    }

    async fn deliver(&self, picked: &Picked) -> DeliveryOutcome {
        let to = match &self.spec.to {
            DeliverTo::Path(path) => format!("http://hms-svc-{}{path}", self.window),
            DeliverTo::Service(url) => url.clone(),
        };
        let Ok(to) = Uri::try_from(to) else {
            return DeliveryOutcome::new(Verdict::Rejected, "its target is not a URI");
        };
        let which = Which {
            subscription: &self.id.name,
            attempt: picked.attempt,
            round: picked.round,
        };
        let request =
            binding::request(to, which, &picked.source, &picked.stored, self.spec.content);
        let mut request = match request {
            Ok(request) => request,
            Err(why) => return DeliveryOutcome::new(Verdict::Rejected, why),
        };
        let (log, mut outline) = self.trace(picked, &mut request);
        let spans = Spans::of(log.clone());
        let outcome = match &self.spec.to {
            DeliverTo::Path(_) => self.to_window(picked, request, spans).await,
            DeliverTo::Service(_) => self.to_service(request, spans).await,
        };
        outline.release = outcome.release;
        outline.status = outcome.status.unwrap_or(0);
        outline.error = (outcome.verdict != Verdict::Done).then(|| outcome.verdict.name());
        self.shared.tracer.finish(log, outline);
        outcome
    }

    /// Begins the trace of a delivery, which goes on with that of the request that emitted the
    /// event.
    fn trace(&self, picked: &Picked, request: &mut Request<Body>) -> (Arc<SpanLog>, Outline) {
        let request_id = request.headers().get(REQUEST_ID);
        let request_id = request_id.and_then(|id| id.to_str().ok());
        let request_id = request_id.unwrap_or_default().to_owned();
        let above = picked.stored.event.traceparent.as_deref();
        let above = above.and_then(TraceContext::parse);
        let log = self.shared.tracer.begin(above.map(|context| Inbound {
            context,
            trusted: true,
        }));
        if let Ok(below) = HeaderValue::try_from(log.start().context.to_string()) {
            request.headers_mut().insert(TRACEPARENT, below);
        }
        let uri = request.uri();
        let window = matches!(self.spec.to, DeliverTo::Path(_));
        let outline = Outline {
            what: What::Delivery,
            request_id,
            method: request.method().clone(),
            scheme: "",
            route: Some(self.id.name.as_str().into()),
            path: uri.path().to_owned(),
            upstream: match window {
                true => Some(self.window.to_string()),
                false => uri.host().map(str::to_owned),
            },
            window,
            release: None,
            status: 0,
            error: None,
            head: None,
        };
        (log, outline)
    }

    async fn to_window(
        &self,
        picked: &Picked,
        request: Request<Body>,
        spans: Spans,
    ) -> DeliveryOutcome {
        let key = self.key(&picked.stored).unwrap_or(&picked.stored.id);
        let call = WindowCall {
            from: Some(Box::new(Asker::Delivery(Delivery {
                group: format!("{}\n{key}", picked.source).into(),
            }))),
            spans,
            ..WindowCall::of_client(request)
        };
        let answer = self.shared.windows.call(&self.window, call).await;
        let outcome = match answer.outcome {
            Ok(response) => answered(response).await,
            Err(error) => failed(&error),
        };
        DeliveryOutcome {
            release: answer.release,
            ..outcome
        }
    }

    async fn to_service(&self, request: Request<Body>, spans: Spans) -> DeliveryOutcome {
        let Some(outgoing) = &self.shared.outgoing else {
            return DeliveryOutcome::new(Verdict::NotTried, "the host calls no services");
        };
        let headers = request.headers();
        let (request_id, traceparent) = (headers.get(REQUEST_ID), headers.get(TRACEPARENT));
        let from = OnBehalf {
            window: self.window.clone(),
            release: 0,
            request_id: request_id.cloned(),
            traceparent: traceparent.cloned(),
            user: None,
            scopes: None,
            deadline: None,
            begin_by: None,
            calls: Arc::default(),
            chain: CallChain::default(),
            spans,
        };
        match outgoing
            .send(from, request, RequestedTimeouts::default())
            .await
        {
            Ok(response) => answered(response).await,
            Err(error) => DeliveryOutcome::new(outcome::of_call(&error), error.to_string()),
        }
    }

    fn log(&self, picked: &Picked, outcome: &DeliveryOutcome, begun: Instant) {
        let verdict = outcome.verdict.name();
        self.shared.metrics.attempt(&self.id, verdict);
        tracing::info!(
            target: "delivery",
            window = &*self.window,
            subscription = &*self.id.name,
            source = picked.source.as_str(),
            sequence = picked.stored.sequence,
            "type" = picked.stored.event.kind.as_str(),
            event = picked.stored.id.as_str(),
            attempt = picked.attempt,
            round = picked.round,
            release = outcome.release,
            status = outcome.status,
            duration_ms = begun.elapsed().as_micros() as f64 / 1000.0,
            outcome = verdict,
            cause = Some(&*outcome.why).filter(|why| !why.is_empty()),
        );
    }
}

/// Reads the answer, so that whatever is behind it ends as usual. More than [`ANSWER_BYTES`] are
/// nobody's: the answer is dropped there.
async fn answered(response: Response<Body>) -> DeliveryOutcome {
    let (head, mut body) = response.into_parts();
    let mut left = ANSWER_BYTES;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => {
                let bytes = frame.data_ref().map_or(0, bytes::Bytes::len);
                match left.checked_sub(bytes) {
                    Some(rest) => left = rest,
                    None => break,
                }
            }
            Err(error) => {
                let failed = match error.downcast_ref::<RequestError>() {
                    Some(error) => failed(error),
                    None => DeliveryOutcome::new(Verdict::Again(None), "its answer broke off"),
                };
                return DeliveryOutcome {
                    status: Some(head.status.as_u16()),
                    ..failed
                };
            }
        }
    }
    let verdict = outcome::of_answer(head.status, &head.headers);
    let why = match verdict {
        Verdict::Done => String::new(),
        _ => format!("it was answered with status {}", head.status.as_u16()),
    };
    DeliveryOutcome {
        status: Some(head.status.as_u16()),
        ..DeliveryOutcome::new(verdict, why)
    }
}

fn failed(error: &RequestError) -> DeliveryOutcome {
    let why = format!("{}: {}", error.code(), error.in_full());
    DeliveryOutcome {
        status: Some(error.status().as_u16()),
        ..DeliveryOutcome::new(outcome::of_failure(error), why)
    }
}
