//! One grant made ready for use, and what belongs to it alone: what is made with its TLS identity,
//! its certificate authorities and its networks is never used for another.

use crate::certificates::Certificates;
use crate::client::{Clients, Reading};
use crate::policy::{Fit, Policy};
use crate::target::Target;
use crate::window::Window;
use hms_grants::OutboundGrant;
use hms_net::client::{HttpClient, Permits, Rotation};
use http::Method;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout_at;

/// How long calls wait for the disk of certificate files where they can do without, by what was
/// read last. As long as an edit of a grants file waits for its secrets.
const READ_TIME: Duration = Duration::from_secs(2);

/// After so long files that could not be used are read again, also if they show no change: why they
/// could not may have been no fault of theirs. As often as the files are looked at.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// One grant.
pub(crate) struct Entry {
    pub(crate) grant: OutboundGrant,
    /// `to`, as the file says it.
    pub(crate) to: Arc<str>,
    policy: Policy,
    kept: Arc<EntryState>,
}

/// What outlives an edit of the file that leaves the grant as it is.
pub(crate) struct EntryState {
    /// Of its calls at once.
    pub(crate) permits: Arc<Permits>,
    /// The budget of its retries.
    pub(crate) rotation: Rotation,
    client: Mutex<ClientState>,
}

struct ClientState {
    made: Option<Made>,
    /// The files may say something else than what the client was made of. They are read from then
    /// on.
    stale: Option<Instant>,
    /// Since when.
    reading: Option<(Reading, Instant)>,
    used: Instant,
}

struct Made {
    client: Arc<HttpClient>,
    /// Of its certificates.
    versions: [u64; 2],
}

impl Entry {
    pub(crate) fn new(grant: OutboundGrant) -> Entry {
        let kept = EntryState {
            permits: Arc::default(),
            rotation: Rotation::default(),
            client: Mutex::new(ClientState {
                made: None,
                stale: None,
                reading: None,
                used: Instant::now(),
            }),
        };
        Entry::with(grant, Arc::new(kept))
    }

    fn with(grant: OutboundGrant, kept: Arc<EntryState>) -> Entry {
        Entry {
            to: grant.to().into(),
            policy: Policy::of(&grant),
            grant,
            kept,
        }
    }

    /// The same for `grant`, if that says the same. Its files may say something else by now.
    pub(crate) fn again(self: &Arc<Self>, grant: &OutboundGrant) -> Option<Arc<Entry>> {
        if !self.grant.says_the_same_as(grant) {
            return None;
        }
        if grant.files().next().is_some() {
            let mut state = self.kept.client.lock();
            state.stale = Some(Instant::now());
            // What is being read may be older.
            state.reading = None;
        }
        Some(match self.grant.line == grant.line {
            true => self.clone(),
            false => Arc::new(Entry::with(grant.clone(), self.kept.clone())),
        })
    }

    /// How far a request fits.
    pub(crate) fn fit(&self, method: &Method, target: &Target) -> Fit {
        self.policy.fit(&self.grant, method, target)
    }

    pub(crate) fn permits(&self) -> &Arc<Permits> {
        &self.kept.permits
    }

    pub(crate) fn rotation(&self) -> &Rotation {
        &self.kept.rotation
    }

    /// The client of this grant, made where there is none, and why it does not use what its files
    /// say now, as sentences for the window's log. While their disk hangs, or they cannot be used,
    /// it uses what they said last.
    ///
    /// # Errors
    /// A sentence for the window's log.
    pub(crate) async fn client(
        &self,
        clients: &Clients,
        window: &Window,
    ) -> Result<(Arc<HttpClient>, Vec<String>), String> {
        let now = Instant::now();
        let (reading, since, made) = {
            let mut state = self.kept.client.lock();
            state.used = now;
            let made = state.made.as_ref().map(|made| made.client.clone());
            if let Some(client) = &made
                && state.stale.is_none_or(|from| now < from)
            {
                return Ok((client.clone(), Vec::new()));
            }
            let begin = || (clients.read(&self.grant), now);
            let (reading, since) = state.reading.get_or_insert_with(begin).clone();
            (reading, since, made)
        };
        let read = match timeout_at((since + READ_TIME).into(), reading.clone()).await {
            Ok(read) => read,
            Err(_) => {
                if let Some(client) = made {
                    return Ok((client, Vec::new()));
                }
                let system = clients.system();
                let last = system.and_then(|system| window.certificates.of(&self.grant, system));
                if let Some(last) = last {
                    let client = self.make(clients, window, &last, None)?;
                    return Ok((client, last.faults));
                }
                reading.clone().await
            }
        };
        let settled = read.and_then(|read| {
            clients.know(&read);
            window.certificates.or(&self.grant, &read)
        });
        match settled {
            Ok(certificates) => {
                let client = self.make(clients, window, &certificates, Some(&reading))?;
                Ok((client, certificates.faults))
            }
            Err(why) => {
                self.kept.client.lock().end(&reading);
                Err(why)
            }
        }
    }

    /// The client of `certificates`: that which there is, if it was made of the same. `reading` is
    /// what has said them; none where it has not ended.
    fn make(
        &self,
        clients: &Clients,
        window: &Window,
        certificates: &Certificates,
        reading: Option<&Reading>,
    ) -> Result<Arc<HttpClient>, String> {
        let mut state = self.kept.client.lock();
        match reading {
            None => state.stale = Some(Instant::now()),
            // Where it is another by now, the files have changed since.
            Some(reading) => {
                if state.end(reading) {
                    let is_good = certificates.faults.is_empty();
                    state.stale = (!is_good).then(|| Instant::now() + READ_AGAIN);
                }
            }
        }
        let versions = certificates.versions;
        if let Some(made) = state.made.as_ref().filter(|made| made.versions == versions) {
            return Ok(made.client.clone());
        }
        let client = clients.make(&self.grant, certificates, window.connections.clone());
        let client = Arc::new(client?);
        state.made = Some(Made {
            client: client.clone(),
            versions,
        });
        Ok(client)
    }

    /// Drops the client, with its connections that are idle.
    pub(crate) fn drop_client(&self) {
        self.kept.client.lock().made = None;
    }

    /// Drops a client that was not used for `idle`, as of `now`. Whether there is none any more.
    pub(crate) fn drop_idle_client(&self, now: Instant, idle: Duration) -> bool {
        let mut state = self.kept.client.lock();
        let unused = now.saturating_duration_since(state.used) >= idle;
        let is_idle = unused && self.kept.permits.taken() == 0;
        if is_idle {
            state.made = None;
        }
        is_idle
    }
}

impl ClientState {
    /// That reading has ended. Whether it is the one that is waited for: the others find that.
    fn end(&mut self, reading: &Reading) -> bool {
        let is_it = |(ours, _): &(Reading, Instant)| ours.ptr_eq(reading);
        let ended = self.reading.as_ref().is_some_and(is_it);
        if ended {
            self.reading = None;
        }
        ended
    }
}
