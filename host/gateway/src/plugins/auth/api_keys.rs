//! API keys for machine callers: owner, creation and expiry. Stored in the data folder, hashed.

use super::api_key::{Hash, NewKey, split};
use super::claims::check_grant;
use super::token::refuse;
use crate::plugins::auth::AuthError;
use crate::request::caller::Caller;
use arc_swap::{ArcSwap, ArcSwapOption};
use hms_api::UnsavedKeys;
use hms_disk::files::{is_full_disk, write_whole_private};
use hms_disk::reserve::Reserve;
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::runtime::Handle;

/// Keys of one host. They are written together, and a back office has a few hundred machines at
/// most.
pub(super) const MAX_KEYS: usize = 4096;

/// The first and the longest pause before keys are written again after a failed write. The pause
/// doubles with each failure. 1 s and 30 s, as for the windows.
const SETTLE_PAUSE: Duration = Duration::from_secs(1);
const MAX_SETTLE_PAUSE: Duration = Duration::from_secs(30);

/// One key, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApiKey {
    /// The public part of the key, by which operators name it.
    pub id: String,
    /// The caller that the key names: what `sub` is to a token.
    pub user: String,
    /// What the key may do: what `scope` is to a token.
    pub scopes: Vec<String>,
    /// In UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// None: never.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires: Option<OffsetDateTime>,
}

impl From<ApiKey> for hms_api::Key {
    fn from(key: ApiKey) -> Self {
        hms_api::Key {
            id: key.id,
            user: key.user,
            scopes: key.scopes,
            created: key.created,
            expires: key.expires,
        }
    }
}

/// What is on disk of one key.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct KeyEntry {
    #[serde(flatten)]
    key: ApiKey,
    sha256: Hash,
}

#[derive(Serialize, Deserialize)]
struct Content {
    keys: Vec<KeyEntry>,
}

/// Why a change was not made. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A field of the new key is invalid. Says which and why.
    #[error("{0}")]
    Bad(String),
    /// There are [`MAX_KEYS`] keys.
    #[error("there are {MAX_KEYS} keys already: revoke some")]
    Full,
    /// No key has this id.
    #[error("there is no key '{0}'")]
    Unknown(String),
    /// The key file cannot be written.
    #[error("the keys cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// The keys of a host. A change holds for the next request when it returns. A new key is on disk by
/// then; a revoked one may not be, which the answer says, and then it is tried again in the
/// background.
#[derive(Debug)]
pub struct ApiKeys {
    /// None: the keys live as long as this process.
    file: Option<PathBuf>,
    reserve: Arc<Reserve>,
    keys: ArcSwap<BTreeMap<String, KeyEntry>>,
    unsaved: ArcSwapOption<UnsavedKeys>,
    /// Locked by whoever changes or writes the keys. Whether a task is retrying a failed write.
    changing: Mutex<bool>,
}

impl ApiKeys {
    /// Keys without a file.
    pub fn in_memory() -> Arc<Self> {
        Arc::new(ApiKeys {
            file: None,
            reserve: Arc::default(),
            keys: ArcSwap::default(),
            unsaved: ArcSwapOption::empty(),
            changing: Mutex::new(false),
        })
    }

    /// The keys in the data folder `dir`; none if there is no file yet. If the disk is full, a
    /// revocation is written into the space of `reserve`.
    ///
    /// # Errors
    ///
    /// If the file cannot be read. It is never treated as empty: that would revoke every key.
    pub fn open(dir: &Path, reserve: Arc<Reserve>) -> io::Result<Arc<Self>> {
        let file = dir.join("keys.json");
        let content = match std::fs::read(&file) {
            Ok(json) => serde_json::from_slice::<Content>(&json).map_err(|error| {
                let path = file.display();
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{path} holds no API keys ({error}): put a good copy in its place, or remove it with all keys"),
                )
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Content { keys: Vec::new() },
            Err(error) => {
                let why = format!("{}: {error}", file.display());
                return Err(io::Error::new(error.kind(), why));
            }
        };
        let keys = content
            .keys
            .into_iter()
            .map(|kept| (kept.key.id.clone(), kept));
        Ok(Arc::new(ApiKeys {
            file: Some(file),
            reserve,
            keys: ArcSwap::from_pointee(keys.collect()),
            unsaved: ArcSwapOption::empty(),
            changing: Mutex::new(false),
        }))
    }

    /// The caller that the key `text` proves, named by the key's user alone.
    pub fn caller(&self, text: &str) -> Result<Caller, AuthError> {
        const UNKNOWN: &str = "the API key is unknown or was revoked";
        let (id, secret) = split(text).ok_or_else(|| refuse(UNKNOWN))?;
        let keys = self.keys.load();
        let kept = keys
            .get(id)
            .filter(|kept| kept.sha256.is_of(secret))
            .ok_or_else(|| refuse(UNKNOWN))?;
        let key = &kept.key;
        if key
            .expires
            .is_some_and(|expires| expires <= OffsetDateTime::now_utc())
        {
            return Err(refuse("the API key has expired"));
        }
        Ok(Caller {
            user: key.user.clone(),
            scopes: key.scopes.clone(),
        })
    }

    /// Every key, the oldest first.
    pub fn list(&self) -> Vec<ApiKey> {
        let keys = self.keys.load();
        let mut list: Vec<ApiKey> = keys.values().map(|kept| kept.key.clone()).collect();
        list.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        list
    }

    /// The changes that are not on disk yet.
    pub fn unsaved(&self) -> Option<Arc<UnsavedKeys>> {
        self.unsaved.load_full()
    }

    /// Creates a key. Its text is only in the answer. Blocks on the file system.
    pub fn add(
        self: &Arc<Self>,
        user: &str,
        scopes: &[String],
        lifetime: Option<Duration>,
    ) -> Result<(ApiKey, String), KeyError> {
        check_grant(user, scopes).map_err(KeyError::Bad)?;
        let mut changing = self.changing();
        let mut keys = BTreeMap::clone(&self.keys.load());
        if keys.len() >= MAX_KEYS {
            return Err(KeyError::Full);
        }
        let mut new = NewKey::make()?;
        while keys.contains_key(&new.id) {
            new = NewKey::make()?;
        }
        let created = OffsetDateTime::now_utc();
        let key = ApiKey {
            id: new.id.clone(),
            user: user.into(),
            scopes: scopes.to_vec(),
            created,
            expires: lifetime.and_then(|life| created.checked_add(life.try_into().ok()?)),
        };
        let kept = KeyEntry {
            key: key.clone(),
            sha256: new.hash,
        };
        keys.insert(new.id, kept.clone());
        // To disk first: a key that has been shown must survive a restart.
        if let Err(error) = self.write(&keys) {
            // The file may contain the new key all the same, but nobody will ever learn its text.
            self.note(&error, None);
            self.settle_later(&mut changing);
            return Err(error.into());
        }
        // A key that was revoked meanwhile stays revoked, and is written next.
        self.keys.rcu(|keys| {
            let mut keys = BTreeMap::clone(keys);
            keys.insert(key.id.clone(), kept.clone());
            keys
        });
        self.unsaved.store(None);
        Ok((key, new.text))
    }

    /// Revokes a key at once, even if the disk fails. Returns what is not on disk yet. Requests
    /// admitted by the key continue; WebSockets end within a second. Blocks on the file system.
    pub fn revoke(self: &Arc<Self>, id: &str) -> Result<Option<Arc<UnsavedKeys>>, KeyError> {
        let mut was_there = false;
        // Outside of the queue: a change that waits for the disk must not keep a revoked key valid.
        self.keys.rcu(|keys| {
            let mut keys = BTreeMap::clone(keys);
            was_there = keys.remove(id).is_some();
            keys
        });
        let mut changing = self.changing();
        if !was_there {
            let unsaved = self.unsaved();
            let again = unsaved.as_ref().is_some_and(|u| u.revoked.contains(id));
            return again
                .then_some(unsaved)
                .ok_or_else(|| KeyError::Unknown(id.into()));
        }
        let id = Some(id.to_owned());
        match self.write_from_reserve() {
            Ok(()) => self.unsaved.store(None),
            Err(error) => {
                self.note(&error, id);
                self.settle_later(&mut changing);
            }
        }
        Ok(self.unsaved())
    }

    fn changing(&self) -> MutexGuard<'_, bool> {
        self.changing.lock()
    }

    fn write(&self, keys: &BTreeMap<String, KeyEntry>) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        write_whole_private(file, &json(keys)?)
    }

    /// The content of the file once the current keys are on disk: without the revoked ones. None if
    /// there are no keys.
    pub fn content(&self) -> io::Result<Option<Vec<u8>>> {
        let keys = self.keys.load();
        (!keys.is_empty()).then(|| json(&keys)).transpose()
    }

    /// Writes the current keys, if necessary into the space of the reserve.
    fn write_from_reserve(&self) -> io::Result<()> {
        let keys = self.keys.load();
        match self.write(&keys) {
            Err(error) if is_full_disk(&error) && self.reserve.give_up() => self.write(&keys),
            written => written,
        }
    }

    /// Records that a write failed, among it the revocation of `id`.
    fn note(&self, error: &io::Error, id: Option<String>) {
        let why = error.to_string();
        let before = self.unsaved();
        if before.as_ref().is_none_or(|before| before.why != why) {
            tracing::warn!(revoked = ?id, "the current API keys are not on disk yet: {why}");
        }
        let mut unsaved = before.map_or_else(
            || UnsavedKeys {
                since: OffsetDateTime::now_utc(),
                why: String::new(),
                revoked: BTreeSet::new(),
            },
            |before| UnsavedKeys::clone(&before),
        );
        unsaved.why = why;
        unsaved.revoked.extend(id);
        self.unsaved.store(Some(Arc::new(unsaved)));
    }

    /// Starts a task that retries the write, unless one is running.
    fn settle_later(self: &Arc<Self>, settling: &mut bool) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if std::mem::replace(settling, true) {
            return;
        }
        let keys = Arc::downgrade(self);
        runtime.spawn(async move {
            let mut pause = SETTLE_PAUSE;
            loop {
                tokio::time::sleep(pause).await;
                let Some(keys) = keys.upgrade() else {
                    return;
                };
                let settled = tokio::task::spawn_blocking(move || keys.settle());
                if settled.await.unwrap_or(true) {
                    return;
                }
                pause = (pause * 2).min(MAX_SETTLE_PAUSE);
            }
        });
    }

    /// Writes what is not on disk yet. Returns whether nothing is left to do.
    fn settle(&self) -> bool {
        let mut settling = self.changing();
        if let Some(unsaved) = self.unsaved() {
            let written = match unsaved.revoked.is_empty() {
                true => self.write(&self.keys.load()),
                false => self.write_from_reserve(),
            };
            if let Err(error) = written {
                self.note(&error, None);
                return false;
            }
            tracing::info!("the API keys are on disk again");
            self.unsaved.store(None);
        }
        *settling = false;
        true
    }
}

fn json(keys: &BTreeMap<String, KeyEntry>) -> io::Result<Vec<u8>> {
    let content = Content {
        keys: keys.values().cloned().collect(),
    };
    serde_json::to_vec_pretty(&content).map_err(io::Error::other)
}
