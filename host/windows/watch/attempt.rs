//! One deploy of one file.

use super::files::{Due, Outcome};
use crate::windows::stamp::Stamp;
use crate::windows::{ChangeError, DeployOptions, Registry, ReleaseRecord};
use http::StatusCode;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Who deploys, as the history shows it.
const BY: &str = "folder watch";

pub(super) async fn attempt(windows: Arc<Registry>, path: PathBuf, due: Due) -> Outcome {
    if due.at_start
        && let Some(release) = deployed_since(&windows, &path, &due).await
    {
        tracing::debug!(window = %due.window, release = release.number, "the file was deployed already");
        return Outcome::Done;
    }
    if let Ok((status, _)) = windows.status(&due.window).await
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
        Ok(_) => Outcome::Done,
        Err(error) => {
            let now = tokio::fs::metadata(&path).await;
            if now.map(|metadata| Stamp::of(&metadata)).ok() != Some(due.stamp) {
                // It is another file by now: the next look sees that, and there is nothing to say.
                return Outcome::Done;
            }
            let serving = match windows.status(&due.window).await {
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

/// The release that this file became when it was last changed, if that is kept. Whatever is live instead (a rollback, a deploy by
/// other means) was chosen later, and a restart must not undo it.
async fn deployed_since(windows: &Registry, path: &Path, due: &Due) -> Option<ReleaseRecord> {
    let (_, releases) = windows.status(&due.window).await.ok()?;
    let may_be = |release: &ReleaseRecord| {
        release.size == due.stamp.bytes
            && release.deployed_at.unix_timestamp_nanos() >= due.stamp.changed_unix_ns()
    };
    if !releases.iter().any(may_be) {
        return None;
    }
    let digest = crate::windows::file::digest(path).await.ok()?;
    releases
        .into_iter()
        .rev()
        .find(|release| may_be(release) && release.digest == digest)
}

/// Whether the fault is in the file, so that only another file helps.
fn speaks_of_the_file(error: &ChangeError) -> bool {
    let (status, _) = error.parts();
    let needs_more = matches!(error, ChangeError::NeedsConsent(_));
    needs_more
        || status == StatusCode::UNPROCESSABLE_ENTITY
        || status == StatusCode::PAYLOAD_TOO_LARGE
}
