//! Components on disk by digest, and the native code compiled from them.
//!
//! `DATA/artifacts/DIGEST.wasm` is what was uploaded; `DATA/artifacts/native/DIGEST-COMPATIBILITY`
//! is what our compiler made of it for one engine. Both are put in place by renaming a finished,
//! synced file.

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

/// Components taken in at once. 8: each may write as fast as the disk takes it, and is 128 MiB at
/// most.
const MAX_RECEIVING: usize = 8;

/// Uploads that wait to be taken in, and deploys that wait for a compiler. 32: each of the latter
/// is a file of up to 128 MiB on disk, and whoever is last waits for 31 compiles of some seconds
/// each.
pub const MAX_WAITING: usize = 32;

/// Components read into memory at once to be checked. 2: each is 128 MiB at most, and takes less
/// than a second.
const MAX_CHECKED: usize = 2;

/// The folder of artifacts.
pub struct Artifacts {
    root: PathBuf,
    compiler: Compiler,
    receiving: Arc<DeployQueue>,
    /// One compiler fewer than processors at once, at least one: requests go on meanwhile.
    compiling: Arc<DeployQueue>,
    checking: Semaphore,
    /// Held while native code that was damaged is made anew, so that of many windows with one
    /// component one does it.
    mending: tokio::sync::Mutex<()>,
    pins: Mutex<Pins>,
    /// Held while what is unused is cleared away.
    clearing: Mutex<()>,
}

/// Digests that deploys under way rely on. Its lock is held for no longer than a look or a rename.
#[derive(Default)]
struct Pins {
    /// With how many deploys do.
    held: HashMap<String, usize>,
    /// Those that were pinned at any time since the clearing under way began: the records that it
    /// goes by may not have them.
    since_clearing: Option<HashSet<String>>,
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
    _permit: DeployPermit,
    file: tokio::fs::File,
    upload: Upload,
    hasher: Sha256,
    limit: u64,
}

/// Keeps an artifact from being cleared away while a deploy relies on it.
pub(crate) struct Pin {
    artifacts: Arc<Artifacts>,
    digest: String,
}

impl Pin {
    /// What it keeps.
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
    /// Opens the folder `root`, making it where it is missing, and clears what earlier runs left
    /// half done.
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
            receiving: DeployQueue::new(MAX_RECEIVING, MAX_WAITING),
            compiling: DeployQueue::new(lanes::count().saturating_sub(1), MAX_WAITING),
            checking: Semaphore::new(MAX_CHECKED),
            mending: tokio::sync::Mutex::default(),
            pins: Mutex::default(),
            clearing: Mutex::default(),
        }))
    }

    /// Begins to take in a component of at most `limit` bytes from `who`, when it is his turn.
    ///
    /// # Errors
    /// When too many wait already, or the disk does not take it.
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

    /// Leave to read a component into memory.
    pub(crate) async fn leave_to_check(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.checking.acquire().await.ok()
    }

    /// Puts a checked upload in its place. The same component twice is one file: the later one, so
    /// that a deploy of good bytes mends what the disk has damaged.
    pub(crate) fn keep(&self, upload: &Upload) -> Result<(), ChangeError> {
        let place = self.wasm_path(&upload.digest);
        std::fs::rename(&upload.path, &place).map_err(disk(&place))?;
        // Also where it was there: whoever put it there may have failed at this.
        sync_folder(&self.root)
    }

    /// The native code for the artifact of that digest, compiled now unless it is there already.
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

    /// The same, in place of what is there.
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

    /// Held while damaged native code is looked at and made anew.
    pub(crate) async fn mending(&self) -> MutexGuard<'_, ()> {
        self.mending.lock().await
    }

    /// How many components are compiled at once.
    pub fn compiling(&self) -> Load {
        self.compiling.load()
    }

    /// How many components are taken in at once.
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

    /// Removes every artifact whose digest is neither in what `used` gives nor pinned, then or
    /// since. What cannot be removed stays for next time. Blocks for as long as `used` and the disk
    /// do; who pins meanwhile does not wait for it.
    pub(crate) fn clear_unused(&self, used: impl FnOnce() -> Option<HashSet<String>>) {
        let _alone = self.clearing.lock();
        let mut pins = self.pins();
        // First of all: a deploy takes its pin away only when its release is recorded, so each is
        // in one of the two.
        pins.since_clearing = Some(pins.held.keys().cloned().collect());
        drop(pins);
        if let Some(used) = used() {
            for folder in [self.root.clone(), self.root.join("native")] {
                self.clear(&folder, &used);
            }
        }
        self.pins().since_clearing = None;
    }

    /// Does `first`, and then keeps every component that there is, until the pins are dropped.
    /// Nothing is cleared away from before the one to after the other. Blocks.
    ///
    /// # Errors
    /// That of `first`, or where the folder cannot be listed.
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
            // Out of its place before anybody can pin it; its removal may take the disk longer.
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
    pub(crate) fn read(&self) -> Result<Vec<u8>, ChangeError> {
        std::fs::read(&self.path).map_err(disk(&self.path))
    }
}
