//! Pages without a session or a live part.

use crate::reply;
use askama::Template;
use hms_api::Problem;
use hms_core::body::Body;
use http::{Response, StatusCode};

#[derive(Template)]
#[template(path = "login.html")]
struct Login<'a> {
    fault: Option<&'a str>,
}

/// The form for the token, with what was wrong with the last one.
pub(crate) fn login(fault: Option<&str>) -> Response<Body> {
    let status = match fault {
        None => StatusCode::OK,
        Some(_) => StatusCode::FORBIDDEN,
    };
    let mut response = reply::rendered(Login { fault }.render());
    *response.status_mut() = status;
    response
}

#[derive(Template)]
#[template(path = "fault.html")]
struct Fault<'a> {
    title: &'a str,
    detail: &'a str,
}

/// There is no such page.
pub(crate) fn missing(detail: &str) -> Response<Body> {
    fault(StatusCode::NOT_FOUND, "Not found", detail)
}

/// What the admin API refused.
pub(crate) fn failed(problem: &Problem) -> Response<Body> {
    let status = StatusCode::from_u16(problem.status);
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    fault(status, &problem.title, &problem.detail)
}

fn fault(status: StatusCode, title: &str, detail: &str) -> Response<Body> {
    let mut response = reply::rendered(Fault { title, detail }.render());
    *response.status_mut() = status;
    response
}
