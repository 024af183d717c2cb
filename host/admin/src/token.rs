//! The admin API's credential, `DATA/admin.token`, which is reloaded while the host runs.

use anyhow::Context;
use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hms_disk::files::{read_at_most, write_whole_private};
use hms_disk::permissions::warn_if_readable;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::time::Instant;

/// Minimum length of a token, in characters. Ours have 43; a crash of the machine can leave a file
/// empty, truncated or zeroed.
const MIN_CHARS: usize = 32;

/// Bytes of the file that are read. A token has some dozens.
const MAX_FILE_BYTES: u64 = 4 << 10;

/// Minimum interval between two reads of the file. 100 ms: nobody can cause more reads, and a
/// replaced token is valid for no longer.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a request waits for a read. 1 s: reading a few bytes takes longer only if the disk
/// hangs.
const LOOK_TIME: Duration = Duration::from_secs(1);

/// The path of a data folder's token.
pub fn path(data: &Path) -> PathBuf {
    data.join("admin.token")
}

/// The token of a data folder. If there is no valid one, creates one from 256 random bits, with
/// mode 0600.
///
/// # Errors
/// If the file cannot be read or created.
pub fn load_or_create(data: &Path) -> anyhow::Result<String> {
    let path = path(data);
    match std::fs::read(&path) {
        Ok(bytes) => {
            if let Some(token) = usable(&bytes) {
                warn_if_readable(&path, "the admin token");
                return Ok(token);
            }
            tracing::warn!(
                "{} has no token of at least {MIN_CHARS} characters: creating a new one",
                path.display()
            );
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(error).with_context(|| format!("{} cannot be read", path.display()));
        }
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("cannot get random numbers: {error}"))?;
    let token = URL_SAFE_NO_PAD.encode(bytes);
    write_whole_private(&path, token.as_bytes())
        .with_context(|| format!("cannot create {}", path.display()))?;
    Ok(token)
}

/// The token of a data folder that a host has created.
///
/// # Errors
/// If there is no valid one; the message says how to supply another.
pub fn load(data: &Path) -> anyhow::Result<String> {
    let path = path(data);
    let bytes = std::fs::read(&path).map_err(|error| {
        let advice = match error.kind() {
            ErrorKind::PermissionDenied => {
                "run this as the host's user, or set HMS_ADMIN_TOKEN to the token"
            }
            _ => "set the host's data folder with --data, or set HMS_ADMIN_TOKEN",
        };
        let what = format!("cannot read the admin token {}: {advice}", path.display());
        anyhow::Error::new(error).context(what)
    })?;
    usable(&bytes).with_context(|| {
        format!(
            "{} has no token: restart the host to create one",
            path.display()
        )
    })
}

/// The token in the bytes of a file, if it is valid: what a crash left of a file is not a
/// credential.
fn usable(bytes: &[u8]) -> Option<String> {
    let token = std::str::from_utf8(bytes).ok()?.trim();
    let whole = token.len() >= MIN_CHARS && token.bytes().all(|byte| byte.is_ascii_graphic());
    whole.then(|| token.to_owned())
}

/// The token that a running host requires.
///
/// Whoever asks with a token has the file looked at first, at most every [`LOOK_EVERY`]. So a token
/// that was replaced opens nothing after that, and its successor is good at once.
///
/// It is not followed as other files are: an event can be lost, and what was withdrawn must not
/// open anything until the next look.
pub struct AdminToken {
    path: PathBuf,
    /// SHA-256 of the token. Comparing digests takes a time that does not depend on where two
    /// tokens differ.
    digest: ArcSwap<[u8; 32]>,
    /// Held during a read.
    looked: Mutex<Looked>,
}

struct Looked {
    at: Instant,
    /// Why the file was invalid the last time, as it was logged.
    fault: Option<String>,
}

impl AdminToken {
    /// The token of a data folder, created if there is no valid one.
    ///
    /// # Errors
    /// If the file cannot be read or created.
    pub fn open(data: &Path) -> anyhow::Result<Arc<Self>> {
        let token = load_or_create(data)?;
        Ok(Self::new(path(data), &token))
    }

    fn new(path: PathBuf, token: &str) -> Arc<Self> {
        let looked = Looked {
            at: Instant::now(),
            fault: None,
        };
        Arc::new(AdminToken {
            path,
            digest: ArcSwap::from_pointee(Sha256::digest(token).into()),
            looked: Mutex::new(looked),
        })
    }

    /// Of no file.
    #[cfg(test)]
    pub fn fixed(token: &str) -> Arc<Self> {
        Self::new(PathBuf::from("/nowhere"), token)
    }

    /// Whether `given` is the token in the file.
    pub async fn admits(self: &Arc<Self>, given: &str) -> bool {
        let given: [u8; 32] = Sha256::digest(given).into();
        given.ct_eq(&self.credential().await).into()
    }

    /// SHA-256 of the token in the file. It does not wait for a file that was read a moment ago or
    /// is being read.
    pub(super) async fn credential(self: &Arc<Self>) -> [u8; 32] {
        if self.is_due() {
            let token = self.clone();
            let look = tokio::task::spawn_blocking(move || token.look_unless_looked_at());
            // A disk that hangs must not keep an operator out.
            let _ = tokio::time::timeout(LOOK_TIME, look).await;
        }
        **self.digest.load()
    }

    fn is_due(&self) -> bool {
        let looked = self.looked.try_lock();
        looked.is_some_and(|looked| looked.at.elapsed() >= LOOK_EVERY)
    }

    fn look_unless_looked_at(&self) {
        if let Some(mut looked) = self.looked.try_lock()
            && looked.at.elapsed() >= LOOK_EVERY
        {
            // What is wrong was said.
            let _ = self.look(&mut looked);
        }
    }

    /// Reads the file now. Returns whether it has a different token; if it has no valid one, the
    /// last one stays.
    ///
    /// # Errors
    /// A sentence, if the file cannot be read or has no token.
    pub fn read_again(&self) -> Result<bool, String> {
        self.look(&mut self.looked.lock())
    }

    fn look(&self, looked: &mut Looked) -> Result<bool, String> {
        let read = read(&self.path);
        looked.at = Instant::now();
        let shown = self.path.display();
        match read {
            Ok(token) => {
                if looked.fault.take().is_some() {
                    tracing::info!("the admin token {shown} is readable again");
                }
                let digest: [u8; 32] = Sha256::digest(token).into();
                let changed = digest != **self.digest.load();
                if changed {
                    self.digest.store(Arc::new(digest));
                    tracing::info!("{shown} has a new admin token; the old one is now refused");
                    warn_if_readable(&self.path, "the admin token");
                }
                Ok(changed)
            }
            Err(why) => {
                if looked.fault.as_ref() != Some(&why) {
                    tracing::warn!("{why}; the last admin token stays valid");
                    looked.fault = Some(why.clone());
                }
                Err(why)
            }
        }
    }
}

/// The token in the file at `path`. Its errors name the file.
fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let cannot = |error: io::Error| format!("{shown} cannot be read: {error}");
    // Opening what is no file, such as a pipe, could wait for ever.
    if !std::fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    let bytes = read_at_most(path, MAX_FILE_BYTES).map_err(cannot)?;
    usable(&bytes).ok_or_else(|| format!("{shown} has no token of at least {MIN_CHARS} characters"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const OTHER: &str = "another-token-of-the-operators-own-making";

    #[tokio::test(start_paused = true)]
    async fn replaced_token_takes_effect_at_once_and_disables_the_old_one() {
        let data = tempfile::tempdir().unwrap();
        let token = AdminToken::open(data.path()).unwrap();
        let first = load(data.path()).unwrap();
        assert!(token.admits(&first).await && !token.admits(OTHER).await);
        assert!(!token.admits(&first[1..]).await && !token.admits("").await);
        for (file, mode) in [(OTHER.into(), 0o600), (format!("{first}\n"), 0o644)] {
            std::fs::write(path(data.path()), &file).unwrap();
            std::fs::set_permissions(path(data.path()), PermissionsExt::from_mode(mode)).unwrap();
            tokio::time::sleep(LOOK_EVERY).await;
            for given in [OTHER, &first] {
                assert_eq!(token.admits(given).await, file.trim() == given, "{file}");
            }
        }
        // An operator does not wait for the next look.
        std::fs::write(path(data.path()), OTHER).unwrap();
        assert_eq!(token.read_again(), Ok(true));
        assert_eq!(token.read_again(), Ok(false));
        assert!(token.admits(OTHER).await);
    }

    #[tokio::test(start_paused = true)]
    async fn malformed_token_file_keeps_the_last_good_token() {
        let data = tempfile::tempdir().unwrap();
        let token = AdminToken::open(data.path()).unwrap();
        let (first, path) = (load(data.path()).unwrap(), path(data.path()));
        for left in [&b""[..], b"\n", &[0; 43], b"half-a-token", &[b'a'; 5000]] {
            std::fs::write(&path, left).unwrap();
            assert!(token.read_again().is_err(), "{} bytes", left.len());
        }
        std::fs::remove_file(&path).unwrap();
        assert!(token.read_again().unwrap_err().contains("cannot be read"));
        std::fs::create_dir(&path).unwrap();
        assert!(token.read_again().unwrap_err().contains("is not a file"));
        tokio::time::sleep(LOOK_EVERY).await;
        assert!(token.admits(&first).await && !token.admits("").await);
    }

    #[test]
    fn token_is_created_once_and_only_its_owner_can_read_it() {
        let data = tempfile::tempdir().unwrap();
        let first = load_or_create(data.path()).unwrap();
        assert_eq!(first, load_or_create(data.path()).unwrap());
        assert_eq!(first, load(data.path()).unwrap());
        let mode = std::fs::metadata(path(data.path()))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn token_left_incomplete_by_a_crash_admits_nobody_and_is_replaced() {
        let data = tempfile::tempdir().unwrap();
        for left in [
            &b""[..],
            b"\n",
            &[0; 43],
            b"half-a-token",
            b"a token with spaces is no token at all",
        ] {
            std::fs::write(path(data.path()), left).unwrap();
            assert!(load(data.path()).is_err(), "{left:?}");
            let token = load_or_create(data.path()).unwrap();
            assert_eq!(token.len(), 43);
            assert_eq!(load(data.path()).unwrap(), token);
            let mode = std::fs::metadata(path(data.path())).unwrap();
            assert_eq!(mode.permissions().mode() & 0o777, 0o600);
        }
        // One that an operator wrote stays.
        let own = "0123456789abcdef0123456789abcdef";
        std::fs::write(path(data.path()), format!("{own}\n")).unwrap();
        assert_eq!(load_or_create(data.path()).unwrap(), own);
    }
}
