//! The admin API, as the dashboard asks it: in the process, by the types that every client reads.

use futures_util::future::BoxFuture;
use hms_api::Problem;
use hms_core::body::{self, Body};
use http::{Request, Response};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Bytes of an answer of the admin API that are read. 64 MiB: a page of events is the longest.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// The admin API of the same process.
pub trait AdminApi: Send + Sync {
    /// Answers `request` as if it came with the token.
    fn call(self: Arc<Self>, request: Request<Body>) -> BoxFuture<'static, Response<Body>>;

    /// SHA-256 of the admin token as it is now.
    fn credential(&self) -> BoxFuture<'_, [u8; 32]>;
}

/// What pages ask.
#[derive(Clone)]
pub(crate) struct Api(pub(crate) Arc<dyn AdminApi>);

impl Api {
    /// The answer to `GET path`.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Problem> {
        let bytes = self.bytes(path).await?;
        serde_json::from_slice(&bytes).map_err(|error| broken(path, &error.to_string()))
    }

    /// The answer to `GET path` as text.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) async fn text(&self, path: &str) -> Result<String, Problem> {
        let bytes = self.bytes(path).await?;
        String::from_utf8(bytes).map_err(|error| broken(path, &error.to_string()))
    }

    async fn bytes(&self, path: &str) -> Result<Vec<u8>, Problem> {
        let request = Request::get(path).body(body::empty());
        let request = request.map_err(|error| broken(path, &error.to_string()))?;
        let answer = self.0.clone().call(request).await;
        let status = answer.status();
        let bytes = whole(answer.into_body(), MAX_ANSWER_BYTES).await;
        let bytes = bytes.ok_or_else(|| broken(path, "the answer is too long"))?;
        match status.is_success() {
            true => Ok(bytes),
            false => Err(serde_json::from_slice(&bytes)
                .unwrap_or_else(|error| broken(path, &error.to_string()))),
        }
    }
}

fn broken(path: &str, why: &str) -> Problem {
    Problem {
        kind: "about:blank".into(),
        title: "Internal Server Error".into(),
        status: 500,
        detail: format!("{path}: {why}"),
        faults: Vec::new(),
        consent: None,
    }
}

/// The bytes of `body`. None if it breaks off or is longer than `limit`.
pub(crate) async fn whole(mut body: Body, limit: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else {
            continue;
        };
        if data.len() > limit.saturating_sub(bytes.len()) {
            return None;
        }
        bytes.extend_from_slice(&data);
    }
    Some(bytes)
}
