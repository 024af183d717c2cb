//! Talks to the admin API of a running host.

use super::HostArgs;
use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use hms_admin::token;
use hms_api::{Changed, Problem};
use hms_core::body::{self, Body};
use hms_core::error::{PROBLEM, problem_type};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
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
        let problem = body.and_then(|body| problem(&body.to_bytes()));
        match problem {
            Some(problem) if problem.kind.starts_with(&problem_type("")) => format!(
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

    /// Sends a request without a body and takes its answer in.
    ///
    /// # Errors
    /// The host's own sentence when it refuses.
    pub(super) async fn call(&self, method: Method, path: &str) -> anyhow::Result<Answer> {
        let response = self.send(method, path, &[], body::empty()).await?;
        self.take(response).await
    }

    /// Takes in the answer to a request.
    ///
    /// # Errors
    /// The host's own sentence when it refused.
    pub(super) async fn take(&self, response: Response<Incoming>) -> anyhow::Result<Answer> {
        match response.status().is_success() {
            true => Ok(Answer {
                base: self.base.clone(),
                body: whole(response.into_body()).await?,
            }),
            false => Err(self.refused(response).await),
        }
    }

    /// The refusal in this answer.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) async fn problem(&self, response: Response<Incoming>) -> anyhow::Result<Problem> {
        self.parse(&whole(response.into_body()).await?)
    }

    /// Why the host refused the request with this answer.
    pub(super) async fn refused(&self, response: Response<Incoming>) -> anyhow::Error {
        let status = response.status();
        let body = whole(response.into_body()).await;
        body.map_or_else(
            |error| error,
            |body| anyhow::Error::msg(refusal(status, problem(&body).as_ref())),
        )
    }

    /// Parses what the host wrote.
    ///
    /// # Errors
    /// If it is not what this version of the API has: which host wrote it, and what is wrong.
    pub(super) fn parse<T: DeserializeOwned>(&self, json: &[u8]) -> anyhow::Result<T> {
        parse(&self.base, json)
    }
}

/// The JSON answer to a request that succeeded.
pub(super) struct Answer {
    base: String,
    body: Bytes,
}

impl Answer {
    /// The answer as a type of the API. As a `Value`, which `--json` prints, it has all that the
    /// host says, even what this version does not know.
    ///
    /// # Errors
    /// If it is something else: which host wrote it, and what is wrong.
    pub(super) fn read<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        parse(&self.base, &self.body)
    }
}

fn parse<T: DeserializeOwned>(base: &str, json: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(json).map_err(|error| {
        anyhow!(
            "the host at {base} accepted the request, but its answer cannot be read: {error}. This \
             is hms {}; if the host is another version, use the `hms` of that version",
            env!("CARGO_PKG_VERSION")
        )
    })
}

async fn whole(body: Incoming) -> anyhow::Result<Bytes> {
    match Limited::new(body, MAX_ANSWER_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => bail!("the host's answer broke off: {error}"),
    }
}

fn problem(json: &[u8]) -> Option<Problem> {
    serde_json::from_slice(json).ok()
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
pub(super) fn durable<T>(answer: &Changed<T>) -> anyhow::Result<()> {
    match answer.durable {
        true => Ok(()),
        false => Err(NotDurable(answer.warning.clone().unwrap_or_default()).into()),
    }
}

/// What a refusal says, for a person.
pub(super) fn refusal(status: StatusCode, problem: Option<&Problem>) -> String {
    match problem.map(|problem| &problem.detail) {
        Some(detail) if status == StatusCode::UNAUTHORIZED => {
            format!("{detail} (set the host's data folder with --data, or set HMS_ADMIN_TOKEN)")
        }
        Some(detail) => detail.clone(),
        None => format!("the host answered {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hms_api::WindowList;

    #[test]
    fn unexpected_answer_names_the_host_and_the_fault() {
        let refused = parse::<WindowList>("http://h:1", br#"{"windows": [{"name": "w"}]}"#);
        let why = refused.unwrap_err().to_string();
        for part in ["http://h:1 accepted", "missing field", "another version"] {
            assert!(why.contains(part), "{why}");
        }
        assert!(parse::<WindowList>("", br#"{"windows": [], "new": 1}"#).is_ok());
    }
}
