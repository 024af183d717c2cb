//! The access log: one line per request, written when the last byte of its answer is sent, or when
//! it is certain that there will be none.

use crate::metrics::GatewayMetrics;
use crate::request::headers::clean_trailers;
use crate::request::piece::Piece;
use crate::request::untaken;
use bytes::Bytes;
use hms_core::body::{self, Body, BodyError};
use hms_core::error::{Problem, RequestError};
use hms_core::trace::{Outline, SpanLog, TraceId, What, logged};
use hms_net::connection_limit::AtWork;
use hms_telemetry::trace::Tracer;
use http::Method;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::time::{Sleep, sleep};

/// The size of a piece for HTTP/2: a frame as large as every client accepts by default (RFC 9113
/// section 6.5.2). hyper keeps the whole piece, even if the client's window has room for only one
/// byte.
const SLICE: usize = 16 << 10;

/// The access record of one request. Dropping it writes the line and counts the request.
pub struct Record {
    started: Instant,
    metrics: GatewayMetrics,
    /// The request's method.
    pub method: Method,
    /// Without the query, which may hold secrets.
    pub path: String,
    /// As sent in `x-request-id`.
    pub request_id: String,
    /// The name of the route; none where no route matched.
    pub route: Option<Arc<str>>,
    /// The label of the upstream, or of the target that was asked.
    pub upstream: Option<String>,
    /// Whether that is a window.
    pub at_window: bool,
    /// The number of the release; none for services.
    pub release: Option<u64>,
    /// The caller, as `auth` proved it.
    pub user: Option<String>,
    /// Known once the headers have been read.
    pub client: Option<IpAddr>,
    /// `http` or `https`, as the client connected.
    pub scheme: &'static str,
    /// Held as long as the request lasts.
    pub at_work: Option<AtWork>,
    /// Whether the protocol is HTTP/2, which keeps what does not fit into the client's window.
    pub kept: bool,
    /// Tries at the upstream, if it had several targets.
    pub tries: Option<usize>,
    /// What the cache did with it, on a route with one.
    pub cache: Option<&'static str>,
    /// The record of its parts, and who takes it.
    pub spans: Option<(Arc<Tracer>, Arc<SpanLog>)>,
    /// When the head of the answer was decided.
    head: Option<Duration>,
    status: u16,
    bytes: u64,
    problem: Option<Problem>,
    /// The cause, not for clients.
    cause: Option<String>,
}

impl Record {
    /// Of a request that began at `started`, as the record of its parts has it.
    pub fn new(
        metrics: GatewayMetrics,
        started: Instant,
        method: Method,
        path: String,
        request_id: String,
    ) -> Self {
        Record {
            started,
            metrics,
            method,
            path,
            request_id,
            route: None,
            upstream: None,
            at_window: false,
            release: None,
            user: None,
            client: None,
            scheme: "http",
            at_work: None,
            kept: false,
            tries: None,
            cache: None,
            spans: None,
            head: None,
            status: Problem::ConnectionEnded.row().status,
            bytes: 0,
            problem: Some(Problem::ConnectionEnded),
            cause: None,
        }
    }

    /// The request failed with `error`, whose cause goes only to the log.
    pub fn failed(&mut self, error: &RequestError) {
        self.answered(error.status().as_u16(), Some(error.problem()));
        self.cause = error.cause().map(str::to_owned);
    }

    /// The head of the answer is decided; `problem` is the failure, if any.
    pub fn answered(&mut self, status: u16, problem: Option<Problem>) {
        (self.status, self.problem) = (status, problem);
        self.head = Some(self.started.elapsed());
    }
}

impl Record {
    /// What came of it. Takes the texts, which are needed no more.
    fn outline(&mut self) -> Outline {
        Outline {
            what: What::Request,
            request_id: std::mem::take(&mut self.request_id),
            method: std::mem::take(&mut self.method),
            scheme: self.scheme,
            route: self.route.take(),
            path: std::mem::take(&mut self.path),
            upstream: self.upstream.take(),
            window: self.at_window,
            release: self.release,
            status: self.status,
            error: self.problem.map(Problem::code),
            head: self.head,
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        let route = self.route.as_deref().unwrap_or("-");
        let context = self.spans.as_ref().map(|(_, spans)| spans.start().context);
        let sampled = context.filter(|context| context.sampled);
        let sampled = sampled.map(|context| TraceId(context.trace_id));
        let spans = self.spans.as_ref().map(|(_, spans)| &**spans);
        self.metrics
            .answered(route, self.status, took, self.problem, spans);
        if let Some(outcome) = self.cache {
            self.metrics.cache_asked(route, outcome);
        }
        logged::about(context, || {
            tracing::info!(
                target: "access",
                method = %self.method,
                path = %self.path,
                route,
                upstream = self.upstream.as_deref(),
                release = self.release,
                tries = self.tries,
                cache = self.cache,
                status = self.status,
                duration_ms = took.as_micros() as f64 / 1000.0,
                bytes = self.bytes,
                user = self.user.as_deref(),
                client = self.client.map(tracing::field::display),
                request_id = %self.request_id,
                error = self.problem.map(Problem::code),
                fault = self.problem.map(|problem| problem.fault().name()),
                cause = self.cause.as_deref(),
                trace_id = sampled.map(tracing::field::display),
            );
        });
        if let Some((tracer, spans)) = self.spans.take() {
            tracer.finish_after(spans, self.outline(), took);
        }
    }
}

/// A response body that carries the request's record to its end, and drops trailers that claim an
/// identity.
pub struct RecordedBody {
    inner: Body,
    record: Record,
    /// The rest of a large piece.
    rest: Bytes,
    ended: bool,
    /// Bytes still expected, if the head announced the length.
    left: Option<u64>,
    breaking: Option<Breaking>,
}

/// A body that breaks off at once would take its head with it: hyper drops what it has not sent
/// yet. A short wait lets the data leave.
struct Breaking {
    error: Option<BodyError>,
    pause: Pin<Box<Sleep>>,
}

/// Time for data to leave before a body breaks off. 20 ms: a head needs less than one.
const BREAK_PAUSE: Duration = Duration::from_millis(20);

impl RecordedBody {
    /// `length` is the content length in the head.
    pub fn new(inner: Body, record: Record, length: Option<u64>) -> Self {
        let ended = inner.is_end_stream() && length.unwrap_or_default() == 0;
        RecordedBody {
            inner,
            record,
            rest: Bytes::new(),
            ended,
            left: length,
            breaking: None,
        }
    }

    /// Accounts for a piece of the body, or its end.
    fn measure(&mut self, bytes: Option<u64>) -> Result<(), BodyError> {
        let Some(left) = self.left else {
            return Ok(());
        };
        match (left.checked_sub(bytes.unwrap_or_default()), bytes) {
            (None, _) => Err("the body is longer than its content-length".into()),
            (Some(1..), None) => Err("the body is shorter than its content-length".into()),
            (left, _) => {
                self.left = left;
                Ok(())
            }
        }
    }

    /// Returns the part of `data` that may be sent now, and keeps the rest.
    fn give(&mut self, mut data: Bytes) -> Piece {
        if !self.record.kept {
            self.record.bytes += data.len() as u64;
            return Piece::plain(data);
        }
        if data.len() > SLICE {
            self.rest = data.split_off(SLICE);
        }
        self.record.bytes += data.len() as u64;
        let taken = untaken::given(self.is_end_stream());
        let at_work = self.record.at_work.as_ref().map(AtWork::kept);
        Piece::watched(data, taken, at_work)
    }

    /// The body breaks off here.
    fn breaks(&mut self, error: BodyError) {
        self.ended = true;
        let known = error.downcast_ref::<RequestError>();
        let problem = known.map_or(Problem::UpstreamBrokeOff, RequestError::problem);
        self.record.problem = Some(problem);
        self.record.cause = Some(why(&error));
        self.breaking = Some(Breaking {
            error: Some(error),
            pause: Box::pin(sleep(BREAK_PAUSE)),
        });
    }
}

impl HttpBody for RecordedBody {
    type Data = Piece;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, BodyError>>> {
        let this = &mut *self;
        if let Some(breaking) = &mut this.breaking {
            ready!(breaking.pause.as_mut().poll(cx));
            return Poll::Ready(breaking.error.take().map(Err));
        }
        if this.record.kept {
            untaken::asked();
        }
        if !this.rest.is_empty() {
            let rest = std::mem::take(&mut this.rest);
            return Poll::Ready(Some(Ok(Frame::data(this.give(rest)))));
        }
        let polled = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        let measured = match &polled {
            Some(Ok(frame)) => this.measure(Some(frame.data_ref().map_or(0, |d| d.len() as u64))),
            Some(Err(_)) => Ok(()),
            None => this.measure(None),
        };
        let polled = match measured {
            Ok(()) => polled,
            Err(error) => Some(Err(error)),
        };
        Poll::Ready(match polled {
            Some(Ok(frame)) => {
                this.ended = this.inner.is_end_stream();
                Some(Ok(match frame.into_trailers() {
                    Ok(mut trailers) => {
                        clean_trailers(&mut trailers);
                        Frame::trailers(trailers)
                    }
                    Err(frame) => frame.map_data(|data| this.give(data)),
                }))
            }
            Some(Err(error)) => {
                this.breaks(error);
                return self.poll_frame(cx);
            }
            None => {
                this.ended = true;
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.breaking.is_none()
            && self.rest.is_empty()
            && self.left.unwrap_or_default() == 0
            && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        body::with_first(self.inner.size_hint(), self.rest.len() as u64)
    }
}

impl Drop for RecordedBody {
    fn drop(&mut self) {
        // With a known length, hyper stops at the last byte and does not poll for the end.
        let complete = self.rest.is_empty()
            && (self.ended || self.left == Some(0) || self.inner.size_hint().exact() == Some(0));
        let problem = match untaken::is_too_slow() {
            true => Some(Problem::ReaderTooSlow),
            false if complete => None,
            false => Some(Problem::ConnectionEnded),
        };
        self.record.problem = self.record.problem.or(problem);
    }
}

/// Why a body broke off, for the log.
fn why(error: &BodyError) -> String {
    match error.downcast_ref::<RequestError>() {
        Some(error) => format!("{}: {}", error.code(), error.in_full()),
        None => RequestError::internal(error).in_full(),
    }
}
