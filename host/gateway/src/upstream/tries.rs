//! One request to an upstream with several targets, or with one that may fail: which target, and
//! whether to retry.
//!
//! A request is sent again only if that cannot do a thing twice: it never left, or its method is
//! idempotent (RFC 9110 section 9.2.2); and its body must still be there. Retries also have a
//! budget for each upstream, so that a service that is down is not flooded too.

use super::{Answer, UpgradeRequest, Upstreams};
use crate::request::headers::REQUEST_ID;
use crate::request::target::Target;
use crate::request::upload::Upload;
use crate::routes::ActiveRoute;
use crate::routes::manifest::Endpoint;
use hms_core::body::Body;
use hms_core::error::{Fault, Ran, RequestError};
use hms_core::trace::Spans;
use hms_net::client::{Health, Retained};
use hms_net::connection_limit::Holder;
use http::{Request, Response, StatusCode};
use std::time::{Duration, Instant};

/// Bytes of a request body kept for another try.
const MOST_RETAINED: usize = 64 << 10;

/// Pause before the target that has just failed is tried again; it doubles each time.
const PAUSE: Duration = Duration::from_millis(25);

/// How a request is sent. Its path is already the one for the upstream.
pub struct Sending<'a> {
    /// Whom the request is charged to at services.
    pub holder: Holder,
    pub route: &'a ActiveRoute,
    pub target: &'a Target,
    /// The progress of the request's body.
    pub upload: &'a Upload,
    /// The WebSocket that the client asks for.
    pub upgrade: Option<&'a UpgradeRequest>,
    /// How long an answer may pause once it has begun, if the route says so.
    pub stream_idle: Option<Duration>,
    /// How long the answer may take to begin, if the route says so.
    pub response: Option<Duration>,
    /// Whether the client accepts trailers.
    pub trailers: bool,
    /// Where the parts of its work are noted.
    pub spans: &'a Spans,
}

/// The result of one try.
#[derive(Debug, PartialEq, Eq)]
enum TryOutcome {
    Answered,
    /// Not a failure of the target.
    NotIts,
    /// Nothing was done, so any request may be sent again.
    NeverRan,
    /// Like `NeverRan`, but because of this host: it says nothing of the target.
    HostsOwn,
    /// Like `NeverRan`, but the target is healthy: it closed the connection that the request was
    /// on.
    LeftOver,
    /// It is unknown what was done.
    Unclear,
    /// The target says that it cannot serve the request.
    Unable,
    /// Like `Unclear`, but the target may only be slow.
    Slow,
}

impl TryOutcome {
    /// Whether the failure may be due to a slow client: services have their own time limit for a
    /// request. Not if the request never ran: then nobody waited for its body.
    fn may_be_the_clients(&self) -> bool {
        match self {
            TryOutcome::Unclear | TryOutcome::Unable | TryOutcome::Slow => true,
            TryOutcome::Answered
            | TryOutcome::NotIts
            | TryOutcome::NeverRan
            | TryOutcome::HostsOwn
            | TryOutcome::LeftOver => false,
        }
    }

    /// Whether it says something of the target's health.
    fn is_its(&self) -> bool {
        !matches!(
            self,
            TryOutcome::NotIts | TryOutcome::HostsOwn | TryOutcome::LeftOver
        )
    }
}

impl Upstreams {
    /// Sends the request until a target has answered, or no further try is allowed.
    pub(super) async fn tries(
        &self,
        sending: &Sending<'_>,
        request: Request<Body>,
    ) -> Result<Answer, RequestError> {
        let (upstream, state) = (&sending.route.upstream, &sending.route.upstream_state);
        state.rotation.request();
        let (parts, body) = request.into_parts();
        let idempotent = parts.method.is_idempotent();
        // A service that speaks HTTP/2 says which requests it did not process, even if a part of
        // the body had been sent.
        let again = idempotent || upstream.may_be_http2();
        let body = Retained::new(body, if again { MOST_RETAINED } else { 0 });
        let mut tried = Vec::new();
        let mut next = body.again();
        loop {
            let now = Instant::now();
            let index = choose(sending.route, &tried, now);
            let (Some(endpoint), Some(health), Some(body_of_try)) = (
                upstream.endpoints.get(index),
                state.health(index),
                next.take(),
            ) else {
                return Err(RequestError::internal("an upstream without a target"));
            };
            if tried.last() == Some(&index) {
                let doublings = u32::try_from(tried.len()).unwrap_or(u32::MAX);
                tokio::time::sleep(PAUSE * 2u32.saturating_pow(doublings - 1)).await;
            }
            tried.push(index);
            let attempt = health.begin(now, upstream.fail_timeout);
            let request = Request::from_parts(parts.clone(), body_of_try);
            let mut answer = self.ask(sending, endpoint, request).await?;
            let verdict = match (answer.left_over, answer.hosts_own) {
                _ if body.has_failed() => TryOutcome::NotIts,
                (true, _) => TryOutcome::LeftOver,
                (_, true) => TryOutcome::HostsOwn,
                _ => verdict(&answer.outcome),
            };
            let clients = verdict.may_be_the_clients() && sending.upload.is_waiting();
            if verdict.is_its() && !clients {
                note(sending.route, endpoint, health, &verdict);
                attempt.decided();
            }
            let others = tried.len() < upstream.endpoints.len();
            let again = match verdict {
                TryOutcome::Answered | TryOutcome::NotIts => false,
                TryOutcome::NeverRan | TryOutcome::HostsOwn | TryOutcome::LeftOver => true,
                TryOutcome::Unclear => idempotent,
                TryOutcome::Unable => idempotent && others,
                TryOutcome::Slow => idempotent && upstream.try_timeout.is_some(),
            };
            let left = tried.len() <= upstream.retries as usize;
            if again && left {
                next = body.again();
            }
            let free = verdict == TryOutcome::LeftOver;
            if next.is_none() || !(free || state.rotation.may_retry()) {
                body.last();
                answer.endpoint = Some(endpoint.place.label().to_string());
                answer.tries = tried.len();
                return Ok(answer);
            }
            if let Err(error) = &answer.outcome {
                let target = endpoint.place.label();
                let request_id = parts
                    .headers
                    .get(REQUEST_ID)
                    .and_then(|id| id.to_str().ok());
                let (error, cause) = (error.code(), error.cause());
                tracing::warn!(request_id, target, error, cause, "a try failed; retrying");
            }
        }
    }
}

/// The next target: one that has not been tried and is not ejected, else one that has not been
/// tried, else any.
fn choose(route: &ActiveRoute, tried: &[usize], now: Instant) -> usize {
    if route.upstream.endpoints.len() == 1 {
        return 0;
    }
    let (upstream, state) = (&route.upstream, &route.upstream_state);
    let endpoints = || upstream.endpoints.iter().enumerate();
    let pick = |fits: &dyn Fn(usize) -> bool| {
        let fitting: Vec<usize> = endpoints()
            .map(|(index, _)| index)
            .filter(|index| fits(*index))
            .collect();
        let weight = |index: &usize| {
            upstream
                .endpoints
                .get(*index)
                .map_or(0, |found| found.weight)
        };
        let picked = state.rotation.pick(fitting.iter().map(weight))?;
        fitting.get(picked).copied()
    };
    let fresh = |index: usize| !tried.contains(&index);
    let is_in = |index| state.health(index).is_some_and(|health| health.is_in(now));
    pick(&|index| fresh(index) && is_in(index))
        .or_else(|| pick(&fresh))
        .or_else(|| pick(&|_| true))
        .unwrap_or_default()
}

fn verdict(outcome: &Result<Response<Body>, RequestError>) -> TryOutcome {
    match outcome {
        Ok(response) => match response.status() {
            StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => TryOutcome::Unable,
            _ => TryOutcome::Answered,
        },
        Err(error) => match (error.problem().row().ran, error.fault()) {
            (Ran::NotHere, _) => TryOutcome::NeverRan,
            (Ran::Perhaps, Fault::Upstream) if error.status() == StatusCode::GATEWAY_TIMEOUT => {
                TryOutcome::Slow
            }
            (Ran::Perhaps, Fault::Upstream) => TryOutcome::Unclear,
            // It would fail the same everywhere; or an instance ran it, and its window has a
            // breaker.
            (Ran::Refused | Ran::Perhaps, _) => TryOutcome::NotIts,
        },
    }
}

/// Records the result of a try. The only target is never ejected.
fn note(route: &ActiveRoute, endpoint: &Endpoint, health: &Health, verdict: &TryOutcome) {
    let upstream = &route.upstream;
    if upstream.endpoints.len() == 1 {
        return;
    }
    let (route, target) = (&*route.name, endpoint.place.label());
    match verdict {
        TryOutcome::NotIts | TryOutcome::HostsOwn | TryOutcome::LeftOver => {}
        TryOutcome::Answered => {
            if health.succeeded() {
                tracing::info!(route, target, "the target answers again");
            }
        }
        TryOutcome::NeverRan | TryOutcome::Unclear | TryOutcome::Unable | TryOutcome::Slow => {
            let (most, pause) = (upstream.max_fails, upstream.fail_timeout);
            if health.failed(Instant::now(), most, pause) {
                tracing::warn!(
                    route,
                    target,
                    failures = most,
                    ?pause,
                    "the target fails and is ejected"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hms_core::error::{Problem, TABLE};

    #[test]
    fn only_failures_another_target_may_cure_are_retried() {
        let codes = |wanted: TryOutcome| {
            let said = |problem| verdict(&Err(RequestError::new(problem, "a sentence")));
            let rows = TABLE.iter().filter(|row| said(row.problem) == wanted);
            rows.map(|row| row.problem).collect::<Vec<_>>()
        };
        let never_ran = [
            Problem::WindowNotDeployed,
            Problem::WindowStopped,
            Problem::WindowTripped,
            Problem::StoreUnavailable,
            Problem::UpstreamRefused,
            Problem::UpstreamUnreachable,
            Problem::InstanceLimit,
            Problem::InstanceStart,
        ];
        assert_eq!(codes(TryOutcome::NeverRan), never_ran);
        // All but `UpstreamBroken` and `UpstreamTimeout` end a response that has begun, when no
        // target is asked any more.
        let unclear = [
            Problem::UpstreamBroken,
            Problem::ServiceResponseInvalid,
            Problem::UpstreamBrokeOff,
        ];
        assert_eq!(codes(TryOutcome::Unclear), unclear);
        let slow = [Problem::UpstreamTimeout, Problem::StreamIdle];
        assert_eq!(codes(TryOutcome::Slow), slow);
    }
}
