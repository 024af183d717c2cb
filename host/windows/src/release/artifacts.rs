//! Components on disk by digest, and the native code compiled from them.
//!
//! `DATA/artifacts/DIGEST.wasm` is an uploaded component;
//! `DATA/artifacts/native/DIGEST-COMPATIBILITY` is the native code that our compiler made of it for
//! one engine. Both are created by renaming a finished, synced file.

use crate::ChangeError;
use crate::release::deploy_queue::{Asker, DeployPermit, DeployQueue, Full, Load};
use hms_net::lanes;
use hms_runtime::Compiler;
pub(crate) use hms_runtime::native::hex;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::sync::{MutexGuard, Semaphore, SemaphorePermit};

/// Concurrent uploads of components. 8: each may write as fast as the disk allows, and has at most
/// 128 MiB.
const MAX_RECEIVING: usize = 8;

/// Uploads that wait, and deploys that wait for a compiler. 32: each of the latter is a file of up
/// to 128 MiB on disk, and the last one waits for 31 compiles of some seconds each.
pub const MAX_WAITING: usize = 32;

/// Components read into memory at once for inspection. 2: each has at most 128 MiB, and takes less
/// than a second.
const MAX_CHECKED: usize = 2;

/// The folder of artifacts.
pub struct Artifacts {
    root: PathBuf,
    compiler: Compiler,
    receiving: Arc<DeployQueue>,
    /// One compiler fewer than processors, but at least one: requests must go on meanwhile.
    compiling: Arc<DeployQueue>,
    checking: Semaphore,
    /// Locked while damaged native code is compiled again, so that only one of several windows with
    /// the same component does it.
    mending: tokio::sync::Mutex<()>,
    pins: Mutex<Pins>,
    /// Locked while unused artifacts are removed.
    clearing: Mutex<()>,
}

/// Digests that deploys in progress rely on. Locked only for a lookup or a rename.
#[derive(Default)]
struct Pins {
    /// With the number of deploys.
    held: HashMap<String, usize>,
    /// Digests pinned at any time since the current removal began: the records that it uses may not
    /// have them.
    since_clearing: Option<HashSet<String>>,
}

/// A component that is completely on disk, under a temporary name that is removed with it.
pub struct Upload {
    path: PathBuf,
    /// SHA-256, hexadecimal.
    pub digest: String,
    /// Size in bytes.
    pub size: u64,
}

impl Drop for Upload {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// An upload in progress.
pub struct Receiving {
    _permit: DeployPermit,
    file: tokio::fs::File,
    upload: Upload,
    hasher: Sha256,
    limit: u64,
}

/// Keeps an artifact from being removed while a deploy relies on it.
pub(crate) struct Pin {
    artifacts: Arc<Artifacts>,
    digest: String,
}

impl Pin {
    /// The digest of the artifact.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.artifacts.pins();
        if let Some(count) = pins.held.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                pins.held.remove(&self.digest);
            }
        }
    }
}

fn disk(path: &Path) -> impl FnOnce(std::io::Error) -> ChangeError + '_ {
    move |error| ChangeError::Disk(format!("{}: {error}", path.display()))
}

impl Artifacts {
    /// Opens the folder `root`, creating it if necessary, and removes unfinished files of earlier
    /// runs.
    ///
    /// # Errors
    ///
    /// If the folder cannot be written.
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
            receiving: DeployQueue::new(MAX_RECEIVING, MAX_WAITING),
            compiling: DeployQueue::new(lanes::count().saturating_sub(1), MAX_WAITING),
            checking: Semaphore::new(MAX_CHECKED),
            mending: tokio::sync::Mutex::default(),
            pins: Mutex::default(),
            clearing: Mutex::default(),
        }))
    }

    /// Begins an upload of at most `limit` bytes from `who`, when it has its turn.
    ///
    /// # Errors
    ///
    /// If too many wait already, or the disk fails.
    pub async fn receive(&self, limit: u64, who: &str) -> Result<Receiving, ChangeError> {
        let asker = Asker {
            who,
            refusable: true,
            waits: &|_| {},
        };
        let permit = self.receiving.acquire(&asker).await;
        let permit = permit.map_err(|Full| ChangeError::Busy("to be taken in"))?;
        let path = self.incoming();
        let file = tokio::fs::File::create_new(&path)
            .await
            .map_err(disk(&path))?;
        Ok(Receiving {
            _permit: permit,
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

    pub(crate) fn incoming_folder(&self) -> PathBuf {
        self.root.join("incoming")
    }

    fn incoming(&self) -> PathBuf {
        self.incoming_folder()
            .join(uuid::Uuid::new_v4().to_string())
    }

    pub(crate) fn wasm_path(&self, digest: &str) -> PathBuf {
        self.root.join(format!("{digest}.wasm"))
    }

    /// Keeps the artifact of that digest until the pin is dropped.
    pub(crate) fn pin(self: &Arc<Self>, digest: &str) -> Pin {
        let mut pins = self.pins();
        *pins.held.entry(digest.to_owned()).or_default() += 1;
        if let Some(since) = &mut pins.since_clearing {
            since.insert(digest.to_owned());
        }
        drop(pins);
        Pin {
            artifacts: self.clone(),
            digest: digest.to_owned(),
        }
    }

    fn pins(&self) -> parking_lot::MutexGuard<'_, Pins> {
        self.pins.lock()
    }

    /// A permit to read a component into memory.
    pub(crate) async fn leave_to_check(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.checking.acquire().await.ok()
    }

    /// Moves a checked upload to its place. Equal components are one file, the latest: a deploy of
    /// good bytes thus repairs a file that the disk has damaged.
    pub(crate) fn keep(&self, upload: &Upload) -> Result<(), ChangeError> {
        let place = self.wasm_path(&upload.digest);
        std::fs::rename(&upload.path, &place).map_err(disk(&place))?;
        // Also if it existed: whoever created it may have failed here.
        sync_folder(&self.root)
    }

    /// The native code of the artifact of that digest. Compiles it unless it exists.
    pub(crate) async fn compiled(
        &self,
        digest: &str,
        compatibility: &str,
        asker: &Asker<'_>,
    ) -> Result<PathBuf, ChangeError> {
        let place = self.native_path(digest, compatibility);
        if !place.exists() {
            let _compiler = self.compiler(asker).await?;
            // Others may have waited with the same component.
            if !place.exists() {
                self.compile(digest, &place).await?;
            }
        }
        Ok(place)
    }

    /// The same, replacing existing native code.
    pub(crate) async fn compiled_anew(
        &self,
        digest: &str,
        compatibility: &str,
    ) -> Result<PathBuf, ChangeError> {
        let place = self.native_path(digest, compatibility);
        let _compiler = self.compiler(&Asker::HOST).await?;
        self.compile(digest, &place).await?;
        Ok(place)
    }

    /// Locked while damaged native code is checked and compiled again.
    pub(crate) async fn mending(&self) -> MutexGuard<'_, ()> {
        self.mending.lock().await
    }

    /// How many components are compiled at once.
    pub fn compiling(&self) -> Load {
        self.compiling.load()
    }

    /// How many components are uploaded at once.
    pub fn receiving(&self) -> Load {
        self.receiving.load()
    }

    fn native_path(&self, digest: &str, compatibility: &str) -> PathBuf {
        let name = format!("{digest}-{compatibility}");
        self.root.join("native").join(name)
    }

    async fn compiler(&self, asker: &Asker<'_>) -> Result<DeployPermit, ChangeError> {
        let permit = self.compiling.acquire(asker).await;
        permit.map_err(|Full| ChangeError::Busy("for a compiler"))
    }

    async fn compile(&self, digest: &str, place: &Path) -> Result<(), ChangeError> {
        let fresh = self.incoming();
        let wasm = self.wasm_path(digest);
        let result = self.compiler.compile(&wasm, digest, &fresh).await;
        let moved = match result {
            Ok(()) => std::fs::rename(&fresh, place).map_err(disk(place)),
            Err(error) => Err(error.into()),
        };
        if moved.is_err() {
            let _ = std::fs::remove_file(&fresh);
        }
        moved?;
        sync_folder(&self.root.join("native"))
    }

    /// Removes every artifact whose digest is neither in the result of `used` nor pinned, now or
    /// since. What cannot be removed stays for the next time. Blocks as long as `used` and the disk
    /// do; pinning meanwhile does not wait for it.
    pub(crate) fn clear_unused(&self, used: impl FnOnce() -> Option<HashSet<String>>) {
        let _alone = self.clearing.lock();
        let mut pins = self.pins();
        // First: a deploy drops its pin only when its release is recorded, so each digest is in one
        // of the two.
        pins.since_clearing = Some(pins.held.keys().cloned().collect());
        drop(pins);
        if let Some(used) = used() {
            for folder in [self.root.clone(), self.root.join("native")] {
                self.clear(&folder, &used);
            }
        }
        self.pins().since_clearing = None;
    }

    /// Does `first`, then pins every existing component until the pins are dropped. Nothing is
    /// removed between the two. Blocks.
    ///
    /// # Errors
    ///
    /// That of `first`, or if the folder cannot be listed.
    pub(crate) fn hold_all<T>(
        self: &Arc<Self>,
        first: impl FnOnce() -> Result<T, ChangeError>,
    ) -> Result<(T, Vec<Pin>), ChangeError> {
        let _alone = self.clearing.lock();
        let done = first()?;
        let mut pins = Vec::new();
        for entry in std::fs::read_dir(&self.root).map_err(disk(&self.root))? {
            let name = entry.map_err(disk(&self.root))?.file_name();
            let digest = name.to_str().and_then(|name| name.strip_suffix(".wasm"));
            if let Some(digest) = digest.filter(|digest| digest.len() == 64) {
                pins.push(self.pin(digest));
            }
        }
        Ok((done, pins))
    }

    fn clear(&self, folder: &Path, used: &HashSet<String>) {
        let Ok(entries) = std::fs::read_dir(folder) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let digest = name.split(['.', '-']).next().unwrap_or_default();
            if digest.len() != 64 || used.contains(digest) || !entry.path().is_file() {
                continue;
            }
            let aside = self.incoming();
            let pins = self.pins();
            let since = pins.since_clearing.as_ref();
            // Renamed before anybody can pin it; its removal may take the disk longer.
            let moved = since.is_some_and(|since| !since.contains(digest))
                && std::fs::rename(entry.path(), &aside).is_ok();
            drop(pins);
            if moved {
                let _ = std::fs::remove_file(aside);
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
    ///
    /// If the component exceeds the limit, or the disk fails.
    pub async fn chunk(&mut self, bytes: &[u8]) -> Result<(), ChangeError> {
        self.upload.size += bytes.len() as u64;
        if self.upload.size > self.limit {
            return Err(ChangeError::TooLarge { limit: self.limit });
        }
        self.hasher.update(bytes);
        let path = &self.upload.path;
        self.file.write_all(bytes).await.map_err(disk(path))
    }

    /// Completes the upload.
    ///
    /// # Errors
    ///
    /// If the disk fails.
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
    pub(crate) fn read(&self) -> Result<Vec<u8>, ChangeError> {
        std::fs::read(&self.path).map_err(disk(&self.path))
    }
}
