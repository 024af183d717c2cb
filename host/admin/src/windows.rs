//! Operators' requests about windows.

use super::events;
use super::query::Query;
use super::reply;
use super::tasks::Tasks;
use bytes::Bytes;
use futures_util::StreamExt;
use hms_api::{
    ChangedWindow, DeployEvent, DeployLine, Deployed, RemovedWindow, StoreFate, WindowDetail,
    WindowList,
};
use hms_core::body::Body;
use hms_core::units::Time;
use hms_events::Events;
use hms_windows::{
    ChangeError, Consent, DeployOptions, Probe, Registry, Removed, TrafficShare, Upload, WindowName,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// The longest pause between two pieces of an upload. 30 s.
const UPLOAD_PAUSE: Duration = Duration::from_secs(30);

/// The longest that a whole upload may take, so that a slow one does not block others. 15 min: 128
/// MiB at 1.2 Mbit/s.
const UPLOAD_TIME: Duration = Duration::from_secs(15 * 60);

/// Bytes of the name that deployers give themselves.
const MAX_BY_BYTES: usize = 128;

/// Steps that may wait to be read by a slow client; a deploy has five.
const PROGRESS_QUEUE: usize = 16;

pub(super) fn list(windows: &Registry, events: &Events) -> Response<Body> {
    let mut waiting = events::waiting(events);
    let mut windows = windows.statuses();
    for window in &mut windows {
        window.deliveries = waiting.remove(&window.name);
    }
    reply::json(StatusCode::OK, &WindowList { windows })
}

pub(super) fn show(windows: &Registry, events: &Events, name: &WindowName) -> Response<Body> {
    match windows.status(name) {
        Ok((mut window, releases)) => {
            window.deliveries = events::waiting(events).remove(name.as_str());
            reply::json(StatusCode::OK, &WindowDetail { window, releases })
        }
        Err(error) => reply::not_shown(&error),
    }
}

pub(super) fn log(windows: &Registry, name: &WindowName) -> Response<Body> {
    match windows.log(name) {
        Ok(lines) => reply::json(StatusCode::OK, &lines),
        Err(error) => reply::not_shown(&error),
    }
}

/// A change without a body, parsed from the request.
pub(super) enum Verb {
    Start,
    Stop,
    Rollback { to: Option<u64>, consent: Consent },
    Share(TrafficShare),
    Promote,
    Abort,
    Remove { delete_store: bool },
}

impl Verb {
    /// The verb with this name, if there is one.
    pub(crate) fn read(verb: &str, query: &str) -> Option<Result<Self, ChangeError>> {
        let rollback = || {
            let query = Query::read(query, &["to", "yes"])?;
            let to = query.parsed::<u64>("to")?;
            let consent = query.parsed::<Consent>("yes")?.unwrap_or_default();
            Ok(Verb::Rollback { to, consent })
        };
        let share = || {
            let query = Query::read(query, &["share"])?;
            query.parsed::<TrafficShare>("share")?.ok_or_else(|| {
                ChangeError::BadOption("the share is missing, for example share=25%".into())
            })
        };
        Some(match verb {
            "start" => Ok(Verb::Start),
            "stop" => Ok(Verb::Stop),
            "rollback" => rollback(),
            "canary" => share().map(Verb::Share),
            "promote" => Ok(Verb::Promote),
            "abort" => Ok(Verb::Abort),
            _ => return None,
        })
    }

    /// The removal of a window.
    pub(crate) fn remove(query: &str) -> Result<Self, ChangeError> {
        let query = Query::read(query, &["store"])?;
        let delete_store = match query.text("store") {
            None | Some("keep") => false,
            Some("delete") => true,
            Some(_) => {
                let why = "store must be keep (the default) or delete";
                return Err(ChangeError::BadOption(why.into()));
            }
        };
        Ok(Verb::Remove { delete_store })
    }

    async fn done(self, windows: &Arc<Registry>, name: &WindowName) -> Response<Body> {
        let status = match self {
            Verb::Start => windows.start(name).await,
            Verb::Stop => windows.stop(name).await,
            Verb::Rollback { to, consent } => windows.rollback(name, to, consent).await,
            Verb::Share(share) => windows.share(name, share).await,
            Verb::Promote => windows.promote(name).await,
            Verb::Abort => windows.abort(name).await,
            Verb::Remove { delete_store } => {
                return removed(name, windows.remove(name, delete_store).await);
            }
        };
        match status {
            Ok(window) => {
                let why = window.unsaved.as_ref().map(|unsaved| unsaved.why.clone());
                reply::changed(ChangedWindow { window }, why.as_deref())
            }
            Err(error) => reply::change_error(&error),
        }
    }
}

/// Executes `verb`. The answer says what the disk has not accepted.
pub(super) async fn change(
    tasks: &Tasks,
    windows: &Arc<Registry>,
    name: WindowName,
    verb: Result<Verb, ChangeError>,
) -> Response<Body> {
    let windows = windows.clone();
    match verb {
        Ok(verb) => {
            let change = async move { verb.done(&windows, &name).await };
            tasks.answer(change).await
        }
        Err(error) => reply::change_error(&error),
    }
}

fn removed(name: &WindowName, result: Result<Removed, ChangeError>) -> Response<Body> {
    match result {
        Ok(removed) => {
            let store = match (removed.delete_store, &removed.unsaved) {
                (true, None) => StoreFate::Deleted,
                (true, Some(_)) => StoreFate::Deleting,
                (false, _) => StoreFate::Kept,
            };
            let why = removed.unsaved.map(|unsaved| unsaved.why);
            let answer = RemovedWindow {
                removed: name.to_string(),
                store,
                left: removed.left,
            };
            reply::changed(answer, why.as_deref())
        }
        Err(error) => reply::change_error(&error),
    }
}

/// Receives a component and deploys it. With `Accept: application/x-ndjson` each step is reported
/// as it is done, one JSON object per line, the last being `{"deployed":…}` or `{"problem":…}`;
/// otherwise there is one answer at the end.
pub(super) async fn deploy(
    tasks: &Tasks,
    windows: Arc<Registry>,
    name: WindowName,
    request: Request<Body>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let options = match options(&head) {
        Ok(options) => options,
        Err(error) => return reply::change_error(&error),
    };
    if let Err(error) = windows.check_takes_deploys(&name, options.canary.is_some()) {
        return reply::change_error(&error);
    }
    let upload = receive(&windows, &head.headers, &options.by, body);
    let upload = match upload.await {
        Ok(upload) => upload,
        Err(error) => return reply::change_error(&error),
    };
    let (notify, event) = mpsc::channel(PROGRESS_QUEUE);
    let deploying = tasks.begin(async move {
        let tell_step = |event: DeployEvent| {
            let _ = notify.try_send(event);
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
        progress(event, end)
    } else {
        match end.await {
            Ok(deployed) => reply::json(created(&deployed), &deployed),
            Err(error) => reply::change_error(&error),
        }
    }
}

fn created(deployed: &Deployed) -> StatusCode {
    match deployed.difference {
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
    event: mpsc::Receiver<DeployEvent>,
    end: impl Future<Output = Result<Deployed, ChangeError>> + Send + 'static,
) -> Response<Body> {
    let steps = futures_util::stream::unfold(event, |mut event| async {
        let next = event.recv().await?;
        Some((DeployLine::Event(next), event))
    });
    let last = futures_util::stream::once(async move {
        match end.await {
            Ok(deployed) => DeployLine::Deployed {
                deployed: Box::new(deployed),
            },
            Err(error) => DeployLine::Problem {
                problem: reply::problem_of(&error),
            },
        }
    });
    let lines = steps.chain(last).map(|line| {
        let line = reply::line(&line);
        Ok(Frame::data(Bytes::from(line)))
    });
    let mut response = Response::new(StreamBody::new(lines).boxed_unsync());
    let kind = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

async fn receive(
    windows: &Registry,
    headers: &HeaderMap,
    who: &str,
    mut body: Body,
) -> Result<Upload, ChangeError> {
    let limit = windows.max_upload_bytes();
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(ChangeError::TooLarge { limit });
    }
    let mut receiving = windows.artifacts().receive(limit, who).await?;
    let taking_in = async {
        while let Some(frame) = tokio::time::timeout(UPLOAD_PAUSE, body.frame())
            .await
            .map_err(|_| ChangeError::Upload(format!("no data for {} s", UPLOAD_PAUSE.as_secs())))?
        {
            let frame = frame.map_err(|error| ChangeError::Upload(error.to_string()))?;
            if let Ok(bytes) = frame.into_data() {
                receiving.chunk(&bytes).await?;
            }
        }
        receiving.finish().await
    };
    let taken_in = tokio::time::timeout(UPLOAD_TIME, taking_in).await;
    taken_in.unwrap_or_else(|_| {
        let limit = UPLOAD_TIME.as_secs();
        Err(ChangeError::Upload(format!("it took more than {limit} s")))
    })
}

/// The query of `PUT /windows/NAME`, every part optional:
/// `?probe=/healthz&probe-time=5s&canary=10%&fallback=true&trap-unknown=true&yes=true`.
fn options(head: &Parts) -> Result<DeployOptions, ChangeError> {
    let query = Query::read(
        head.uri.query().unwrap_or_default(),
        &[
            "probe",
            "probe-time",
            "canary",
            "fallback",
            "trap-unknown",
            "yes",
        ],
    )?;
    let time = match query.text("probe-time") {
        Some(text) => match text.parse::<Time>() {
            Ok(time) => time.duration(),
            Err(why) => return Err(ChangeError::BadOption(format!("probe-time: {why}"))),
        },
        None => Probe::DEADLINE,
    };
    let probe = query.text("probe").map(|path| Probe::new(path, time));
    Ok(DeployOptions {
        by: deployer(&head.headers),
        consent: query.parsed::<Consent>("yes")?.unwrap_or_default(),
        probe: probe.transpose().map_err(ChangeError::BadOption)?,
        canary: query.parsed::<TrafficShare>("canary")?,
        fallback: query.parsed::<bool>("fallback")?.unwrap_or(false),
        trap_unknown: query.parsed::<bool>("trap-unknown")?.unwrap_or(false),
    })
}

/// Who deploys, as they say in `x-hms-deployer`. The token proves that they may, not who they are.
fn deployer(headers: &HeaderMap) -> String {
    let said = headers.get("x-hms-deployer").map(HeaderValue::as_bytes);
    match said.map(String::from_utf8_lossy) {
        Some(by) if !by.is_empty() => by.chars().take(MAX_BY_BYTES).collect(),
        _ => "admin".to_owned(),
    }
}
