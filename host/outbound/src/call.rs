//! One call, from top to bottom.

use crate::Inner;
use crate::answer::{AnswerBody, Bounds};
use crate::entry::Entry;
use crate::error::{Failure, Stage};
use crate::headers::{self, Said};
use crate::inject::give_secrets;
use crate::metrics::Refusal;
use crate::policy;
use crate::record::Record;
use crate::target::Target;
use crate::tries::Sending;
use crate::upload::Upload;
use crate::window::Window;
use hms_core::body::{self, Body, BodyError};
use hms_core::headers::clean_answer;
use hms_core::limits::{Limit, WindowLimits};
use hms_core::outgoing::{CallError, OnBehalf, RequestedTimeouts};
use hms_grants::mask::masked_uri;
use hms_net::client::{Permit, Stream};
use http::request::Parts;
use http::{Method, Request, Response, Version, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Longest wait for a permit, unless the guest requests a shorter time for its connection. A burst
/// is served late instead of refused.
const PERMIT_WAIT: Duration = Duration::from_secs(1);

/// Connections of a window for each call that it may make at once: one at work, and one that is
/// idle. Beyond, idle ones are closed.
const CONNECTIONS_PER_CALL: usize = 2;

/// Connections in a row that failed, after which calls to a service are suspended.
const MOST_FAILURES: u32 = 5;

/// How long, and as much more by chance at most, so that not all windows try again at once.
const PAUSE: Duration = Duration::from_secs(5);

/// A wait for a connection that is given up sooner says nothing of the service.
const LONG_ENOUGH: Duration = Duration::from_secs(1);

/// What a call holds until its answer has ended.
pub(crate) struct Held {
    _permits: [Option<Permit>; 3],
    _stream: Option<Stream>,
}

/// A call whose head has passed all checks.
struct Ready {
    entry: Arc<Entry>,
    /// As `Origin` shows itself.
    origin: String,
    said: Said,
}

impl Inner {
    pub(crate) async fn call(
        &self,
        from: OnBehalf,
        request: Request<Body>,
        requested: RequestedTimeouts,
    ) -> Result<Response<Body>, CallError> {
        let method = request.method().clone();
        let grants = self.grants.window(&from.window).current();
        let mut record = Record::new(&self.metrics, &from, method, grants);
        match self.sent(&from, request, requested, &mut record).await {
            Ok((response, bounds, held)) => {
                record.answered(response.status().as_u16());
                Ok(response.map(|body| AnswerBody::new(body, bounds, record, held).boxed_unsync()))
            }
            Err(error) => {
                record.failed(&error);
                Err(error)
            }
        }
    }

    async fn sent(
        &self,
        from: &OnBehalf,
        request: Request<Body>,
        requested: RequestedTimeouts,
        record: &mut Record,
    ) -> Result<(Response<Body>, Bounds, Held), CallError> {
        let started = Instant::now();
        let limits = self.callers.limits(&from.window);
        let window = self.windows.window(&from.window);
        let (mut parts, body) = request.into_parts();
        let ready = self.ready(from, &window, &mut parts, body.size_hint().exact(), record)?;
        let entry = &*ready.entry;
        let deadline = deadline(started, from, entry, &limits);
        // For all but the body of the answer.
        let answer_by = match &from.begin_by {
            Some(begin_by) => deadline.min(begin_by.at.into()),
            None => deadline,
        };
        let body = self.bounded(body, &limits, &ready, record)?;

        let until =
            answer_by.min(started + requested.connect.unwrap_or(PERMIT_WAIT).min(PERMIT_WAIT));
        let permits = self.permits(entry, &window, &limits, until, record).await?;
        let calls = limits.size(Limit::OutgoingCalls);
        self.windows.make_room();
        window.make_room(calls.saturating_mul(CONNECTIONS_PER_CALL));
        let client = match timeout_at(answer_by, entry.client(&self.clients, &window)).await {
            Ok(Ok((client, faults))) => {
                let origin = masked_uri(record.grants(), &ready.origin);
                for why in faults {
                    let line = format!("outgoing request to {origin}: {why}; the last one is used");
                    self.callers.log(&from.window, &line);
                }
                client
            }
            Ok(Err(why)) => {
                let origin = masked_uri(record.grants(), &ready.origin);
                let line = format!("outgoing request to {origin} failed: {why}");
                self.callers.log(&from.window, &line);
                record.cause(Some(why));
                return Err(CallError::Tls(
                    "the host has no usable certificates for it".into(),
                ));
            }
            Err(_) => return Err(CallError::ConnectTimeout),
        };
        // Asked last: what calls learn while this one waits for a permit counts, and the wait does
        // not.
        let health = window.health(&ready.origin);
        let (asked, pause) = (std::time::Instant::now(), pause());
        if !health.is_in(asked) {
            record.refused(Refusal::Unavailable);
            return Err(CallError::Unavailable);
        }
        let attempt = health.begin(asked, pause);
        let sending = Sending {
            entry,
            client: &client,
            requested,
            deadline: answer_by,
            trailers: ready.said.trailers,
        };
        // Boxed, because the state of a request on its way to a service is large.
        let answered = Box::pin(sending.tries(parts, body, record)).await;
        match learn(&answered, asked.elapsed()) {
            Lesson::None => drop(attempt),
            Lesson::Well => {
                health.succeeded();
                attempt.decided();
            }
            Lesson::Down => {
                let now = std::time::Instant::now();
                if health.failed(now, MOST_FAILURES, pause) {
                    let window = &*from.window;
                    let origin = &*masked_uri(record.grants(), &ready.origin);
                    tracing::warn!(
                        window,
                        origin,
                        failures = MOST_FAILURES,
                        ?pause,
                        "the service is unreachable: calls to it are suspended for a while"
                    );
                }
                attempt.decided();
            }
        }
        let (response, stream) = answered.map_err(|failure| {
            if let Some(why) = failure.prohibited {
                let line = policy::prohibited(&ready.origin, why, &entry.grant, record.grants());
                self.callers.log(&from.window, &line);
            }
            self.failed(failure, record)
        })?;
        let (mut head, body) = response.into_parts();
        if head.status.is_informational() {
            record.cause(Some("the service changed the protocol".into()));
            return Err(CallError::Protocol);
        }
        clean_answer(&mut head.headers);
        let body = body.map_err(BodyError::from).boxed_unsync();
        let bounds = Bounds {
            most: limits.get(Limit::OutgoingResponseBytes),
            deadline,
            begin_by: from.begin_by.clone(),
            between: requested.between_bytes,
        };
        let held = Held {
            _permits: permits,
            _stream: stream,
        };
        Ok((Response::from_parts(head, body), bounds, held))
    }

    /// Finds the grant of a request, and makes its head what the service is to see.
    fn ready(
        &self,
        from: &OnBehalf,
        window: &Window,
        parts: &mut Parts,
        exact: Option<u64>,
        record: &mut Record,
    ) -> Result<Ready, CallError> {
        let target = Target::read(&parts.uri).inspect_err(|error| {
            let line = format!("outgoing request refused: {error}");
            self.callers.log(&from.window, &line);
        })?;
        record.target(&target);
        let allowed = window.allowed(record.grants().clone());
        let granted = &*allowed.grants;
        let refuse = |line: &str, refusal: Refusal, record: &Record| {
            self.callers.log(&from.window, line);
            record.refused(refusal);
            CallError::Denied
        };
        let origin = target.origin.to_string();
        if parts.method == Method::CONNECT || parts.headers.contains_key(header::UPGRADE) {
            let shown = masked_uri(granted, &origin);
            let line = format!(
                "outgoing request to {shown} refused: CONNECT and Upgrade are not supported"
            );
            return Err(refuse(&line, Refusal::Denied, record));
        }
        let entry = allowed.fit(&parts.method, &target).map_err(|near| {
            let file = granted.path();
            let line = policy::denied(&parts.method, &target, granted, &file, near);
            refuse(&line, Refusal::Denied, record)
        })?;
        record.granted(entry);
        let said = headers::clean(&mut parts.headers, exact);
        let used = give_secrets(&mut parts.headers, &entry.grant, &granted.secrets);
        let used = used.map_err(|missing| {
            let file = granted.path().display().to_string();
            let origin = masked_uri(granted, &origin);
            let line = missing.line(&origin, &file, &granted.secret_faults);
            refuse(&line, Refusal::Secret, record)
        })?;
        record.used(&used);
        record
            .span
            .about(|| format!("{} {}", parts.method, masked_uri(granted, &origin)).into());
        headers::name(&mut parts.headers, from, &record.span);
        parts.uri = target.uri()?;
        let host = http::HeaderValue::try_from(target.origin.authority());
        let host = host.map_err(|_| CallError::UriInvalid("it has no valid host"))?;
        parts.headers.insert(header::HOST, host);
        parts.version = Version::HTTP_11;
        // Of those that the runtime has put there none is for a service.
        parts.extensions.clear();
        Ok(Ready {
            entry: entry.clone(),
            origin,
            said,
        })
    }

    /// The body of the request, within its bounds.
    fn bounded(
        &self,
        body: Body,
        limits: &WindowLimits,
        ready: &Ready,
        record: &Record,
    ) -> Result<Body, CallError> {
        let (said, entry) = (ready.said, ready.entry.clone());
        let most = limits.get(Limit::OutgoingRequestBytes);
        if said.length.is_some_and(|length| length > most) {
            record.refused(Refusal::RequestSize);
            return Err(CallError::RequestBodySize);
        }
        let body = body::with_trailers(body, move |trailers| {
            headers::clean_trailers(trailers, &entry.grant.inject);
        });
        Ok(Upload::new(body, record.upload.clone(), most, said.length).boxed_unsync())
    }

    /// A permit of the grant, of the window and of the host, the narrowest first: whoever waits for
    /// one keeps nobody from a wider one.
    async fn permits(
        &self,
        entry: &Entry,
        window: &Window,
        limits: &WindowLimits,
        until: Instant,
        record: &Record,
    ) -> Result<[Option<Permit>; 3], CallError> {
        let full = |refusal| {
            record.refused(refusal);
            CallError::ConnectionLimit
        };
        let grant = match entry.grant.at_once {
            Some(most) => {
                let permit = entry.permits().enter(most, until).await;
                Some(permit.ok_or_else(|| full(Refusal::GrantFull))?)
            }
            None => None,
        };
        let most = limits.size(Limit::OutgoingCalls);
        let own = window.permits.enter(most, until).await;
        let own = own.ok_or_else(|| full(Refusal::WindowFull))?;
        let host = self.permits.enter(self.max_at_once, until).await;
        let host = host.ok_or_else(|| full(Refusal::HostFull))?;
        Ok([grant, Some(own), Some(host)])
    }

    /// Says why there is no answer.
    fn failed(&self, failure: Failure, record: &mut Record) -> CallError {
        let refusal = match &failure.error {
            CallError::AddressProhibited => Some(Refusal::Address),
            CallError::ConnectionLimit if failure.host_full => Some(Refusal::HostConnections),
            CallError::ConnectionLimit => Some(Refusal::WindowConnections),
            CallError::RequestBodySize => Some(Refusal::RequestSize),
            CallError::ResponseTimeout | CallError::ConnectTimeout => Some(Refusal::Time),
            _ => None,
        };
        if let Some(refusal) = refusal {
            record.refused(refusal);
        }
        record.cause(failure.cause);
        failure.error
    }
}

/// The least of what the window, the grant and the request leave.
fn deadline(started: Instant, from: &OnBehalf, entry: &Entry, limits: &WindowLimits) -> Instant {
    let time = limits.time(Limit::OutgoingTimeMs);
    let time = entry
        .grant
        .timeout
        .map_or(time, |granted| granted.min(time));
    let deadline = started + time;
    let of_request = from.deadline.map(Instant::from_std);
    of_request.map_or(deadline, |of_request| deadline.min(of_request))
}

/// How long a service that fails is not asked.
fn pause() -> Duration {
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    PAUSE + PAUSE.mul_f64(random as f64 / u64::MAX as f64)
}

/// What a call says of whether there are connections to its service.
enum Lesson {
    None,
    Well,
    Down,
}

fn learn<T>(answered: &Result<T, Failure>, took: Duration) -> Lesson {
    let Err(failure) = answered else {
        return Lesson::Well;
    };
    match failure.stage {
        Stage::NotSent => Lesson::None,
        // Without a cause it was given up.
        Stage::NoConnection if failure.cause.is_none() && took < LONG_ENOUGH => Lesson::None,
        Stage::NoConnection => Lesson::Down,
        Stage::Refused | Stage::LeftOver | Stage::Unclear | Stage::TooLate => Lesson::Well,
    }
}
