//! `timeout`: the time limits of a route.

use super::plugin::Around;
use super::{Exchange, Plugin, Rest, Setup};
use crate::routes::manifest::Route;
use crate::upstream::Answer;
use crate::upstream::UpstreamError;
use hms_core::body::Body;
use hms_core::error::RequestError;
use hms_manifest::{Field, Kind, Map};
use http::{Request, Response};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// An hour, in milliseconds.
const MAX_MS: u64 = 3_600_000;

/// A day, in milliseconds: for event streams that are mostly quiet.
const MAX_STREAM_MS: u64 = 24 * MAX_MS;

const FIELDS: &[Field] = &[
    Field {
        name: "response",
        kind: Kind::Time(1..=MAX_MS),
        doc: "Time until the upstream has sent the head of its answer, such as 5s; then 504. It counts from the last byte of the request's body. A window's own wall time applies as well.",
    },
    Field {
        name: "body-idle",
        kind: Kind::Time(1..=MAX_MS),
        doc: "The longest pause within a request body. Default: the host's, 60s.",
    },
    Field {
        name: "body-pace",
        kind: Kind::Number(0..=1 << 30),
        doc: "The least rate of a request body, in bytes per second, on average after its first 30 s; 0 allows any rate. Default: the host's, 240.",
    },
    Field {
        name: "stream-idle",
        kind: Kind::Time(1..=MAX_STREAM_MS),
        doc: "The longest silence in both directions once an answer has begun, such as 1h for event streams. Default: the host's, 5m.",
    },
];

#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    response: Option<Duration>,
    body_idle: Option<Duration>,
    body_pace: Option<u64>,
    stream_idle: Option<Duration>,
}

impl Plugin for Rule {
    const NAME: &'static str = "timeout";
    const DOC: &'static str =
        "Sets how long the route waits for its upstream, and for the client's body.";
    const FIELDS: &'static [Field] = FIELDS;

    type Shared = ();
    type Notes = ();

    fn shared(_: &Setup<'_>) {}

    fn read(map: &Map<'_>) -> Option<Rule> {
        let rule = Rule {
            response: map.time("response"),
            body_idle: map.time("body-idle"),
            body_pace: map.number("body-pace"),
            stream_idle: map.time("stream-idle"),
        };
        if FIELDS.iter().all(|field| map.get(field.name).is_none()) {
            map.node().fault(
                "name 'response', 'body-idle', 'body-pace' or 'stream-idle', as in '- timeout: {response: 5s}'",
            );
            return None;
        }
        Some(rule)
    }
    async fn request(
        &self,
        (): &(),
        _: &Route,
        exchange: &mut Exchange,
    ) -> Result<Option<Response<Body>>, RequestError> {
        let bounds = &mut exchange.bounds;
        let pace = &mut bounds.body_pace;
        pace.pause = self.body_idle.unwrap_or(pace.pause);
        pace.bytes_per_s = self.body_pace.unwrap_or(pace.bytes_per_s);
        bounds.response = self.response;
        bounds.stream_idle = self.stream_idle;
        Ok(None)
    }
}

impl Around for Rule {
    fn concerns(exchange: &Exchange) -> bool {
        exchange.bounds.response.is_some()
    }

    /// Time spent waiting for the client is excluded.
    async fn around<R: Rest>(
        exchange: Arc<Exchange>,
        request: Request<Body>,
    ) -> Result<Answer, RequestError> {
        let limit = exchange.bounds.response.unwrap_or(Duration::MAX);
        let rest = pin!(R::run(exchange.clone(), request));
        let in_time = exchange.upload.within(limit, rest).await;
        in_time.map_err(|_| UpstreamError::Timeout { limit })?
    }
}
