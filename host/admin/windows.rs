//! What operators do with windows.

use super::reply::{self, Problem};
use crate::body::Body;
use crate::windows::{ChangeError, DeployOptions, Deployed, Registry, Step, Upload, WindowName};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// The longest pause between two pieces of an upload. 30 s.
const UPLOAD_PAUSE: Duration = Duration::from_secs(30);

/// Bytes of the name that whoever deploys gives themselves.
const MAX_BY_BYTES: usize = 128;

/// Steps that may wait to be read by a slow client; a deploy has five.
const PROGRESS_QUEUE: usize = 16;

pub(super) async fn list(windows: &Registry) -> Response<Body> {
    reply::json(
        StatusCode::OK,
        &json!({ "windows": windows.statuses().await }),
    )
}

pub(super) async fn show(windows: &Registry, name: &WindowName) -> Response<Body> {
    match windows.status(name).await {
        Ok((status, releases)) => reply::json(
            StatusCode::OK,
            &json!({ "window": status, "releases": releases }),
        ),
        Err(error) => reply::change_error(&error),
    }
}

pub(super) fn log(windows: &Registry, name: &WindowName) -> Response<Body> {
    match windows.log(name) {
        Ok(lines) => reply::json(StatusCode::OK, &json!({ "lines": lines })),
        Err(error) => reply::change_error(&error),
    }
}

pub(super) async fn start(windows: &Registry, name: &WindowName) -> Response<Body> {
    status(windows.start(name).await)
}

pub(super) async fn stop(windows: &Registry, name: &WindowName) -> Response<Body> {
    status(windows.stop(name).await)
}

pub(super) async fn rollback(windows: &Registry, name: &WindowName, query: &str) -> Response<Body> {
    let to = match query.split_once('=') {
        None if query.is_empty() => None,
        Some(("to", number)) if number.parse::<u64>().is_ok() => number.parse().ok(),
        _ => {
            let detail = "rollback takes one parameter, to=NUMBER, the release to go back to";
            return reply::refuse(StatusCode::BAD_REQUEST, "bad-request", detail);
        }
    };
    status(windows.rollback(name, to).await)
}

pub(super) async fn remove(windows: &Registry, name: &WindowName, query: &str) -> Response<Body> {
    let delete_store = match query {
        "" | "store=keep" => false,
        "store=delete" => true,
        _ => {
            let detail = "remove takes one parameter, store=keep (the default) or store=delete";
            return reply::refuse(StatusCode::BAD_REQUEST, "bad-request", detail);
        }
    };
    match windows.remove(name, delete_store).await {
        Ok(()) => reply::json(
            StatusCode::OK,
            &json!({ "removed": name, "store": if delete_store { "deleted" } else { "kept" } }),
        ),
        Err(error) => reply::change_error(&error),
    }
}

fn status(result: Result<crate::windows::WindowStatus, ChangeError>) -> Response<Body> {
    match result {
        Ok(status) => reply::json(StatusCode::OK, &json!({ "window": status })),
        Err(error) => reply::change_error(&error),
    }
}

/// Takes in the component and deploys it. With `Accept: application/x-ndjson` each step is told as it is done, one JSON
/// object a line, the last being `{"deployed":…}` or `{"problem":…}`; otherwise there is one answer at the end.
pub(super) async fn deploy(
    windows: Arc<Registry>,
    name: WindowName,
    request: Request<Incoming>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let options = DeployOptions {
        by: deployer(&head.headers),
    };
    let upload = match receive(&windows, &head.headers, body).await {
        Ok(upload) => upload,
        Err(error) => return reply::change_error(&error),
    };
    let (tell, told) = mpsc::channel(PROGRESS_QUEUE);
    // A task of its own: a client that goes away does not leave a deploy half way.
    let deploying = tokio::spawn(async move {
        let tell_step = |step: Step, ms: f64| {
            let _ = tell.try_send(json!({ "step": step, "ms": ms }));
        };
        windows.deploy(name, upload, options, &tell_step).await
    });
    let end = async move {
        match deploying.await {
            Ok(result) => result,
            Err(error) => Err(ChangeError::Internal(error.to_string())),
        }
    };
    if accepts_ndjson(&head.headers) {
        progress(told, end)
    } else {
        match end.await {
            Ok(deployed) => reply::json(created(&deployed), &deployed),
            Err(error) => reply::change_error(&error),
        }
    }
}

fn created(deployed: &Deployed) -> StatusCode {
    match deployed.replaced {
        None => StatusCode::CREATED,
        Some(_) => StatusCode::OK,
    }
}

fn accepts_ndjson(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .is_some_and(|accept| accept == "application/x-ndjson")
}

fn progress(
    told: mpsc::Receiver<serde_json::Value>,
    end: impl Future<Output = Result<Deployed, ChangeError>> + Send + 'static,
) -> Response<Body> {
    let steps = futures_util::stream::unfold(told, |mut told| async {
        told.recv().await.map(|step| (step, told))
    });
    let last = futures_util::stream::once(async move {
        match end.await {
            Ok(deployed) => json!({ "deployed": deployed }),
            Err(error) => json!({ "problem": Problem::of(&error) }),
        }
    });
    let lines = steps
        .chain(last)
        .map(|value| Ok(Frame::data(Bytes::from(format!("{value}\n")))));
    let mut response = Response::new(StreamBody::new(lines).boxed_unsync());
    let kind = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

async fn receive(
    windows: &Registry,
    headers: &HeaderMap,
    mut body: Incoming,
) -> Result<Upload, ChangeError> {
    let limit = windows.max_upload_bytes();
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(ChangeError::TooLarge { limit });
    }
    let mut receiving = windows.artifacts().receive(limit).await?;
    loop {
        let frame = tokio::time::timeout(UPLOAD_PAUSE, body.frame()).await;
        let frame = frame.map_err(|_| {
            ChangeError::Upload(format!("nothing came for {} s", UPLOAD_PAUSE.as_secs()))
        })?;
        match frame {
            None => return receiving.finish().await,
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    receiving.chunk(&bytes).await?;
                }
            }
            Some(Err(error)) => return Err(ChangeError::Upload(error.to_string())),
        }
    }
}

/// Who deploys, as they say in `x-hms-deployer`. The token proves that they may, not who they are.
fn deployer(headers: &HeaderMap) -> String {
    let said = headers
        .get("x-hms-deployer")
        .and_then(|by| by.to_str().ok());
    match said {
        Some(by) if !by.is_empty() => by.chars().take(MAX_BY_BYTES).collect(),
        _ => "admin".to_owned(),
    }
}
