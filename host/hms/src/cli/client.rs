//! Talks to the admin API of a running host.

use super::HostArgs;
use anyhow::{Context, bail};
use bytes::Bytes;
use hms_admin::token;
use hms_core::body::{self, Body};
use hms_core::error::{PROBLEM, problem_type};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::time::Duration;

/// Bytes of one answer. A window's log is the longest.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Bytes of an answer that is no admin API's. A problem of the gateway has some hundred.
const MAX_STRANGE_BYTES: usize = 64 << 10;

/// Time to connect. The host is near; 5 s.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// A client of one host.
pub(super) struct Client {
    base: String,
    token: String,
    inner: HyperClient<HttpConnector, Body>,
}

impl HostArgs {
    /// The client for this host.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        let token = match &self.admin_token {
            Some(token) => token.clone(),
            None => token::load(&self.data)?,
        };
        let base = match self.admin.contains("://") {
            true => self.admin.trim_end_matches('/').to_owned(),
            false => format!("http://{}", self.admin),
        };
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIME));
        Ok(Client {
            base,
            token,
            inner: HyperClient::builder(TokioExecutor::new()).build(connector),
        })
    }
}

impl Client {
    /// Sends a request and gives the answer, whatever its status.
    ///
    /// # Errors
    /// Where nobody answers, or something that is no admin API.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, String)],
        body: Body,
    ) -> anyhow::Result<Response<Incoming>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request
            .body(body)
            .with_context(|| format!("{} is not an admin address", self.base))?;
        let response = self.inner.request(request).await.with_context(|| {
            format!(
                "no host answers at {}: start one with `hms serve` or `hms up`, or set its admin address with --admin",
                self.base
            )
        })?;
        let (mark, _) = hms_admin::MARK;
        match response.headers().contains_key(mark) {
            true => Ok(response),
            false => bail!("{}", self.stranger(response).await),
        }
    }

    /// What answers in place of an admin API, for a person.
    async fn stranger(&self, response: Response<Incoming>) -> String {
        let (base, status) = (&self.base, response.status());
        let kind = response.headers().get(header::CONTENT_TYPE);
        let is_problem = kind.is_some_and(|kind| kind == PROBLEM);
        let body = match is_problem {
            true => Limited::new(response.into_body(), MAX_STRANGE_BYTES)
                .collect()
                .await
                .ok(),
            false => None,
        };
        let problem = body.and_then(|body| serde_json::from_slice(&body.to_bytes()).ok());
        match problem.as_ref().map(|problem: &Value| &problem["type"]) {
            Some(Value::String(kind)) if kind.starts_with(&problem_type("")) => format!(
                "{base} is the gateway of an hms host, not its admin API: \
                 set the admin address with --admin; `hms serve` prints it at startup"
            ),
            _ => format!(
                "{base} is not the admin API of an hms host (it answered {status}): set the \
                 admin address with --admin. The admin token was sent there; if you do not trust \
                 that server, write a new token to DATA/admin.token"
            ),
        }
    }

    /// Sends a request without a body and reads its JSON answer.
    ///
    /// # Errors
    /// The host's own sentence when it refuses.
    pub(super) async fn call(&self, method: Method, path: &str) -> anyhow::Result<Value> {
        let response = self.send(method, path, &[], body::empty()).await?;
        read(response).await
    }
}

/// The JSON answer, or what the host says is wrong.
pub(super) async fn read(response: Response<Incoming>) -> anyhow::Result<Value> {
    let status = response.status();
    let bytes: Bytes = match Limited::new(response.into_body(), MAX_ANSWER_BYTES)
        .collect()
        .await
    {
        Ok(body) => body.to_bytes(),
        Err(error) => bail!("the host's answer broke off: {error}"),
    };
    let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if status.is_success() {
        return Ok(value);
    }
    bail!("{}", refusal(status, &value))
}

/// A change that holds, and that the host's disk has not taken yet. Not a failure, and not done
/// either.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotDurable(String);

/// That the change of this answer is on disk.
///
/// # Errors
/// [`NotDurable`], with the host's own sentence, where it is not yet.
pub(super) fn durable(answer: &Value) -> anyhow::Result<()> {
    match answer["durable"].as_bool() {
        Some(false) => {
            let warning = answer["warning"].as_str().unwrap_or_default();
            Err(NotDurable(warning.to_owned()).into())
        }
        _ => Ok(()),
    }
}

/// What a problem+json says, for a person.
pub(super) fn refusal(status: StatusCode, problem: &Value) -> String {
    match problem.get("detail").and_then(Value::as_str) {
        Some(detail) if status == StatusCode::UNAUTHORIZED => {
            format!("{detail} (set the host's data folder with --data, or set HMS_ADMIN_TOKEN)")
        }
        Some(detail) => detail.to_owned(),
        None => format!("the host answered {status}"),
    }
}
