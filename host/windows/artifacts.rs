//! Components on disk by digest, and the native code compiled from them.
//!
//! `DATA/artifacts/DIGEST.wasm` is what was uploaded; `DATA/artifacts/native/DIGEST-COMPATIBILITY` is what our compiler made
//! of it for one engine. Both are put in place by renaming a finished, synced file.

use super::ChangeError;
use crate::runtime::Compiler;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncWriteExt;

/// The folder of artifacts.
pub struct Artifacts {
    root: PathBuf,
    compiler: Compiler,
    /// Digests that a deploy under way relies on, with how many do.
    pinned: Mutex<HashMap<String, usize>>,
}

/// A component that is wholly on disk, under a temporary name that goes with it.
pub struct Upload {
    path: PathBuf,
    /// SHA-256, hexadecimal.
    pub digest: String,
    /// Bytes.
    pub size: u64,
}

impl Drop for Upload {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// An upload in progress.
pub struct Receiving {
    file: tokio::fs::File,
    upload: Upload,
    hasher: Sha256,
    limit: u64,
}

/// Keeps an artifact from being cleared away while a deploy relies on it.
pub(super) struct Pin {
    artifacts: Arc<Artifacts>,
    digest: String,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pinned = self
            .artifacts
            .pinned
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = pinned.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                pinned.remove(&self.digest);
            }
        }
    }
}

fn disk(path: &Path) -> impl FnOnce(std::io::Error) -> ChangeError + '_ {
    move |error| ChangeError::Disk(format!("{}: {error}", path.display()))
}

impl Artifacts {
    /// Opens the folder `root`, making it where it is missing, and clears what earlier runs left half done.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn open(root: PathBuf, compiler: Compiler) -> Result<Arc<Self>, ChangeError> {
        for folder in [root.clone(), root.join("native"), root.join("incoming")] {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .map_err(disk(&folder))?;
        }
        let incoming = root.join("incoming");
        for entry in std::fs::read_dir(&incoming)
            .map_err(disk(&incoming))?
            .flatten()
        {
            let _ = std::fs::remove_file(entry.path());
        }
        Ok(Arc::new(Artifacts {
            root,
            compiler,
            pinned: Mutex::default(),
        }))
    }

    /// Begins to take in a component of at most `limit` bytes.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub async fn receive(&self, limit: u64) -> Result<Receiving, ChangeError> {
        let path = self.incoming();
        let file = tokio::fs::File::create_new(&path)
            .await
            .map_err(disk(&path))?;
        Ok(Receiving {
            file,
            upload: Upload {
                path,
                digest: String::new(),
                size: 0,
            },
            hasher: Sha256::new(),
            limit,
        })
    }

    fn incoming(&self) -> PathBuf {
        self.root
            .join("incoming")
            .join(uuid::Uuid::new_v4().to_string())
    }

    pub(super) fn wasm_path(&self, digest: &str) -> PathBuf {
        self.root.join(format!("{digest}.wasm"))
    }

    /// Keeps the artifact of that digest until the pin is dropped.
    pub(super) fn pin(self: &Arc<Self>, digest: &str) -> Pin {
        let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        *pinned.entry(digest.to_owned()).or_default() += 1;
        Pin {
            artifacts: self.clone(),
            digest: digest.to_owned(),
        }
    }

    /// Puts a checked upload in its place. The same component twice is one file.
    pub(super) fn keep(&self, upload: &Upload) -> Result<(), ChangeError> {
        let place = self.wasm_path(&upload.digest);
        if !place.exists() {
            std::fs::rename(&upload.path, &place).map_err(disk(&place))?;
        }
        // Also where it was there: whoever put it there may have failed at this.
        sync_folder(&self.root)
    }

    /// The native code for the artifact of that digest, compiled now unless it is there already.
    pub(super) async fn compiled(
        &self,
        digest: &str,
        compatibility: &str,
    ) -> Result<PathBuf, ChangeError> {
        let native = self.root.join("native");
        let place = native.join(format!("{digest}-{compatibility}"));
        if place.exists() {
            return Ok(place);
        }
        let fresh = self.incoming();
        let wasm = self.wasm_path(digest);
        let result = self.compiler.compile(&wasm, &fresh).await;
        let moved = match result {
            Ok(()) => std::fs::rename(&fresh, &place).map_err(disk(&place)),
            Err(error) => Err(ChangeError::Compile(format!("{error:#}"))),
        };
        if moved.is_err() {
            let _ = std::fs::remove_file(&fresh);
        }
        moved?;
        sync_folder(&native)?;
        Ok(place)
    }

    /// Removes native code that could not be loaded, so that it is compiled anew.
    pub(super) fn discard(&self, compiled: &Path) {
        let _ = std::fs::remove_file(compiled);
    }

    /// Removes every artifact whose digest is neither in `used` nor pinned. What cannot be removed stays for next time.
    pub(super) fn clear_unused(&self, used: &HashSet<String>) {
        let pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        for folder in [self.root.clone(), self.root.join("native")] {
            let Ok(entries) = std::fs::read_dir(&folder) else {
                continue;
            };
            for entry in entries.flatten() {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                let digest = name.split(['.', '-']).next().unwrap_or_default();
                let is_artifact = digest.len() == 64 && entry.path().is_file();
                if is_artifact && !used.contains(digest) && !pinned.contains_key(digest) {
                    let _ = std::fs::remove_file(entry.path());
                }
            }
        }
    }
}

fn sync_folder(folder: &Path) -> Result<(), ChangeError> {
    std::fs::File::open(folder)
        .and_then(|file| file.sync_all())
        .map_err(disk(folder))
}

impl Receiving {
    /// Adds the next bytes.
    ///
    /// # Errors
    /// When the component has become too large, or the disk does not take it.
    pub async fn chunk(&mut self, bytes: &[u8]) -> Result<(), ChangeError> {
        self.upload.size += bytes.len() as u64;
        if self.upload.size > self.limit {
            return Err(ChangeError::TooLarge { limit: self.limit });
        }
        self.hasher.update(bytes);
        let path = &self.upload.path;
        self.file.write_all(bytes).await.map_err(disk(path))
    }

    /// The whole component is there.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub async fn finish(mut self) -> Result<Upload, ChangeError> {
        let path = &self.upload.path;
        self.file.flush().await.map_err(disk(path))?;
        self.file.sync_all().await.map_err(disk(path))?;
        self.upload.digest = hex(&self.hasher.finalize());
        Ok(self.upload)
    }
}

impl Upload {
    /// The whole file.
    pub(super) fn read(&self) -> Result<Vec<u8>, ChangeError> {
        std::fs::read(&self.path).map_err(disk(&self.path))
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
