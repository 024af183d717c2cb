//! Deploying a file of this machine: what `hms up` builds, and what is dropped into a watched folder.

use super::artifacts::{Artifacts, hex};
use super::deploy::DeployOptions;
use super::{ChangeError, Deployed, Registry, Upload, WindowName, WindowStatus};
use sha2::{Digest, Sha256};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

/// Bytes read from the file at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// What came of a file.
pub enum FileDeploy {
    /// It is live as a new release.
    Deployed(Box<Deployed>),
    /// It is the component of the live release already; nothing was done.
    Unchanged(Box<WindowStatus>),
}

impl Registry {
    /// Deploys the component at `path`, unless it is what is live already.
    ///
    /// # Errors
    /// Why it is not live; the old release still is.
    pub async fn deploy_file(
        self: &Arc<Self>,
        name: &WindowName,
        path: &Path,
        options: DeployOptions,
    ) -> Result<FileDeploy, ChangeError> {
        let upload = take_in(&self.artifacts, path, self.config.max_upload_bytes).await?;
        if let Ok((status, _)) = self.status(name).await
            && status.state != "unavailable"
            && status
                .live
                .as_ref()
                .is_some_and(|live| live.digest == upload.digest)
        {
            return Ok(FileDeploy::Unchanged(Box::new(status)));
        }
        let deployed = self.deploy(name.clone(), upload, options, &|_| {}).await?;
        Ok(FileDeploy::Deployed(Box::new(deployed)))
    }
}

/// The SHA-256 of the file at `path`, hexadecimal.
///
/// # Errors
/// When it cannot be read.
pub(super) async fn digest(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path).await?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    while let read @ 1.. = file.read(&mut chunk).await? {
        hasher.update(chunk.get(..read).unwrap_or_default());
    }
    Ok(hex(&hasher.finalize()))
}

async fn take_in(artifacts: &Artifacts, path: &Path, limit: u64) -> Result<Upload, ChangeError> {
    let broken =
        |error: std::io::Error| ChangeError::Upload(format!("{}: {error}", path.display()));
    let mut file = File::open(path).await.map_err(broken)?;
    let before = stamp(&file).await.map_err(broken)?;
    let mut receiving = artifacts.receive(limit).await?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = file.read(&mut chunk).await.map_err(broken)?;
        match chunk.get(..read) {
            Some(bytes) if read > 0 => receiving.chunk(bytes).await?,
            _ => break,
        }
    }
    // Half of one component and half of another may be a component.
    if stamp(&file).await.map_err(broken)? != before {
        let why = format!("{} was written while it was read", path.display());
        return Err(ChangeError::Upload(why));
    }
    receiving.finish().await
}

/// Length, and the time of the last change, which no writer can set back.
async fn stamp(file: &File) -> std::io::Result<(u64, i64, i64)> {
    let metadata = file.metadata().await?;
    Ok((metadata.len(), metadata.ctime(), metadata.ctime_nsec()))
}
