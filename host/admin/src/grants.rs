//! Shows what windows are granted, and changes it. An edit by which a live release could do more
//! than before asks for consent; an edit of the file on disk is the operator's consent itself.

use super::manifests::{self, Kind, refuse};
use super::query::Query;
use super::reply;
use super::tasks::Tasks;
use hms_api::{GrantsDetail, GrantsList, GrantsStatus, RemovedGrants};
use hms_core::body::Body;
use hms_grants::{GrantsFile, GrantsFolder};
use hms_manifest::{EditError, Manifest, in_time};
use hms_windows::{Consent, Registry, WindowName};
use http::{Response, StatusCode};
use std::sync::Arc;

const KIND: Kind = Kind {
    words: GrantsFile::WORDS,
    unknown: (StatusCode::NOT_FOUND, "no-such-grants"),
    full: (StatusCode::CONFLICT, "too-many-grants"),
    unreadable: (StatusCode::SERVICE_UNAVAILABLE, "grants-unreadable"),
};

pub(super) fn list(grants: &GrantsFolder, windows: &Registry) -> Response<Body> {
    let statuses = grants.statuses().into_iter();
    let list = GrantsList {
        grants: statuses
            .map(|status| in_force(grants, windows, status))
            .collect(),
        folder_fault: grants.files().folder_fault(),
    };
    reply::json(StatusCode::OK, &list)
}

/// With what the host does not give as the file says.
fn in_force(grants: &GrantsFolder, windows: &Registry, mut status: GrantsStatus) -> GrantsStatus {
    if let Some(granted) = &mut status.granted {
        let current = grants.current(&granted.window);
        granted
            .sentences
            .extend(windows.less_than_granted(&current));
    }
    status
}

pub(super) fn show(grants: &GrantsFolder, windows: &Registry, name: &WindowName) -> Response<Body> {
    match grants.status(name.as_str()) {
        Some((status, text)) => {
            let (grants, manifest) = (in_force(grants, windows, status), Some(text));
            reply::json(StatusCode::OK, &GrantsDetail { grants, manifest })
        }
        None => refuse(&KIND, &EditError::Unknown(name.to_string())),
    }
}

/// `PUT /windows/NAME/grants?yes=true&dry-run=true`.
pub(super) async fn put(
    tasks: &Tasks,
    grants: &Arc<GrantsFolder>,
    windows: &Arc<Registry>,
    name: WindowName,
    query: &str,
    body: Body,
) -> Response<Body> {
    let parameters = Query::read(query, &["yes", "dry-run"]).and_then(|query| {
        let consent = query.parsed::<Consent>("yes")?.unwrap_or_default();
        Ok((
            consent,
            query.parsed::<bool>("dry-run")?.unwrap_or_default(),
        ))
    });
    let (consent, dry) = match parameters {
        Ok(parameters) => parameters,
        Err(error) => return reply::change_error(&error),
    };
    let text = match manifests::text(&KIND, body).await {
        Ok(text) => text,
        Err(refusal) => return refusal,
    };
    if dry {
        let files = grants.files().clone();
        let tried = in_time(grants.files().dir(), move || {
            files.try_put(name.as_str(), &text)
        });
        return manifests::tried(&KIND, tried.await);
    }
    let (files, of, sent) = (grants.files().clone(), name.clone(), text.clone());
    let read = in_time(grants.files().dir(), move || {
        files.parse(of.as_str(), &sent)
    });
    let read = match read.await {
        Ok(read) => read,
        Err(error) => return refuse(&KIND, &error),
    };
    let after = grants.would_be(name.as_str(), &read);
    let kept = match consent == Consent::Everything {
        true => None,
        false => windows.kept_as_it_is(&name, &after).await,
    };
    if let Err(asked) = windows.ask_of_grants(name.as_str(), &after, &consent) {
        return reply::change_error(&asked);
    }
    let (grants, windows) = (grants.clone(), windows.clone());
    let change = async move {
        let folder = grants.clone();
        let put = in_time(grants.files().dir(), move || {
            // What it was compared with stays until the edit holds, however late that is.
            let _kept = kept;
            let put = folder.files().put(name.as_str(), &text);
            // A text that holds already is not read again, and neither are its secrets.
            folder.reload_secrets_of(name.as_str());
            put
        });
        match put.await {
            Ok((status, new)) => {
                let code = if new {
                    StatusCode::CREATED
                } else {
                    StatusCode::OK
                };
                let grants = in_force(&grants, &windows, grants.shown(&status));
                let manifest = None;
                reply::json(code, &GrantsDetail { grants, manifest })
            }
            Err(error) => refuse(&KIND, &error),
        }
    };
    tasks.answer(change).await
}

pub(super) async fn remove(
    tasks: &Tasks,
    grants: &Arc<GrantsFolder>,
    name: WindowName,
) -> Response<Body> {
    let files = grants.files().clone();
    let change = async move {
        let (edited, file) = (files.clone(), name.clone());
        let removed = in_time(files.dir(), move || edited.remove(file.as_str()));
        match removed.await {
            Ok(why) => {
                let removed = name.to_string();
                reply::changed(RemovedGrants { removed }, why.as_deref())
            }
            Err(error) => refuse(&KIND, &error),
        }
    };
    tasks.answer(change).await
}
