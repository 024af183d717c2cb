//! A request is sent, and once more where that cannot do a thing twice: the service has not looked
//! at it, or its method is idempotent (RFC 9110 section 9.2.2) and its body is still there. And
//! only within the budget of its grant.

use crate::entry::Entry;
use crate::error::{Failure, Stage};
use crate::record::Record;
use hms_core::body::Body;
use hms_core::outgoing::{CallError, RequestedTimeouts};
use hms_net::client::{HttpClient, Protocol, Reached, Retained, Stream};
use http::request::Parts;
use http::uri::Scheme;
use http::{Request, Response};
use hyper::body::Incoming;
use std::pin::pin;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Bytes of a body that are kept for another try. As for requests of routes.
const MOST_RETAINED: usize = 64 << 10;

/// Tries of one call. A service whose connections break off thrice is not well.
const MOST_TRIES: u32 = 3;

/// How one call is to be sent.
pub(crate) struct Sending<'a> {
    pub(crate) entry: &'a Entry,
    pub(crate) client: &'a HttpClient,
    pub(crate) requested: RequestedTimeouts,
    pub(crate) deadline: Instant,
    /// The guest takes trailers.
    pub(crate) trailers: bool,
}

/// An answer, and its place on a connection of HTTP/2.
pub(crate) type Answered = (Response<Incoming>, Option<Stream>);

impl Sending<'_> {
    /// Sends the request until there is an answer, or no further try may be made.
    pub(crate) async fn tries(
        &self,
        parts: Parts,
        body: Body,
        record: &mut Record,
    ) -> Result<Answered, Failure> {
        let idempotent = parts.method.is_idempotent();
        // A service that speaks HTTP/2 says what it has not looked at, also of a request whose body
        // is on its way.
        let again = idempotent || self.protocol().may_be_http2();
        let body = Retained::new(body, if again { MOST_RETAINED } else { 0 });
        self.entry.rotation().request();
        let mut next = body.again();
        loop {
            let Some(body_of_try) = next.take() else {
                return Err(Failure::new(CallError::Internal, Stage::NotSent));
            };
            record.tries += 1;
            let request = Request::from_parts(parts.clone(), body_of_try);
            let failure = match self.once(request).await {
                Ok(answered) => {
                    body.last();
                    return Ok(answered);
                }
                Err(failure) => failure,
            };
            // The guest's side of it may be why.
            if let Some(error) = record.upload.failure() {
                return Err(Failure::new(error, Stage::Unclear));
            }
            let again = match failure.stage {
                Stage::Refused | Stage::LeftOver => true,
                Stage::Unclear => idempotent,
                Stage::NotSent | Stage::NoConnection | Stage::TooLate => false,
            };
            let free = failure.stage == Stage::LeftOver;
            if again && record.tries < MOST_TRIES {
                next = body.again();
            }
            if next.is_none() || !(free || self.entry.rotation().may_retry()) {
                return Err(failure);
            }
            record.retried();
        }
    }

    fn protocol(&self) -> Protocol {
        match self.entry.grant.scheme == Scheme::HTTPS {
            true => Protocol::Https,
            false => Protocol::Http,
        }
    }

    /// One try, within its times.
    async fn once(&self, mut request: Request<Body>) -> Result<Answered, Failure> {
        let reached = Reached::default();
        request.extensions_mut().insert(reached.clone());
        let by = |timeout: Option<_>| {
            let until = timeout.map(|timeout| Instant::now() + timeout);
            until.map_or(self.deadline, |until| until.min(self.deadline))
        };
        let connected_by = by(self.requested.connect);
        let mut sent = pin!(self.client.ask(self.protocol(), self.trailers, request));
        let early = tokio::select! {
            biased;
            sent = &mut sent => Some(sent),
            () = reached.wait() => None,
            () = sleep_until(connected_by) => {
                return Err(Failure::new(CallError::ConnectTimeout, Stage::NoConnection));
            }
        };
        let sent = match early {
            Some(sent) => sent,
            None => timeout_at(by(self.requested.first_byte), sent)
                .await
                .map_err(|_| Failure::new(CallError::ResponseTimeout, Stage::TooLate))?,
        };
        Ok(sent?)
    }
}
