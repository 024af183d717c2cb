//! The keys of a provider, kept fresh: one fetch at a time, the last good set for a bounded time, and a pause between
//! fetches, so that tokens with invented key ids do not become a flood at the provider.

use super::keys::{Key, KeySet, Miss};
use super::source::{JwksSource, KeyClients};
use crate::error::Error;
use arc_swap::ArcSwapOption;
use jsonwebtoken::Algorithm;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How old a set may get.
#[derive(Debug, Clone, Copy)]
pub struct Ages {
    /// From here on it is fetched anew, while requests go on with the old one.
    pub refresh: Duration,
    /// From here on it is believed no more. An hour: a provider's outage, not a forgotten key.
    pub dead: Duration,
    /// Between two fetches, whatever asks for them.
    pub pause: Duration,
}

impl Ages {
    fn of(source: &JwksSource) -> Ages {
        let dead = Duration::from_secs(3600);
        let (refresh, pause) = match source {
            // Reading a file costs nothing, and an edit should be live within a second.
            JwksSource::File(_) => (Duration::from_millis(900), Duration::from_millis(900)),
            JwksSource::Url(_) | JwksSource::Discovery(_) => {
                (Duration::from_secs(300), Duration::from_secs(10))
            }
        };
        Ages {
            refresh,
            dead,
            pause,
        }
    }
}

#[derive(Clone)]
struct Kept {
    set: Arc<KeySet>,
    /// Of the JSON that it was read from.
    digest: [u8; 32],
    /// Counts up with each set that is another.
    generation: u64,
    /// When it was fetched last.
    at: Instant,
}

/// A key, and the generation of the set that it is from.
pub struct Found {
    pub key: Arc<Key>,
    pub generation: u64,
}

/// The keys of one source.
pub struct Jwks {
    source: JwksSource,
    clients: KeyClients,
    ages: Ages,
    kept: ArcSwapOption<Kept>,
    /// Held during a fetch; when the last one began.
    fetching: Mutex<Option<Instant>>,
}

impl Jwks {
    pub fn new(source: JwksSource, clients: KeyClients) -> Arc<Self> {
        let ages = Ages::of(&source);
        Self::with_ages(source, clients, ages)
    }

    pub fn with_ages(source: JwksSource, clients: KeyClients, ages: Ages) -> Arc<Self> {
        let (kept, fetching) = (ArcSwapOption::empty(), Mutex::new(None));
        Arc::new(Jwks {
            source,
            clients,
            ages,
            kept,
            fetching,
        })
    }

    /// The key for a token of this header. `Ok(Err(_))` says why there is none.
    pub async fn find(
        self: &Arc<Self>,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Result<Found, Miss>, Error> {
        let kept = self.current().await?;
        match kept.find(id, algorithm) {
            Err(Miss::UnknownId) => {
                // A rotation that we have not seen yet, or an invention.
                self.clone().fetched(Some(kept)).await;
                let kept = self.alive().ok_or(Error::KeysUnavailable)?;
                Ok(kept.find(id, algorithm))
            }
            found => Ok(found),
        }
    }

    /// The generation of the set that is believed now, if there is one. Has it fetched anew when that is due, since a token
    /// that is remembered asks for nothing else.
    pub fn generation(self: &Arc<Self>) -> Option<u64> {
        self.refreshed().map(|kept| kept.generation)
    }

    async fn current(self: &Arc<Self>) -> Result<Arc<Kept>, Error> {
        if let Some(kept) = self.refreshed() {
            return Ok(kept);
        }
        self.clone().fetched(None).await;
        self.alive().ok_or(Error::KeysUnavailable)
    }

    /// The set that is believed now; where it is due, a fetch is begun.
    fn refreshed(self: &Arc<Self>) -> Option<Arc<Kept>> {
        let kept = self.alive()?;
        if kept.at.elapsed() >= self.ages.refresh && self.fetching.try_lock().is_ok() {
            tokio::spawn(self.clone().fetch_unless_newer(Some(kept.clone())));
        }
        Some(kept)
    }

    fn alive(&self) -> Option<Arc<Kept>> {
        self.kept
            .load_full()
            .filter(|kept| kept.at.elapsed() < self.ages.dead)
    }

    /// Waits for [`Jwks::fetch_unless_newer`] in a task of its own: a client that goes away must not end a fetch half way,
    /// or it could keep everybody from a new key by the pause that follows.
    async fn fetched(self: Arc<Self>, old: Option<Arc<Kept>>) {
        if tokio::spawn(self.fetch_unless_newer(old)).await.is_err() {
            tracing::error!("a fetch of keys ended by a fault of its own");
        }
    }

    /// Fetches, unless somebody else has just done so: then a set other than `old` is there, or the pause runs.
    async fn fetch_unless_newer(self: Arc<Self>, old: Option<Arc<Kept>>) {
        let mut last = self.fetching.lock().await;
        let newer = match (self.alive(), &old) {
            (Some(now), Some(old)) => !Arc::ptr_eq(&now, old),
            (now, _) => now.is_some(),
        };
        if newer || last.is_some_and(|last| last.elapsed() < self.ages.pause) {
            return;
        }
        *last = Some(Instant::now());
        let fetched = self.source.fetch(&self.clients).await;
        match fetched.and_then(|json| self.next(&json)) {
            Ok(kept) => self.kept.store(Some(Arc::new(kept))),
            Err(reason) => tracing::warn!(
                source = %self.source,
                reason,
                "the JWKS cannot be had; the last good keys serve for an hour at most"
            ),
        }
    }

    /// What is to be kept after this `json` came. The same text is the same set.
    fn next(&self, json: &[u8]) -> Result<Kept, String> {
        let (digest, at) = (Sha256::digest(json).into(), Instant::now());
        let before = self.kept.load_full();
        match before.as_deref() {
            Some(before) if before.digest == digest => Ok(Kept {
                at,
                ..before.clone()
            }),
            before => Ok(Kept {
                set: Arc::new(KeySet::parse(json)?),
                digest,
                generation: before.map_or(0, |before| before.generation) + 1,
                at,
            }),
        }
    }
}

impl Kept {
    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Found, Miss> {
        let key = self.set.find(id, algorithm)?;
        Ok(Found {
            key,
            generation: self.generation,
        })
    }
}
