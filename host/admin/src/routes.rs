//! Shows routes, and changes them one at a time; a manifest is checked as a whole before anything
//! is written.

use super::manifests::{self, Kind, refuse};
use super::query::Query;
use super::reply;
use super::tasks::Tasks;
use hms_api::{RemovedRoute, RouteDetail, RouteList};
use hms_core::body::Body;
use hms_gateway::Gateway;
use hms_gateway::routes::manifest::Route;
use hms_manifest::{EditError, Manifest};
use http::{Response, StatusCode};
use std::sync::Arc;

const KIND: Kind = Kind {
    words: Route::WORDS,
    unknown: (StatusCode::NOT_FOUND, "no-such-route"),
    full: (StatusCode::CONFLICT, "too-many-routes"),
    unreadable: (StatusCode::SERVICE_UNAVAILABLE, "routes-unreadable"),
};

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
        None => refuse(&KIND, &EditError::Unknown(name.into())),
    }
}

/// `PUT /routes/NAME?dry-run=true`.
pub(super) async fn put(
    tasks: &Tasks,
    gateway: &Arc<Gateway>,
    name: &str,
    query: &str,
    body: Body,
) -> Response<Body> {
    let dry = Query::read(query, &["dry-run"]).and_then(|query| query.parsed::<bool>("dry-run"));
    let dry = match dry {
        Ok(dry) => dry.unwrap_or(false),
        Err(error) => return reply::change_error(&error),
    };
    let text = match manifests::text(&KIND, body).await {
        Ok(text) => text,
        Err(refusal) => return refusal,
    };
    if dry {
        return manifests::tried(&KIND, gateway.try_route(name.to_owned(), text).await);
    }
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
            Err(error) => refuse(&KIND, &error),
        }
    };
    tasks.answer(change).await
}

pub(super) async fn remove(tasks: &Tasks, gateway: &Arc<Gateway>, name: &str) -> Response<Body> {
    let (gateway, name) = (gateway.clone(), name.to_owned());
    let change = async move {
        match gateway.remove_route(name.clone()).await {
            Ok(why) => reply::changed(RemovedRoute { removed: name }, why.as_deref()),
            Err(error) => refuse(&KIND, &error),
        }
    };
    tasks.answer(change).await
}
