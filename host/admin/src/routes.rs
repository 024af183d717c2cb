//! Shows routes, and changes them one at a time; a manifest is checked as a whole before anything
//! is written.

use super::reply;
use super::tasks::Tasks;
use super::whole::whole;
use hms_api::{RemovedRoute, RouteDetail, RouteList};
use hms_core::body::Body;
use hms_disk::files::{is_full_disk, utf8};
use hms_gateway::Gateway;
use hms_gateway::routes::manifest::Route;
use hms_manifest::{EditError, Fault, MAX_MANIFEST_BYTES, Manifest};
use http::{Response, StatusCode};
use std::sync::Arc;

pub(super) fn list(gateway: &Gateway) -> Response<Body> {
    let list = RouteList {
        routes: gateway.routes(),
        folder_fault: gateway.routes_fault(),
    };
    reply::json(StatusCode::OK, &list)
}

pub(super) fn show(gateway: &Gateway, name: &str) -> Response<Body> {
    match gateway.route(name) {
        Some((route, text)) => {
            let manifest = Some(text);
            reply::json(StatusCode::OK, &RouteDetail { route, manifest })
        }
        None => refuse(&EditError::Unknown(name.into())),
    }
}

pub(super) async fn put(
    tasks: &Tasks,
    gateway: &Arc<Gateway>,
    name: &str,
    body: Body,
) -> Response<Body> {
    let limit = MAX_MANIFEST_BYTES as usize;
    let text = match whole(body, limit).await {
        Ok(text) => text,
        Err(why) => {
            let detail = format!("cannot read the manifest: {why}");
            return reply::refuse(StatusCode::BAD_REQUEST, "upload-broken", detail);
        }
    };
    let text = match utf8(text) {
        Ok(text) => text,
        Err(why) => return refuse(&EditError::Refused(vec![Fault::whole(why)])),
    };
    let (gateway, name) = (gateway.clone(), name.to_owned());
    let change = async move {
        match gateway.put_route(name, text).await {
            Ok((route, new)) => {
                let code = if new {
                    StatusCode::CREATED
                } else {
                    StatusCode::OK
                };
                let manifest = None;
                reply::json(code, &RouteDetail { route, manifest })
            }
            Err(error) => refuse(&error),
        }
    };
    tasks.answer(change).await
}

pub(super) async fn remove(tasks: &Tasks, gateway: &Arc<Gateway>, name: &str) -> Response<Body> {
    let (gateway, name) = (gateway.clone(), name.to_owned());
    let change = async move {
        match gateway.remove_route(name.clone()).await {
            Ok(why) => reply::changed(RemovedRoute { removed: name }, why.as_deref()),
            Err(error) => refuse(&error),
        }
    };
    tasks.answer(change).await
}

/// All faults, each with its line.
fn refuse(error: &EditError) -> Response<Body> {
    let (status, code, faults) = match error {
        EditError::Name(_) => (StatusCode::BAD_REQUEST, "bad-name", None),
        EditError::Refused(faults) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "manifest-refused",
            Some(faults),
        ),
        EditError::Claimed(faults) => (StatusCode::CONFLICT, "manifest-refused", Some(faults)),
        EditError::Unknown(_) => (StatusCode::NOT_FOUND, "no-such-route", None),
        EditError::Full(_) => (StatusCode::CONFLICT, "too-many-routes", None),
        EditError::Unreadable(_)
        | EditError::NotLive(_)
        | EditError::Busy(_)
        | EditError::Unanswered => (StatusCode::SERVICE_UNAVAILABLE, "routes-unreadable", None),
        EditError::Io { error, .. } if is_full_disk(error) => {
            (StatusCode::INSUFFICIENT_STORAGE, "disk", None)
        }
        EditError::Io { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "disk", None),
    };
    let sentence = error.said(&Route::WORDS);
    let mut problem = reply::problem(status, code, sentence.clone());
    if let Some(faults) = faults {
        let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
        problem.detail = format!("{sentence}: {}", said.join("; "));
        problem.faults.clone_from(faults);
    }
    hms_core::error::problem_response(status, &problem)
}
