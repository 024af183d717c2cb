//! Deploying a file of this machine: what `hms up` builds, and what is dropped into a watched folder.

use super::artifacts::Artifacts;
use super::deploy::DeployOptions;
use super::{ChangeError, Deployed, Registry, Upload, WindowName, WindowStatus};
use std::path::Path;
use std::sync::Arc;
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

async fn take_in(artifacts: &Artifacts, path: &Path, limit: u64) -> Result<Upload, ChangeError> {
    let broken =
        |error: std::io::Error| ChangeError::Upload(format!("{}: {error}", path.display()));
    let mut file = tokio::fs::File::open(path).await.map_err(broken)?;
    let mut receiving = artifacts.receive(limit).await?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = file.read(&mut chunk).await.map_err(broken)?;
        match chunk.get(..read) {
            Some(bytes) if read > 0 => receiving.chunk(bytes).await?,
            _ => return receiving.finish().await,
        }
    }
}
