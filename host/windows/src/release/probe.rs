//! The request that a new release must answer before it gets any other.

use crate::WindowName;
use hms_core::body;
use hms_core::call::WindowCall;
use hms_core::error::RequestError;
use hms_runtime::Instances;
use http::Request;
use http_body_util::BodyExt;
use std::any::Any;
use std::time::Duration;

/// Bytes of the answer that are read. A health page is short.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// A requested probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The path, as the window sees it: `/healthz`.
    path: String,
    /// Time for the whole answer.
    deadline: Duration,
}

impl Probe {
    /// The default time of a probe.
    pub const DEADLINE: Duration = Duration::from_secs(5);

    /// A probe for `path`.
    ///
    /// # Errors
    /// If that is not a path.
    pub fn new(path: &str, deadline: Duration) -> Result<Self, String> {
        let good = path.starts_with('/') && path.parse::<http::uri::PathAndQuery>().is_ok();
        match good {
            true => Ok(Probe {
                path: path.to_owned(),
                deadline,
            }),
            false => Err(format!(
                "'{}' is not a path to probe: use one such as /healthz",
                path.escape_debug()
            )),
        }
    }

    /// Sends the request. Succeeds if the answer is 2xx and complete in time.
    pub(crate) async fn ask(
        &self,
        window: &WindowName,
        instances: &Instances,
        held: impl Any + Send + Sync,
    ) -> Result<(), String> {
        match tokio::time::timeout(self.deadline, self.answer(window, instances, held)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!(
                "{} was not answered within {} s",
                self.path,
                self.deadline.as_secs_f32()
            )),
        }
    }

    async fn answer(
        &self,
        window: &WindowName,
        instances: &Instances,
        held: impl Any + Send + Sync,
    ) -> Result<(), String> {
        let path = &self.path;
        let host = format!("hms-svc-{window}");
        let request = Request::get(format!("http://{host}{path}"))
            .header(http::header::HOST, host)
            .header(http::header::USER_AGENT, "hms-probe")
            .body(body::empty());
        let request = request.map_err(|error| error.to_string())?;
        let mut call = WindowCall::of_client(request);
        // It has its place as one that waits for nobody.
        let in_flight = instances.in_flight(&mut call, (), held, false);
        let response = match instances.serve(call.request, in_flight).await {
            Ok(response) => response,
            Err(error) => return Err(format!("{path}: {}", error.in_full())),
        };
        let status = response.status();
        if !status.is_success() {
            return Err(format!("{path} was answered with {status}"));
        }
        let mut body = response.into_body();
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => read += frame.data_ref().map_or(0, |data| data.len()),
                Err(error) => {
                    let why = match error.downcast::<RequestError>() {
                        Ok(error) => error.in_full(),
                        Err(error) => error.to_string(),
                    };
                    return Err(format!(
                        "{path} was answered with {status} and a body that broke off: {why}"
                    ));
                }
            }
            if read > MAX_ANSWER_BYTES {
                return Err(format!(
                    "{path} was answered with more than {MAX_ANSWER_BYTES} bytes"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_target_must_be_a_path() {
        assert!(Probe::new("/healthz?deep=1", Probe::DEADLINE).is_ok());
        for wrong in ["", "healthz", "http://elsewhere/", "/a b", "/\r\nx: y"] {
            assert!(Probe::new(wrong, Probe::DEADLINE).is_err(), "{wrong:?}");
        }
    }
}
