//! One deploy of one file.

use super::files::{DeployOutcome, Due};
use super::taken::Taken;
use crate::release::file;
use crate::{ChangeError, DeployOptions, FileDeploy, Registry};
use hms_api::{Release, WindowState};
use hms_disk::stamp::FileStamp;
use http::StatusCode;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The author of the deploy, in the history.
const BY: &str = "folder watch";

pub(super) async fn attempt(windows: Arc<Registry>, path: PathBuf, due: Due) -> DeployOutcome {
    if taken_before(&windows, &path, &due).await {
        tracing::debug!(window = %due.window, "the file was deployed already");
        return DeployOutcome::Done;
    }
    if let Ok((status, _)) = windows.status(&due.window)
        && status.canary.is_some()
    {
        // It would be refused, again and again as long as the canary runs.
        return DeployOutcome::Later(ChangeError::CanaryRunning(due.window).to_string());
    }
    // Without consent: there is nobody to ask.
    let options = DeployOptions {
        by: BY.into(),
        ..DeployOptions::default()
    };
    match file::deploy(&windows, &due.window, &path, Some(due.stamp), options).await {
        Ok(deployed) => {
            let live = match &deployed {
                FileDeploy::Deployed(deployed) => Some(&deployed.release),
                FileDeploy::Unchanged(status) => status.live.as_ref(),
            };
            if let Some(release) = live {
                note(&windows, &due, release.digest.clone()).await;
            }
            DeployOutcome::Done
        }
        Err(error) => {
            let now = tokio::fs::metadata(&path).await;
            if now.map(|metadata| FileStamp::of(&metadata)).ok() != Some(due.stamp) {
                // The file has changed: the next look handles it, and there is nothing to report.
                return DeployOutcome::Done;
            }
            let serving = match windows.status(&due.window) {
                Ok((status, _)) => status.live.map(|live| live.number),
                Err(_) => None,
            };
            // Nobody is there who could repeat anything.
            let said = match &error {
                ChangeError::NeedsConsent(why) => format!(
                    "{why}; to allow this, run `hms deploy {} --as {} --yes`",
                    path.display(),
                    due.window
                ),
                error => error.to_string(),
            };
            let reason = match serving {
                Some(number) => format!("{said}; release {number} stays"),
                None => said,
            };
            match speaks_of_the_file(&error) {
                true => DeployOutcome::Refused(reason),
                false => DeployOutcome::Later(reason),
            }
        }
    }
}

/// Whether this file was deployed before. What is live instead (a rollback, another deploy, or
/// nothing after a removal) was chosen later, and must not be undone by a restart, a changed file
/// mode, or a folder that is mounted again. Uses no clock: the file is identified by its content.
async fn taken_before(windows: &Registry, path: &Path, due: &Due) -> bool {
    let known = windows.status(&due.window).ok();
    let closed = known.as_ref().map(|(status, _)| &status.state) == Some(&WindowState::Unavailable);
    if closed {
        // It may be what repairs the window.
        return false;
    }
    let taken = windows.taken.get(&due.window).await;
    let may_be = match &taken {
        Some(taken) if taken.stamp == due.stamp => return true,
        Some(taken) => due.at_start || taken.stamp.same_write(&due.stamp),
        None => due.at_start,
    };
    if !may_be {
        return false;
    }
    let Ok(digest) = file::digest(path).await else {
        return false;
    };
    let releases = known.map(|(_, releases)| releases).unwrap_or_default();
    let before = match &taken {
        Some(taken) if taken.digest == digest => true,
        // A later file was deployed, but that could not be recorded.
        Some(taken) => {
            let later = |release: &&Release| release.number > taken.release;
            let mut ours = releases.iter().filter(later).filter(|r| r.by == BY);
            ours.next_back().is_some_and(|r| r.digest == digest)
        }
        // Deployed by a host that did not record it, or that ended before it could.
        None => releases.iter().any(|r| r.digest == digest),
    };
    if before {
        note(windows, due, digest).await;
    }
    before
}

async fn note(windows: &Registry, due: &Due, digest: String) {
    let status = windows.status(&due.window).ok();
    let last = status.and_then(|(_, releases)| releases.last().map(|release| release.number));
    let taken = Taken {
        digest,
        stamp: due.stamp,
        release: last.unwrap_or_default(),
    };
    if let Err(error) = windows.taken.put(&due.window, &taken).await {
        // Then the next start uses the window's history: see `taken_before`.
        tracing::warn!(window = %due.window, %error, "cannot record which file was deployed");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fixture, component, name};

    fn due(path: &Path, at_start: bool) -> Due {
        Due {
            file: "w.wasm".into(),
            window: name(),
            stamp: FileStamp::of(&std::fs::metadata(path).unwrap()),
            at_start,
        }
    }

    /// Attempts the file as it is. The number of the live release afterwards.
    async fn live_after(fixture: &Fixture, path: &Path, at_start: bool) -> u64 {
        let outcome = attempt(fixture.registry.clone(), path.into(), due(path, at_start)).await;
        assert_eq!(outcome, DeployOutcome::Done);
        let (status, _) = fixture.registry.status(&name()).unwrap();
        status.live.unwrap().number
    }

    #[tokio::test]
    async fn file_that_returns_unchanged_undoes_no_rollback() {
        let fixture = Fixture::new(false).await;
        let path = fixture.dir.path().join("w.wasm");
        fixture.deploy("w", 1, None).await;
        std::fs::write(&path, component(2)).unwrap();
        assert_eq!(live_after(&fixture, &path, false).await, 2);
        fixture
            .registry
            .rollback(&name(), None, false)
            .await
            .unwrap();
        for at_start in [false, true] {
            assert_eq!(live_after(&fixture, &path, at_start).await, 1);
        }
    }

    #[tokio::test]
    async fn file_without_a_saved_note_undoes_no_rollback_at_the_next_start() {
        let fixture = Fixture::new(false).await;
        let (path, taken) = (fixture.dir.path().join("w.wasm"), &fixture.registry.taken);
        std::fs::write(&path, component(1)).unwrap();
        assert_eq!(live_after(&fixture, &path, false).await, 1);
        let first = taken.get(&name()).await.unwrap();
        std::fs::write(&path, component(2)).unwrap();
        assert_eq!(live_after(&fixture, &path, false).await, 2);
        fixture
            .registry
            .rollback(&name(), None, false)
            .await
            .unwrap();
        taken.put(&name(), &first).await.unwrap();
        assert_eq!(live_after(&fixture, &path, true).await, 1);
        // An earlier file that is put back while the host is away is deployed.
        fixture
            .registry
            .rollback(&name(), Some(2), false)
            .await
            .unwrap();
        std::fs::write(&path, component(1)).unwrap();
        assert_eq!(live_after(&fixture, &path, true).await, 3);
    }
}
