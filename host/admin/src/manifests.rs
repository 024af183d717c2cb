//! What requests about manifests have in common, be they routes or grants.

use super::reply;
use super::whole::whole;
use hms_core::body::{self, Body};
use hms_disk::files::{is_full_disk, utf8};
use hms_manifest::{EditError, Fault, MAX_MANIFEST_BYTES, Words};
use http::{Response, StatusCode};

/// The refusals that are called differently for each kind of manifests.
pub(super) struct Kind {
    pub words: Words,
    pub unknown: (StatusCode, &'static str),
    pub full: (StatusCode, &'static str),
    pub unreadable: (StatusCode, &'static str),
}

/// The text of a manifest.
///
/// # Errors
/// The answer that says why it cannot be read.
pub(super) async fn text(kind: &Kind, body: Body) -> Result<String, Response<Body>> {
    let bytes = whole(body, MAX_MANIFEST_BYTES as usize).await;
    let bytes = bytes.map_err(|why| {
        let detail = format!("cannot read the manifest: {why}");
        reply::refuse(StatusCode::BAD_REQUEST, "upload-broken", detail)
    })?;
    let refused = |why: &str| refuse(kind, &EditError::Refused(vec![Fault::whole(why)]));
    utf8(bytes).map_err(refused)
}

/// The answer to a dry run: 204, or what the edit would be refused for.
pub(super) fn tried(kind: &Kind, outcome: Result<(), EditError>) -> Response<Body> {
    match outcome {
        Ok(()) => {
            let mut answer = Response::new(body::empty());
            *answer.status_mut() = StatusCode::NO_CONTENT;
            answer
        }
        Err(error) => refuse(kind, &error),
    }
}

/// All faults, each with its line.
pub(super) fn refuse(kind: &Kind, error: &EditError) -> Response<Body> {
    let (status, code) = match error {
        EditError::Name(_) => (StatusCode::BAD_REQUEST, "bad-name"),
        EditError::Refused(_) => (StatusCode::UNPROCESSABLE_ENTITY, "manifest-refused"),
        EditError::Claimed(_) => (StatusCode::CONFLICT, "manifest-refused"),
        EditError::Unknown(_) => kind.unknown,
        EditError::Full(_) => kind.full,
        EditError::Unreadable(_)
        | EditError::NotLive(_)
        | EditError::Busy(_)
        | EditError::Unanswered => kind.unreadable,
        EditError::Io { error, .. } if is_full_disk(error) => {
            (StatusCode::INSUFFICIENT_STORAGE, "disk")
        }
        EditError::Io { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "disk"),
    };
    let sentence = error.said(&kind.words);
    let mut problem = reply::problem(status, code, sentence.clone());
    if let EditError::Refused(faults) | EditError::Claimed(faults) = error {
        let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
        problem.detail = format!("{sentence}: {}", said.join("; "));
        problem.faults.clone_from(faults);
    }
    hms_core::error::problem_response(status, &problem)
}
