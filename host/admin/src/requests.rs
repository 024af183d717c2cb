//! The last requests, deliveries and deploys, and the parts of each.

use super::query::Query;
use super::reply;
use hms_api::RequestList;
use hms_core::body::Body;
use hms_core::trace::TraceId;
use hms_telemetry::trace::{Filter, Recent};
use hms_windows::ChangeError;
use http::{Response, StatusCode};

/// Requests in one answer, if nothing is said: a screen or two. All that are kept are about 700.
const PAGE: u64 = 100;

/// `GET /requests?failed=true&slow=true&window=NAME&trace=ID&limit=N`.
pub(super) fn list(recent: &Recent, query: &str) -> Response<Body> {
    match filter(query) {
        Ok(filter) => {
            let requests = recent.list(&filter);
            reply::json(StatusCode::OK, &RequestList { requests })
        }
        Err(error) => reply::change_error(&error),
    }
}

/// `GET /requests/ID`, of a request or of a trace.
pub(super) fn show(recent: &Recent, id: &str) -> Response<Body> {
    match recent.get(id) {
        Some(request) => reply::json(StatusCode::OK, &request),
        None => {
            let detail = "no kept request or trace has this id; the host keeps the last 500, and \
                          the last 100 failed and 100 slow ones, each once the last byte of its \
                          answer was sent";
            reply::refuse(StatusCode::NOT_FOUND, "no-such-request", detail)
        }
    }
}

fn filter(query: &str) -> Result<Filter, ChangeError> {
    let query = Query::read(query, &["failed", "slow", "window", "trace", "limit"])?;
    let limit = query.parsed::<u64>("limit")?.unwrap_or(PAGE);
    Ok(Filter {
        failed: query.parsed::<bool>("failed")?.unwrap_or(false),
        slow: query.parsed::<bool>("slow")?.unwrap_or(false),
        window: query.text("window").map(str::to_owned),
        trace_id: query.parsed::<TraceId>("trace")?.map(|id| id.0),
        limit: Some(usize::try_from(limit).unwrap_or(usize::MAX)),
    })
}
