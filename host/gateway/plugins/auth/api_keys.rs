//! API keys for machine callers: who has one, since when and until when. Kept in the data folder, hashed.

use super::Caller;
use super::api_key::{Hash, NewKey, split};
use super::claims::check_grant;
use super::token::refuse;
use crate::error::Error;
use crate::files::write_whole_private;
use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;

/// Keys of one host. They are written together, and a back office has some hundred machines at most.
pub const MAX_KEYS: usize = 4096;

/// The longest life of a key that ends: ten years, in seconds.
const MAX_LIFETIME_S: u64 = 10 * 365 * 24 * 3600;

/// One key, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApiKey {
    pub id: String,
    /// Whom it names among the keys' users: what `sub` is to a token.
    pub user: String,
    pub scopes: Vec<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// None: never.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires: Option<OffsetDateTime>,
}

/// What is on disk of one key.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    key: ApiKey,
    sha256: Hash,
}

#[derive(Serialize, Deserialize)]
struct Content {
    keys: Vec<Kept>,
}

/// Why a change was not made. Everything is as it was.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{0}")]
    Bad(String),
    #[error("there are {MAX_KEYS} keys already: revoke some")]
    Full,
    #[error("there is no key '{0}'")]
    Unknown(String),
    #[error("the keys cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// The keys of a host. Changes are on disk, and hold for the next request, when they return.
#[derive(Debug)]
pub struct ApiKeys {
    /// None: for as long as this process lives.
    file: Option<PathBuf>,
    keys: ArcSwap<BTreeMap<String, Kept>>,
    changing: Mutex<()>,
}

impl ApiKeys {
    /// Keys that nobody keeps.
    pub fn in_memory() -> Self {
        ApiKeys {
            file: None,
            keys: ArcSwap::default(),
            changing: Mutex::new(()),
        }
    }

    /// The keys in the data folder `dir`; none where there is no file yet.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read. It is never taken for an empty one: that would revoke every key.
    pub fn open(dir: &Path) -> io::Result<Self> {
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
            Err(error) => return Err(error),
        };
        let keys = content
            .keys
            .into_iter()
            .map(|kept| (kept.key.id.clone(), kept));
        Ok(ApiKeys {
            file: Some(file),
            keys: ArcSwap::from_pointee(keys.collect()),
            changing: Mutex::new(()),
        })
    }

    /// The caller that the key `text` proves, called by the key's user alone.
    pub fn caller(&self, text: &str) -> Result<Caller, Error> {
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

    /// Makes a key. Its text is nowhere but in the answer. Blocks on the file system.
    pub fn add(
        &self,
        user: &str,
        scopes: &[String],
        lifetime: Option<Duration>,
    ) -> Result<(ApiKey, String), KeyError> {
        check_grant(user, scopes).map_err(KeyError::Bad)?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
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
        let kept = Kept {
            key: key.clone(),
            sha256: new.hash,
        };
        keys.insert(new.id, kept);
        self.keep(keys)?;
        Ok((key, new.text))
    }

    /// Takes a key away. Requests that were admitted with it go on; WebSockets end within a second.
    /// Blocks on the file system.
    pub fn revoke(&self, id: &str) -> Result<(), KeyError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys = BTreeMap::clone(&self.keys.load());
        if keys.remove(id).is_none() {
            return Err(KeyError::Unknown(id.into()));
        }
        Ok(self.keep(keys)?)
    }

    /// On disk first: what is acknowledged survives.
    fn keep(&self, keys: BTreeMap<String, Kept>) -> io::Result<()> {
        if let Some(file) = &self.file {
            let content = Content {
                keys: keys.values().cloned().collect(),
            };
            let json = serde_json::to_vec_pretty(&content).map_err(io::Error::other)?;
            write_whole_private(file, &json)?;
        }
        self.keys.store(keys.into());
        Ok(())
    }
}

/// How long a key is to live: `90s`, `30m`, `12h` or `30d`.
///
/// # Errors
///
/// What was expected.
pub fn parse_lifetime(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "use a number with s, m, h or d, from 1s to 3650d, for example 30d";
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit_s = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(EXPECTED.into()),
    };
    let seconds = number.parse::<u64>().ok();
    seconds
        .and_then(|number| number.checked_mul(unit_s))
        .filter(|seconds| (1..=MAX_LIFETIME_S).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| EXPECTED.into())
}
