//! The keys of a provider, kept fresh. The host fetches them on its own, whether or not requests
//! come: one fetch at a time, with a pause between two, so that tokens with invented key ids cannot
//! flood the provider. [`Ages`] bounds the age of a set.

use super::algorithms::Algorithm;
use super::fetches::Fetches;
use super::keys::{Key, KeySet, Miss};
use super::source::{JwksSource, KeyClients};
use crate::metrics::KeyState;
use crate::plugins::auth::AuthError;
use arc_swap::ArcSwapOption;
use hms_disk::changes::Changes;
use hms_disk::files::folder_of;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Time from a change of the file until it is read: saving in an editor causes several events. 100
/// ms, so that a busy folder causes at most ten reads a second.
const SETTLE: Duration = Duration::from_millis(100);

/// What to check if the response is not a key set, for the log.
const FORM: &str = r#"a JWKS is JSON such as {"keys": [{"kty": "EC", "crv": "P-256", "kid": "1", "x": "…", "y": "…"}]} (RFC 7517); a key in PEM has to be converted"#;

/// The age limits of a key set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ages {
    /// At this age the host fetches a new set on its own.
    pub refresh: Duration,
    /// At this age the set is used only after a fetch was tried. So a withdrawn key is dead after
    /// that time, whatever the traffic, unless the provider is unavailable.
    pub fresh: Duration,
    /// At this age the set is no longer used, even if every fetch since has failed. An hour: an
    /// outage of the provider, not a forgotten key.
    pub dead: Duration,
    /// The least time between two fetches, whatever the cause.
    pub pause: Duration,
    /// How long a failed fetch counts as tried. Longer than a pause and a fetch, so that requests
    /// do not wait for an unavailable provider: the host asks it between them.
    pub tried: Duration,
}

impl Ages {
    /// The limits for sets of `source`.
    pub(super) fn of(source: &JwksSource) -> Ages {
        let dead = Duration::from_secs(3600);
        match source {
            // Reading a file is cheap, and an edit should be live within a second.
            JwksSource::File(_) => Ages {
                refresh: Duration::from_millis(900),
                fresh: Duration::from_secs(2),
                dead,
                pause: Duration::from_millis(900),
                tried: Duration::from_secs(10),
            },
            JwksSource::Url(_) | JwksSource::Discovery(_) => Ages {
                refresh: Duration::from_secs(240),
                fresh: Duration::from_secs(300),
                dead,
                pause: Duration::from_secs(10),
                tried: Duration::from_secs(30),
            },
        }
    }
}

#[derive(Clone)]
struct CachedKeys {
    set: Arc<KeySet>,
    /// The hash of the JSON that it was parsed from.
    digest: [u8; 32],
    /// Increases with each set that differs.
    generation: u64,
    /// When it was last fetched.
    at: Instant,
}

/// The keys of one source.
pub(super) struct Jwks {
    source: JwksSource,
    clients: KeyClients,
    ages: Ages,
    /// The algorithms that the issuer is configured with; empty for all.
    algorithms: Vec<Algorithm>,
    kept: ArcSwapOption<CachedKeys>,
    /// Locked during a fetch; when the last one began.
    fetching: Mutex<Option<Instant>>,
    /// Locked by a thread that reads the file.
    reading: Arc<Mutex<()>>,
    fetches: Fetches,
}

impl Jwks {
    /// The keys of `source`, for the issuer that manifests call `issuer`.
    pub(super) fn new(
        issuer: &str,
        source: JwksSource,
        algorithms: Vec<Algorithm>,
        clients: KeyClients,
        ages: Ages,
    ) -> Arc<Self> {
        Arc::new(Jwks {
            fetches: Fetches::new(issuer, &source, ages.dead),
            source,
            clients,
            ages,
            algorithms,
            kept: ArcSwapOption::empty(),
            fetching: Mutex::new(None),
            reading: Arc::default(),
        })
    }

    /// Fetches the keys at once, again before they are too old, and when their file changes. Never
    /// ends.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut changes = Changes::new();
        loop {
            if let JwksSource::File(file) = &self.source {
                changes.follow([folder_of(file)]).await;
            }
            self.clone().fetch_unless_newer(self.kept.load_full()).await;
            let age = self.kept.load().as_ref().map(|kept| kept.at.elapsed());
            let left = age.map_or(Duration::ZERO, |age| self.ages.refresh.saturating_sub(age));
            if changes.wait(left.max(self.ages.pause)).await {
                tokio::time::sleep(SETTLE).await;
                self.fetch(&mut *self.fetching.lock().await).await;
            }
        }
    }

    /// Finds a key that `verifies`, for a token with this header, and returns the generation of its
    /// set. `Ok(Err(_))` says why there is none.
    ///
    /// # Errors
    ///
    /// [`AuthError::KeysUnavailable`] if no set may be used.
    pub(super) async fn prove(
        self: &Arc<Self>,
        id: Option<&str>,
        algorithm: Algorithm,
        verifies: impl Fn(&Key) -> bool,
    ) -> Result<Result<u64, Miss>, AuthError> {
        let kept = self.current().await?;
        let proved = kept.set.prove(id, algorithm, &verifies);
        let Err(miss) = proved else {
            return Ok(Ok(kept.generation));
        };
        // A rotation that we have not seen yet, or an invented key id.
        self.ask(Some(kept.clone())).await;
        let newer = self.alive().ok_or(AuthError::KeysUnavailable)?;
        if newer.generation == kept.generation {
            return Ok(Err(miss));
        }
        let proved = newer.set.prove(id, algorithm, verifies);
        Ok(proved.map(|()| newer.generation))
    }

    /// The generation of the set in use, if there is one.
    pub(super) fn generation(&self) -> Option<u64> {
        self.believed().map(|kept| kept.generation)
    }

    pub(super) fn state(&self) -> KeyState {
        let kept = self.kept.load();
        let kept = kept.as_ref();
        KeyState {
            age: kept.map_or_else(|| self.fetches.since_start(), |kept| kept.at.elapsed()),
            keys: kept.map_or(0, |kept| kept.set.len()),
            failed: self.fetches.failed(),
        }
    }

    /// Fetches now, whatever the age of the set.
    ///
    /// # Errors
    /// A sentence; the last good set stays.
    pub(super) async fn read_again(&self) -> Result<(), String> {
        let mut last = self.fetching.lock().await;
        self.fetch(&mut last).await;
        match self.fetches.reason() {
            Some(reason) => Err(format!("{}: {reason}", self.source)),
            None => Ok(()),
        }
    }

    /// The set to use. Waits for a fetch if the set is old and none was tried recently.
    async fn current(self: &Arc<Self>) -> Result<Arc<CachedKeys>, AuthError> {
        if let Some(kept) = self.believed() {
            return Ok(kept);
        }
        self.ask(self.kept.load_full()).await;
        self.alive().ok_or(AuthError::KeysUnavailable)
    }

    /// The set to use, without waiting.
    fn believed(&self) -> Option<Arc<CachedKeys>> {
        let kept = self.alive()?;
        let believed =
            kept.at.elapsed() < self.ages.fresh || self.fetches.failed_within(self.ages.tried);
        believed.then_some(kept)
    }

    fn alive(&self) -> Option<Arc<CachedKeys>> {
        self.kept
            .load_full()
            .filter(|kept| kept.at.elapsed() < self.ages.dead)
    }

    /// Waits until a fetch was tried, unless one has failed recently. In its own task: if a client
    /// that disconnects could stop a fetch, the pause that follows would keep everybody from a new
    /// key.
    async fn ask(self: &Arc<Self>, old: Option<Arc<CachedKeys>>) {
        if self.fetches.failed_within(self.ages.tried) {
            return;
        }
        let fetch = self.clone().fetch_unless_newer(old);
        if tokio::spawn(fetch).await.is_err() {
            tracing::error!("a fetch of keys failed with an internal error");
        }
    }

    /// Fetches, unless another task has just done so: then the set is no longer `old`, or the pause
    /// runs.
    async fn fetch_unless_newer(self: Arc<Self>, old: Option<Arc<CachedKeys>>) {
        let mut last = self.fetching.lock().await;
        let newer = match (self.kept.load_full(), &old) {
            (Some(now), Some(old)) => !Arc::ptr_eq(&now, old),
            (now, _) => now.is_some(),
        };
        if newer || last.is_some_and(|last| last.elapsed() < self.ages.pause) {
            return;
        }
        self.fetch(&mut last).await;
    }

    /// Fetches; `last` is when the last fetch began.
    async fn fetch(&self, last: &mut Option<Instant>) {
        *last = Some(Instant::now());
        let fetched = self.source.fetch(&self.clients, &self.reading).await;
        let fetched = fetched.map_err(|reason| (reason, self.source.advice()));
        let next = |json: Vec<u8>| self.next(&json).map_err(|reason| (reason, FORM));
        match fetched.and_then(next) {
            Ok(kept) => {
                let before = self.kept.load().as_ref().map(|kept| kept.generation);
                let is_new = before != Some(kept.generation);
                let keys = kept.set.len();
                self.kept.store(Some(Arc::new(kept)));
                self.fetches.succeeded(keys, is_new);
            }
            Err((reason, advice)) => {
                let age = self.kept.load().as_ref().map(|kept| kept.at.elapsed());
                self.fetches.has_failed(&reason, advice, age);
            }
        }
    }

    /// What to store after this `json` was fetched. The same text is the same set.
    fn next(&self, json: &[u8]) -> Result<CachedKeys, String> {
        let (digest, at) = (Sha256::digest(json).into(), Instant::now());
        let before = self.kept.load_full();
        match before.as_deref() {
            Some(before) if before.digest == digest => Ok(CachedKeys {
                at,
                ..before.clone()
            }),
            before => Ok(CachedKeys {
                set: Arc::new(KeySet::parse(json, &self.algorithms)?),
                digest,
                generation: before.map_or(0, |before| before.generation) + 1,
                at,
            }),
        }
    }
}
