//! One deploy of one file.

use super::files::{Due, Outcome};
use super::taken::Taken;
use crate::windows::stamp::Stamp;
use crate::windows::{ChangeError, DeployOptions, FileDeploy, Registry};
use http::StatusCode;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Who deploys, as the history shows it.
const BY: &str = "folder watch";

pub(super) async fn attempt(windows: Arc<Registry>, path: PathBuf, due: Due) -> Outcome {
    if taken_before(&windows, &path, &due).await {
        tracing::debug!(window = %due.window, "the file was deployed already");
        return Outcome::Done;
    }
    if let Ok((status, _)) = windows.status(&due.window)
        && status.canary.is_some()
    {
        // It would be refused, once in a while for as long as the canary runs.
        return Outcome::Later(ChangeError::CanaryRunning(due.window).to_string());
    }
    // Not `yes`: there is nobody here to ask.
    let options = DeployOptions {
        by: BY.into(),
        ..DeployOptions::default()
    };
    match windows
        .deploy_found(&due.window, &path, Some(due.stamp), options)
        .await
    {
        Ok(deployed) => {
            let live = match &deployed {
                FileDeploy::Deployed(deployed) => Some(&deployed.release),
                FileDeploy::Unchanged(status) => status.live.as_ref(),
            };
            if let Some(release) = live {
                note(&windows, &due, release.digest.clone()).await;
            }
            Outcome::Done
        }
        Err(error) => {
            let now = tokio::fs::metadata(&path).await;
            if now.map(|metadata| Stamp::of(&metadata)).ok() != Some(due.stamp) {
                // It is another file by now: the next look sees that, and there is nothing to say.
                return Outcome::Done;
            }
            let serving = match windows.status(&due.window) {
                Ok((status, _)) => status.live.map(|live| live.number),
                Err(_) => None,
            };
            let reason = match serving {
                Some(number) => format!("{error}; release {number} stays"),
                None => error.to_string(),
            };
            match speaks_of_the_file(&error) {
                true => Outcome::Refused(reason),
                false => Outcome::Later(reason),
            }
        }
    }
}

/// Whether the file was taken before as it is. Whatever is live instead (a rollback, a deploy by other means, nothing after a
/// removal) was chosen later, and neither a restart nor another mode of the file must undo it. Asks no clock: the file is known
/// by its content.
async fn taken_before(windows: &Registry, path: &Path, due: &Due) -> bool {
    let known = windows.status(&due.window).ok();
    let closed = known.as_ref().map(|(status, _)| status.state) == Some("unavailable");
    if closed {
        // It may be what mends the window.
        return false;
    }
    let taken = windows.taken.get(&due.window);
    let may_be = match &taken {
        Some(taken) if taken.stamp == due.stamp => return due.at_start,
        Some(taken) => due.at_start || taken.stamp.same_write(&due.stamp),
        None => due.at_start,
    };
    if !may_be {
        return false;
    }
    let Ok(digest) = crate::windows::file::digest(path).await else {
        return false;
    };
    let before = match &taken {
        Some(taken) => taken.digest == digest,
        // Deployed by a host that did not note it, or that ended before it could.
        None => known.is_some_and(|(_, releases)| releases.iter().any(|r| r.digest == digest)),
    };
    if before {
        note(windows, due, digest).await;
    }
    before
}

async fn note(windows: &Registry, due: &Due, digest: String) {
    let stamp = due.stamp;
    let taken = Taken { digest, stamp };
    if let Err(error) = windows.taken.put(&due.window, &taken).await {
        // Then the next start goes by the window's history.
        tracing::warn!(window = %due.window, %error, "it is not noted which file was deployed");
    }
}

/// Whether the fault is in the file, so that only another file helps.
fn speaks_of_the_file(error: &ChangeError) -> bool {
    let (status, _) = error.parts();
    let needs_more = matches!(error, ChangeError::NeedsConsent(_));
    needs_more
        || status == StatusCode::UNPROCESSABLE_ENTITY
        || status == StatusCode::PAYLOAD_TOO_LARGE
}
