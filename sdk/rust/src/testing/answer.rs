//! What was answered.

use http::HeaderMap;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::borrow::Cow;

/// Bytes of an answer. 64 MiB: more is not for a test.
const MAX_BODY: u64 = 64 << 20;

/// The answer to a [`Request`](super::Request).
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    /// What is answered to `request` with this body.
    pub(super) fn of(agent: &ureq::Agent, request: http::request::Builder, body: Vec<u8>) -> Self {
        let sent = match body.is_empty() {
            true => request.body(()).map(|request| agent.run(request)),
            false => request.body(body).map(|request| agent.run(request)),
        };
        let sent = sent.unwrap_or_else(|error| panic!("invalid request: {error}"));
        let mut answer = sent.unwrap_or_else(|error| panic!("there is no answer: {error}"));
        let body = answer
            .body_mut()
            .with_config()
            .limit(MAX_BODY)
            .read_to_vec();
        Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: body.unwrap_or_else(|error| panic!("the answer breaks off: {error}")),
        }
    }

    /// The status, such as 200.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first header with this name, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body.
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// The body as text.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body, read as JSON.
    ///
    /// # Panics
    /// If it is none, or not in the shape of `T`; it says status and body.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{error}, in an answer {}: {}", self.status, self.text()),
        }
    }

    /// The code of a [`Problem`](crate::Problem), such as `not-found`; empty if it is none.
    pub fn problem(&self) -> String {
        let problem: Option<Value> = serde_json::from_slice(&self.body).ok();
        let kind = problem.as_ref().and_then(|it| it.get("type")?.as_str());
        let code = kind.and_then(|kind| kind.rsplit([':', '/']).next());
        code.unwrap_or_default().to_owned()
    }
}
