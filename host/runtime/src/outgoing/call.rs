//! One call: to another window, or to a service.

use super::destination::Destination;
use super::{clean, code, refusal};
use crate::host_memory::{RetainedBytes, fields_bytes};
use crate::instance::InstanceContext;
use crate::middleware::{arrived, sent};
use crate::requests::RequestInHand;
use hms_core::body::{self, Body};
use hms_core::call::{Asker, CallingWindow, WindowCall};
use hms_core::headers::{
    REQUEST_ID, SCOPES, TRACEPARENT, USER, WINDOW, clean_answer, clean_trailers,
};
use hms_core::limits::Limit;
use hms_core::outgoing::{CallError, OnBehalf, Outgoing, RequestedTimeouts};
use hms_core::path::{check_query, normalise};
use hms_core::stream_idle::StreamIdle;
use hms_core::trace::SpanKind;
use hms_grants::mask::masked_uri;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderName, HeaderValue, Request, Response, Version, header};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use wasmtime_wasi_http::{Error, WasiBody};

/// What a header field counts beside its name and value, as in HTTP/2 (RFC 9113 section 6.5.2):
/// else any number of empty ones would have no size.
const FIELD_OVERHEAD: usize = 32;

/// A call that a guest makes for one of its requests.
pub(crate) struct Call {
    pub context: InstanceContext,
    pub request: RequestInHand,
    /// What the host keeps for it, until its answer's body has ended.
    pub kept: RetainedBytes,
}

impl Call {
    /// Has whoever is asked answer, for as long as the request in hand lasts.
    pub(super) async fn answer(
        self,
        request: Request<WasiBody>,
        requested: RequestedTimeouts,
    ) -> Result<Response<WasiBody>, Error> {
        let over = self.request.calling.over().clone();
        let request = request.map(|body| sent(body, &over));
        let answered = over.run(self.ask(request, requested)).await;
        let answered = answered.ok_or(Error::ConnectionTerminated)?;
        let response = answered.and_then(|response| self.bounded(response));
        let response = response.map_err(code::of)?;
        // WASI 0.3 declares it with the resource, and 0.2 nowhere else.
        self.kept.arrives(fields_bytes(response.headers()));
        Ok(arrived(response, &over, self.kept, code::of_body))
    }

    /// The answer, if its head is no larger than one that the guest may make itself.
    fn bounded(&self, response: Response<Body>) -> Result<Response<Body>, CallError> {
        let most = self.context.limits.load().size(Limit::ResponseHeaderBytes);
        let fields = response.headers().iter();
        let bytes: usize = fields
            .map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD)
            .sum();
        match bytes > most {
            true => {
                let sentence = format!(
                    "the answer to a call was refused: its head has {bytes} bytes, and \
                     --response-header allows {most}"
                );
                self.context.failures.count("response-head-size", &sentence);
                Err(CallError::ResponseHeadSize)
            }
            false => Ok(response),
        }
    }

    async fn ask(
        &self,
        request: Request<Body>,
        requested: RequestedTimeouts,
    ) -> Result<Response<Body>, CallError> {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        // Whoever leads to services logs itself what it refuses.
        let mut logged = false;
        let asked = match Destination::of(&uri) {
            Ok(Destination::Window(name)) => self.window(name.as_str(), request, requested).await,
            Ok(Destination::Service) => match self.way_out() {
                Some(outgoing) => {
                    logged = true;
                    self.service(outgoing, request, requested).await
                }
                None => Err(CallError::Denied),
            },
            Err(error) => Err(error),
        };
        match &asked {
            Err(CallError::Denied | CallError::UriInvalid(_)) if logged => {
                self.context.failures.count_logged(refusal::NO_NETWORK);
            }
            Err(error @ CallError::UriInvalid(_)) => {
                self.count(refusal::NOT_GRANTED, &uri, error);
            }
            Err(CallError::Denied) => {
                let context = &self.context;
                let granted = context.grants.load();
                let (reason, sentence) = refusal::not_granted(&granted, &method, &uri);
                context.failures.count(reason, &sentence);
            }
            Err(error @ CallError::LoopDetected) => {
                self.count("loop-detected", &uri, error);
            }
            Err(error @ CallError::TooManyCalls) => {
                self.count("calls-per-request", &uri, error);
            }
            _ => {}
        }
        asked
    }

    fn count(&self, reason: &'static str, uri: &Uri, error: &CallError) {
        let granted = self.context.grants.load();
        let host = masked_uri(&granted, uri.host().unwrap_or_default());
        let sentence = format!("a call of '{host}' was refused: {error}");
        self.context.failures.count(reason, &sentence);
    }

    /// One more call of the request in hand.
    fn begin(&self) -> Result<OnBehalf, CallError> {
        let behalf = self.request.calling.behalf.as_ref();
        let behalf = behalf.ok_or(CallError::Denied)?;
        let most = self.context.limits.load().get(Limit::CallsPerRequest);
        if u64::from(behalf.calls.fetch_add(1, Relaxed)) >= most {
            return Err(CallError::TooManyCalls);
        }
        let traceparent = self.request.calling.traceparent.clone();
        Ok(behalf.said(&self.context, traceparent, &self.request))
    }

    fn credentials(&self) -> &[HeaderValue] {
        let behalf = self.request.calling.behalf.as_ref();
        behalf.map_or(&[], |behalf| &behalf.credentials)
    }

    fn way_out(&self) -> Option<&dyn Outgoing> {
        let granted = !self.context.grants.load().grants.outbound.is_empty();
        self.context.outgoing.as_deref().filter(|_| granted)
    }

    async fn service(
        &self,
        outgoing: &dyn Outgoing,
        mut request: Request<Body>,
        requested: RequestedTimeouts,
    ) -> Result<Response<Body>, CallError> {
        let from = self.begin()?;
        clean::request(request.headers_mut(), self.credentials());
        outgoing.send(from, request, requested).await
    }

    async fn window(
        &self,
        callee: &str,
        request: Request<Body>,
        requested: RequestedTimeouts,
    ) -> Result<Response<Body>, CallError> {
        let grants = self.context.grants.current();
        let grant = grants.grants.call(callee).ok_or(CallError::Denied)?;
        let mut from = self.begin()?;
        let chain = from.chain.onward(&from.window, callee)?;
        let behalf = self.request.calling.behalf.as_ref();
        // One that had its place in the pool before the window could call any would hold it while
        // it waits, which nobody has counted with: the next request may.
        let Some(behalf) = behalf.filter(|behalf| behalf.may_wait) else {
            let sentence = format!(
                "a call of window '{callee}' was refused: the request started before the grant \
                 took effect"
            );
            self.context.failures.count("not-granted", &sentence);
            return Err(CallError::Unavailable);
        };
        let waiting = behalf.waiting + 1;
        let windows = self.context.windows.upgrade();
        let windows = windows.ok_or(CallError::Unavailable)?;
        let request_id = from.request_id.clone();
        let span = from.spans.begin(SpanKind::CallWindow);
        span.about(|| callee.into());
        if let Some(context) = span.spans().context() {
            from.traceparent = HeaderValue::try_from(context.to_string()).ok();
        }
        // Its answer is bounded from its beginning on by how long it may be quiet.
        let begin_by = from.begin_by.as_ref().map(|begin_by| begin_by.at);
        let deadline = from.deadline.into_iter().chain(begin_by).min();
        let call = WindowCall {
            next: None,
            begin_by: None,
            stream_idle: requested
                .between_bytes
                .map(|timeout| StreamIdle(timeout.min(StreamIdle::default().0))),
            waiting,
            spans: span.spans().clone(),
            from: Some(Box::new(Asker::Window(CallingWindow {
                window: from.window.clone(),
                chain,
                deadline,
            }))),
            request: self.stamped(callee, from, grant.as_self, request)?,
        };
        let answered = windows.call(callee, call);
        let answered = match requested.first_byte {
            None => answered.await,
            Some(timeout) => within(timeout, answered)
                .await
                .inspect_err(|_| span.fail())?,
        };
        span.note(&answered.outcome);
        drop(span);
        let response = answered.outcome.unwrap_or_else(|error| {
            let request_id = request_id.as_ref().and_then(|id| id.to_str().ok());
            // The caller may make anything of the answer, so the cause is said here.
            if let Some(cause) = error.cause() {
                let (window, error, cause) = (&*self.context.window, error.code(), cause);
                tracing::warn!(request_id, window, callee, error, cause, "a call failed");
            }
            error.response(request_id)
        });
        let (mut head, body) = response.into_parts();
        clean_answer(&mut head.headers);
        let body = body::with_trailers(body, clean_trailers);
        Ok(Response::from_parts(head, body))
    }

    /// The request as `callee` sees it: nothing that it takes for the host's word is the guest's.
    fn stamped(
        &self,
        callee: &str,
        from: OnBehalf,
        as_self: bool,
        request: Request<Body>,
    ) -> Result<Request<Body>, CallError> {
        let invalid = |_| CallError::UriInvalid("it cannot be built");
        // In the one form in which the gateway asks windows, too.
        let path = in_one_form(request.uri())?;
        let (mut head, body) = request.into_parts();
        clean::request_to_window(&mut head.headers, self.credentials());
        let authority = format!("hms-svc-{callee}");
        let mut set = |name: HeaderName, value: Option<HeaderValue>| {
            if let Some(value) = value {
                head.headers.insert(name, value);
            }
        };
        set(header::HOST, HeaderValue::try_from(&authority).ok());
        set(WINDOW, HeaderValue::try_from(&*from.window).ok());
        set(REQUEST_ID, from.request_id);
        set(TRACEPARENT, from.traceparent);
        if !as_self {
            set(USER, from.user);
            set(SCOPES, from.scopes);
        }
        let mut uri = head.uri.into_parts();
        uri.scheme = Some(Scheme::HTTP);
        let authority = Authority::try_from(authority);
        uri.authority = Some(authority.map_err(|_| CallError::UriInvalid("its host is invalid"))?);
        uri.path_and_query = Some(path);
        head.uri = Uri::from_parts(uri).map_err(invalid)?;
        head.version = Version::HTTP_11;
        head.extensions.clear();
        let body = body::with_trailers(body, clean_trailers);
        Ok(Request::from_parts(head, body))
    }
}

/// # Errors
/// [`CallError::UriInvalid`] for a path that windows may read differently.
fn in_one_form(uri: &Uri) -> Result<PathAndQuery, CallError> {
    let mut path = normalise(uri.path()).map_err(CallError::UriInvalid)?;
    if let Some(query) = uri.query() {
        check_query(query).map_err(CallError::UriInvalid)?;
        path.push('?');
        path.push_str(query);
    }
    let read = PathAndQuery::try_from(path);
    read.map_err(|_| CallError::UriInvalid("its path and query cannot be built"))
}

async fn within<T>(limit: Duration, answered: impl Future<Output = T>) -> Result<T, CallError> {
    let answered = tokio::time::timeout(limit, answered).await;
    answered.map_err(|_| CallError::ResponseTimeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_of_a_call_is_in_its_one_form_and_others_are_refused() {
        let of = |path: &str| in_one_form(&format!("http://hms-svc-b{path}").parse().unwrap());
        assert_eq!(of("/%61/b%c3%a9?x=%61").unwrap(), "/a/b%C3%A9?x=%61");
        assert_eq!(of("").unwrap(), "/");
        for odd in [
            "/a/../b",
            "/a/%2e%2e/b",
            "/a%2fb",
            "/a%5Cb",
            "/a//b",
            "/%zz",
            "/a?b=é",
        ] {
            assert!(matches!(of(odd), Err(CallError::UriInvalid(_))), "{odd}");
        }
    }
}
