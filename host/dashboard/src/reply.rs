//! How answers are written: what browsers may do with them, above all.

use hms_api::Problem;
use hms_core::body::{self, Body};
use hms_core::error::{problem_response, problem_type};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

/// Only our own scripts, styles and pictures, none of them within a page, so nothing that a window
/// wrote can run, even if it were not escaped. Nobody may show our pages in theirs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";

/// Sets the type of an answer, and what browsers may do with it.
pub(crate) fn guard(response: &mut Response<Body>, kind: &'static str) {
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Not `no-referrer`, with which a form's `Origin` would be `null`.
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
}

/// A page.
pub(crate) fn html(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(body::full(text));
    *response.status_mut() = status;
    guard(&mut response, HTML);
    response
}

/// A page that a template made.
pub(crate) fn rendered(page: askama::Result<String>) -> Response<Body> {
    match page {
        Ok(text) => html(StatusCode::OK, text),
        Err(error) => {
            tracing::error!(%error, "dashboard: a page cannot be rendered");
            problem(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the page cannot be rendered",
            )
        }
    }
}

/// Leads to another page, by GET.
pub(crate) fn see_other(to: &'static str) -> Response<Body> {
    let mut response = html(StatusCode::SEE_OTHER, String::new());
    let to = HeaderValue::from_static(to);
    response.headers_mut().insert(header::LOCATION, to);
    response
}

/// A refusal in the words of RFC 9457.
pub(crate) fn problem(status: StatusCode, detail: &str) -> Response<Body> {
    let title = status.canonical_reason().unwrap_or("Error");
    let problem = Problem {
        kind: problem_type("dashboard"),
        title: title.into(),
        status: status.as_u16(),
        detail: detail.into(),
        faults: Vec::new(),
        consent: None,
    };
    let mut response = problem_response(status, &problem);
    guard(&mut response, "application/problem+json");
    response
}
