//! Who is signed in. Sessions are in memory only: they end with the host.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;
use subtle::{Choice, ConstantTimeEq};
use tokio::time::Instant;

/// How long a session lasts. 12 h: a working day.
pub(crate) const LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// Sessions at once. 32: operators and their browsers; the oldest gives way.
const MAX_SESSIONS: usize = 32;

/// Wrong tokens in a minute from one address. 10: people mistype, and a token cannot be guessed
/// anyway. Those who are signed in, and the admin API, do not notice.
const MAX_WRONG: usize = 10;

/// The same from all addresses together, and so how many are remembered. 1000: it takes a hundred
/// addresses to keep others out.
const MAX_WRONG_OF_ALL: usize = 1000;
const WRONG_PERIOD: Duration = Duration::from_secs(60);

struct Session {
    /// SHA-256 of its ID: memory does not hold what a cookie says.
    digest: [u8; 32],
    /// SHA-256 of the token that it was begun with. A new token ends it.
    credential: [u8; 32],
    ends: Instant,
}

/// What is remembered of an ID.
pub(crate) fn digest(id: &str) -> [u8; 32] {
    Sha256::digest(id).into()
}

/// The sessions, oldest first.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<VecDeque<Session>>);

impl Sessions {
    /// Begins a session. Returns its ID of 256 random bits.
    ///
    /// # Errors
    /// If there are no random numbers.
    pub(crate) fn begin(&self, credential: [u8; 32]) -> Result<String, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        let id = URL_SAFE_NO_PAD.encode(bytes);
        let now = Instant::now();
        let mut all = self.0.lock();
        all.retain(|session| session.ends > now && session.credential == credential);
        while all.len() >= MAX_SESSIONS {
            all.pop_front();
        }
        all.push_back(Session {
            digest: digest(&id),
            credential,
            ends: now + LIFE,
        });
        Ok(id)
    }

    /// Whether one of `ids` is a session that was begun with this credential and is not over.
    pub(crate) fn knows<'a>(
        &self,
        ids: impl Iterator<Item = &'a str>,
        credential: [u8; 32],
    ) -> bool {
        let digests: Vec<[u8; 32]> = ids.map(digest).collect();
        self.knows_digests(&digests, credential)
    }

    /// The same, of what [`digest`] made of the IDs.
    pub(crate) fn knows_digests(&self, digests: &[[u8; 32]], credential: [u8; 32]) -> bool {
        let now = Instant::now();
        let all = self.0.lock();
        let mut known = Choice::from(0);
        for digest in digests {
            for session in all.iter().filter(|session| session.ends > now) {
                known |= digest.ct_eq(&session.digest) & credential.ct_eq(&session.credential);
            }
        }
        known.into()
    }

    /// Ends the sessions with these IDs.
    pub(crate) fn end<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        let mut all = self.0.lock();
        for id in ids {
            let digest = digest(id);
            all.retain(|session| session.digest != digest);
        }
    }
}

/// Wrong tokens of late: when, and from which address. Each attempt counts as wrong until it was
/// right, so that many at once are bounded too.
#[derive(Default)]
pub(crate) struct Attempts(Mutex<VecDeque<(Instant, IpAddr)>>);

impl Attempts {
    /// Begins an attempt from this address.
    ///
    /// # Errors
    /// How long there will be none from there.
    pub(crate) fn begin(&self, from: IpAddr) -> Result<(), Duration> {
        let now = Instant::now();
        let mut all = self.0.lock();
        all.retain(|(at, _)| now.duration_since(*at) < WRONG_PERIOD);
        let own: Vec<Instant> = all
            .iter()
            .filter(|(_, other)| *other == from)
            .map(|(at, _)| *at)
            .collect();
        let ends = match (own.len() >= MAX_WRONG, all.len() >= MAX_WRONG_OF_ALL) {
            (true, _) => own.first().copied(),
            (false, true) => all.front().map(|(at, _)| *at),
            (false, false) => None,
        };
        match ends {
            Some(oldest) => Err(WRONG_PERIOD.saturating_sub(now.duration_since(oldest))),
            None => {
                all.push_back((now, from));
                Ok(())
            }
        }
    }

    /// The last attempt from this address was right.
    pub(crate) fn was_right(&self, from: IpAddr) {
        let mut all = self.0.lock();
        if let Some(last) = all.iter().rposition(|(_, other)| *other == from) {
            all.remove(last);
        }
    }
}

/// What is said to one who has to wait.
pub(crate) fn too_many(wait: Duration) -> String {
    let seconds = wait.as_secs() + 1;
    format!("Too many wrong tokens were given. Try again in {seconds} s.")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: [u8; 32] = [1; 32];
    const OTHER: [u8; 32] = [2; 32];

    fn one(id: &str) -> std::iter::Once<&str> {
        std::iter::once(id)
    }

    #[tokio::test(start_paused = true)]
    async fn session_ends_after_its_life_at_the_sign_out_and_with_its_token() {
        let sessions = Sessions::default();
        let id = sessions.begin(TOKEN).unwrap();
        assert_eq!(id.len(), 43);
        assert!(sessions.knows(one(&id), TOKEN));
        assert!(sessions.knows(["forged", &id].into_iter(), TOKEN));
        assert!(!sessions.knows(one("forged"), TOKEN) && !sessions.knows(one(""), TOKEN));
        assert!(!sessions.knows(one(&id), OTHER), "the token was replaced");
        tokio::time::advance(LIFE).await;
        assert!(!sessions.knows(one(&id), TOKEN));
        let id = sessions.begin(TOKEN).unwrap();
        sessions.end(one(&id));
        assert!(!sessions.knows(one(&id), TOKEN));
    }

    #[tokio::test]
    async fn oldest_session_gives_way_to_a_new_one() {
        let sessions = Sessions::default();
        let ids: Vec<_> = (0..=MAX_SESSIONS)
            .map(|_| sessions.begin(TOKEN).unwrap())
            .collect();
        assert!(!sessions.knows(one(&ids[0]), TOKEN));
        assert!(ids[1..].iter().all(|id| sessions.knows(one(id), TOKEN)));
        assert_eq!(sessions.0.lock().len(), MAX_SESSIONS);
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_tokens_are_bounded_and_right_ones_are_not_counted() {
        let attempts = Attempts::default();
        let stranger = address(1);
        for _ in 0..100 {
            attempts.begin(stranger).unwrap();
            attempts.was_right(stranger);
        }
        for _ in 0..MAX_WRONG {
            attempts.begin(stranger).unwrap();
        }
        assert_eq!(attempts.begin(stranger), Err(WRONG_PERIOD));
        tokio::time::advance(WRONG_PERIOD).await;
        assert_eq!(attempts.begin(stranger), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_tokens_from_one_address_keep_nobody_else_out() {
        let attempts = Attempts::default();
        let (stranger, operator) = (address(1), address(2));
        while attempts.begin(stranger).is_ok() {}
        for _ in 0..100 {
            attempts.begin(operator).unwrap();
            attempts.was_right(operator);
        }
        // What was right of one is not taken from another.
        assert!(attempts.begin(stranger).is_err());
        for number in 3.. {
            if attempts.begin(address(number)).is_err() {
                break;
            }
        }
        assert_eq!(attempts.0.lock().len(), MAX_WRONG_OF_ALL);
        assert_eq!(attempts.begin(operator), Err(WRONG_PERIOD));
        tokio::time::advance(WRONG_PERIOD).await;
        assert_eq!(attempts.begin(operator), Ok(()));
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }
}
