//! Deploys a file on this machine: one that `hms up` builds, or one in a watched folder.

use crate::release::artifacts::{Artifacts, hex};
use crate::release::deploy::DeployOptions;
use crate::{ChangeError, Registry, Upload, WindowName};
use hms_api::{Deployed, WindowState, WindowStatus};
use hms_disk::stamp::FileStamp;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

/// Bytes read from the file at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// The result for a file.
pub enum FileDeploy {
    /// It is live as a new release.
    Deployed(Box<Deployed>),
    /// It is already the component of the live release; nothing was done.
    Unchanged(Box<WindowStatus>),
}

/// Deploys the component at `path`, unless it is live already. If `found` is given, only while the
/// file is unchanged since.
///
/// # Errors
///
/// Why it is not live; the old release still is.
pub(crate) async fn deploy(
    registry: &Arc<Registry>,
    name: &WindowName,
    path: &Path,
    found: Option<FileStamp>,
    options: DeployOptions,
) -> Result<FileDeploy, ChangeError> {
    let limit = registry.config.max_upload_bytes;
    let upload = take_in(&registry.artifacts, path, found, limit, &options.by).await?;
    if let Ok((status, _)) = registry.status(name)
        && !matches!(
            status.state,
            WindowState::Unavailable | WindowState::Removing
        )
        && status
            .live
            .as_ref()
            .is_some_and(|live| live.digest == upload.digest)
    {
        return Ok(FileDeploy::Unchanged(Box::new(status)));
    }
    let deployed = registry.deploy(name.clone(), upload, options, &|_| {});
    Ok(FileDeploy::Deployed(Box::new(deployed.await?)))
}

/// The SHA-256 of the file at `path`, hexadecimal.
///
/// # Errors
/// If it cannot be read.
pub(crate) async fn digest(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path).await?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    while let read @ 1.. = file.read(&mut chunk).await? {
        hasher.update(chunk.get(..read).unwrap_or_default());
    }
    Ok(hex(&hasher.finalize()))
}

async fn take_in(
    artifacts: &Artifacts,
    path: &Path,
    found: Option<FileStamp>,
    limit: u64,
    who: &str,
) -> Result<Upload, ChangeError> {
    let broken =
        |error: std::io::Error| ChangeError::Upload(format!("{}: {error}", path.display()));
    let mut file = File::open(path).await.map_err(broken)?;
    let before = match found {
        Some(found) => found,
        None => stamp(&file).await.map_err(broken)?,
    };
    let mut receiving = artifacts.receive(limit, who).await?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = file.read(&mut chunk).await.map_err(broken)?;
        match chunk.get(..read) {
            Some(bytes) if read > 0 => receiving.chunk(bytes).await?,
            _ => break,
        }
    }
    // Half of one component and half of another may be a valid component.
    if stamp(&file).await.map_err(broken)? != before {
        let why = format!("{} was written while it was read", path.display());
        return Err(ChangeError::Upload(why));
    }
    receiving.finish().await
}

async fn stamp(file: &File) -> std::io::Result<FileStamp> {
    Ok(FileStamp::of(&file.metadata().await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hms_runtime::Compiler;

    #[tokio::test]
    async fn file_changed_since_it_was_found_is_not_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let compiler = Compiler::this_program(Default::default()).unwrap();
        let artifacts = Artifacts::open(dir.path().join("artifacts"), compiler).unwrap();
        let path = dir.path().join("a.wasm");
        std::fs::write(&path, "first").unwrap();
        let found = FileStamp::of(&std::fs::metadata(&path).unwrap());
        let taken = take_in(&artifacts, &path, Some(found), 100, "")
            .await
            .unwrap();
        assert_eq!(Some(taken.digest.clone()), digest(&path).await.ok());
        std::fs::write(&path, "another").unwrap();
        let refused = take_in(&artifacts, &path, Some(found), 100, "").await;
        let why = refused.err().unwrap().to_string();
        assert!(why.contains("written while it was read"), "{why}");
        assert!(take_in(&artifacts, &path, None, 100, "").await.is_ok());
    }
}
