//! A subscription as operators see it.

use super::{Inner, Subscriber};
use hms_api::{CursorStatus, PausedStatus, SubscriptionState, SubscriptionStatus};
use time::OffsetDateTime;

impl Subscriber {
    /// As it is now.
    pub(crate) fn status(&self) -> SubscriptionStatus {
        let inner = self.inner.lock();
        let own = self.spec.from.len();
        let sources = inner.cursors.iter().zip(&inner.flow.sources).take(own);
        let mut lag = 0;
        let sources: Vec<CursorStatus> = sources
            .map(|(cursor, of)| {
                let log = self.shared.logs.of(&cursor.source);
                let last = log.map_or(0, |log| log.last).max(of.read);
                lag += of.left(last);
                CursorStatus {
                    window: cursor.source.clone(),
                    done: of.done.upto(),
                    last,
                }
            })
            .collect();
        let now = self.shared.now_ms();
        let oldest = inner.flow.oldest_ms();
        let time = |ms: u64| {
            let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
            time.unwrap_or(OffsetDateTime::UNIX_EPOCH)
        };
        SubscriptionStatus {
            window: self.id.window.clone(),
            name: self.id.name.clone(),
            state: match (&inner.record.paused, self.knows_lag(&inner)) {
                (Some(_), _) => SubscriptionState::Paused,
                (None, false) => SubscriptionState::Starting,
                (None, true) => SubscriptionState::Active,
            },
            paused: inner.record.paused.as_ref().map(|paused| PausedStatus {
                since: time(paused.since_ms),
                why: paused.why.clone(),
            }),
            to: self.target().to_owned(),
            sources,
            lag,
            lag_seconds: oldest.map_or(0, |oldest| now.saturating_sub(oldest) / 1_000),
            in_flight: inner.flow.busy(),
            blocked_keys: inner.flow.blocked_keys(),
            parked: inner.parked.len(),
        }
    }

    /// Whether its lag is known: where it stands was read, and after a crash how long the logs are.
    pub(crate) fn is_lag_known(&self) -> bool {
        self.knows_lag(&self.inner.lock())
    }

    fn knows_lag(&self, inner: &Inner) -> bool {
        let mut sources = self.spec.from.iter();
        inner.loaded
            && sources.all(|source| {
                let log = self.shared.logs.of(source.as_str());
                log.is_none_or(|log| !log.is_unsure())
            })
    }

    /// How many events of `source` it has not finished. What was not read yet counts, whether or
    /// not it will want it.
    pub(crate) fn lacks(&self, source: &str) -> u64 {
        let inner = self.inner.lock();
        let last = self.shared.logs.of(source).map_or(0, |log| log.last);
        if !inner.loaded {
            return last;
        }
        let mut all = inner.cursors.iter().zip(&inner.flow.sources);
        let of = all.find(|(cursor, _)| cursor.source == source);
        of.map_or(0, |(_, of)| of.left(last))
    }
}
