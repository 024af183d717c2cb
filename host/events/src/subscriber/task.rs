//! The task of a subscription.

use super::{Subscriber, key_hash};
use crate::binding;
use crate::flow::Ref;
use crate::limits::{AFTER_FAILURE, LONGEST_PAUSE, PAGE_BYTES, PAGE_EVENTS};
use hms_store::{StoreError, StoredEvent};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// What to read next.
struct Next {
    source: String,
    /// [`crate::flow::Source::log`]: what is read of another is nobody's.
    log: u32,
    after: u64,
    most: usize,
}

impl Subscriber {
    /// Runs until it is ended.
    pub(crate) async fn run(self: Arc<Self>) {
        let over = self.over.clone();
        while let Err(error) = self.load().await {
            let (window, subscription) = (&*self.window, &*self.id.name);
            tracing::error!(window, subscription, "cannot begin: {error}");
            let pause = tokio::time::sleep(AFTER_FAILURE);
            if self.cancel.run_until_cancelled(pause).await.is_none() {
                over.send_replace(true);
                return;
            }
        }
        let mut flights = JoinSet::new();
        while !self.cancel.is_cancelled() {
            self.cancel.run_until_cancelled(self.read()).await;
            while let Some(next) = self.take() {
                flights.spawn(self.clone().fly(next));
            }
            let wait = self.wait();
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => {}
                // Those that are done are collected; each has woken this.
                Some(_) = flights.join_next(), if !flights.is_empty() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        let stop = self.shared.limits.stop_time;
        let all = async { while flights.join_next().await.is_some() {} };
        // What is cut off was not tried, as far as anybody knows.
        let _ = tokio::time::timeout(stop, all).await;
        flights.shutdown().await;
        over.send_replace(true);
    }

    /// The next event to deliver, if it may be delivered now.
    fn take(&self) -> Option<Ref> {
        let mut inner = self.inner.lock();
        let now = self.shared.now_ms();
        let left = inner.not_before_ms.saturating_sub(now);
        let may = inner.record.paused.is_none()
            // A clock that was put back says nothing of a pause.
            && (left == 0 || u128::from(left) > LONGEST_PAUSE.as_millis())
            && inner.flow.busy() < self.spec.concurrency.max(1)
            && !self.shared.state.is_failing()
            && !self.cancel.is_cancelled();
        may.then(|| inner.flow.take(now))?
    }

    /// How long until something is to be done without a wake-up: at most a minute.
    fn wait(&self) -> Duration {
        let longest = Duration::from_secs(60);
        let inner = self.inner.lock();
        if inner.record.paused.is_some() || inner.flow.busy() >= self.spec.concurrency.max(1) {
            return longest;
        }
        if self.shared.state.is_failing() {
            return AFTER_FAILURE;
        }
        let now = self.shared.now_ms();
        let next = match inner.flow.is_ready() {
            true => Some(inner.not_before_ms),
            false => inner
                .flow
                .next_time()
                .map(|time| time.max(inner.not_before_ms)),
        };
        let left = next.map(|next| Duration::from_millis(next.saturating_sub(now).max(1)));
        left.map_or(longest, |left| left.min(longest))
    }

    /// Reads on in all sources, as far as there is room. One that cannot be read keeps no other
    /// waiting.
    async fn read(self: &Arc<Self>) {
        for (at, source) in self.spec.from.iter().enumerate() {
            if let Err(error) = self.read_source(at).await {
                let (window, subscription, source) =
                    (&*self.window, &*self.id.name, source.as_str());
                // The store has said so itself.
                tracing::debug!(window, subscription, source, "cannot read events: {error}");
            }
        }
    }

    async fn read_source(self: &Arc<Self>, at: usize) -> Result<(), StoreError> {
        while let Some(Next {
            source,
            log,
            after,
            most,
        }) = self.to_read(at)
        {
            let Some(store) = self.shared.logs.store(&source).await? else {
                break;
            };
            let last = store.log_state().last;
            let page = store.events(after, most, PAGE_BYTES).await?;
            self.found(at, &source, log, after, &page.events);
            if !page.more {
                // What is no longer kept.
                self.passed(at, log, last);
                break;
            }
        }
        Ok(())
    }

    /// From where to read on in a source, and how much; none where there is nothing or no room.
    fn to_read(&self, at: usize) -> Option<Next> {
        let inner = self.inner.lock();
        let (cursor, of) = (inner.cursors.get(at)?, inner.flow.sources.get(at)?);
        let room = inner.flow.room(at).min(PAGE_EVENTS);
        // A page at a time rather than an event at a time, as long as there is enough to deliver.
        let enough = self.spec.concurrency.max(1);
        if room < PAGE_EVENTS && inner.flow.offered(enough) == enough {
            return None;
        }
        let after = of.done.next_gap(of.read.saturating_add(1)) - 1;
        let log = self.shared.logs.of(&cursor.source);
        let more = log.is_none_or(|log| log.is_unsure() || log.last > after);
        (more && room > 0).then(|| Next {
            source: cursor.source.clone(),
            log: of.log,
            after,
            most: room,
        })
    }

    fn found(
        self: &Arc<Self>,
        at: usize,
        source: &str,
        log: u32,
        after: u64,
        events: &[StoredEvent],
    ) {
        let mut inner = self.inner.lock();
        if inner.flow.sources.get(at).map(|of| of.log) != Some(log) {
            return;
        }
        let upto = |inner: &super::Inner| inner.flow.sources.get(at).map(|of| of.done.upto());
        let before = upto(&inner);
        let mut expected = after + 1;
        for stored in events {
            let sequence = stored.sequence;
            if sequence > expected {
                inner.flow.passed(at, expected, sequence - 1);
            }
            expected = sequence + 1;
            match self.wants(source, stored) {
                true => {
                    let tries = inner.tries.remove(&(at, sequence)).unwrap_or_default();
                    let key = self.key(stored);
                    let key = key.map(|key| key_hash(&self.shared.hasher, key));
                    inner.flow.found(at, sequence, stored.time_ms, key, tries);
                }
                false => inner.flow.passed(at, sequence, sequence),
            }
        }
        if upto(&inner) != before {
            self.moved(&mut inner, at);
        }
    }

    fn passed(self: &Arc<Self>, at: usize, log: u32, last: u64) {
        let mut inner = self.inner.lock();
        let of = inner.flow.sources.get(at).filter(|of| of.log == log);
        let read = of.map(|of| of.read);
        if let Some(read) = read.filter(|read| *read < last) {
            inner.flow.passed(at, read + 1, last);
            self.moved(&mut inner, at);
        }
    }

    /// By what an event is ordered.
    pub(super) fn key<'a>(&self, stored: &'a StoredEvent) -> Option<&'a str> {
        let event = &stored.event;
        let (key, subject) = (event.partition_key.as_deref(), event.subject.as_deref());
        self.spec.order.key(key, subject)
    }

    fn wants(&self, source: &str, stored: &StoredEvent) -> bool {
        let event = &stored.event;
        self.spec.matches(&|name: &str| match name {
            "type" => Some(Cow::Borrowed(&*event.kind)),
            "subject" => event.subject.as_deref().map(Cow::Borrowed),
            "partitionkey" => event.partition_key.as_deref().map(Cow::Borrowed),
            "datacontenttype" => {
                let kind = Some(&*event.content_type);
                kind.filter(|kind| !kind.is_empty()).map(Cow::Borrowed)
            }
            name => {
                let all = binding::attributes(source, stored);
                let found = all.into_iter().find(|(known, _)| known == name);
                found.map(|(_, value)| Cow::Owned(value))
            }
        })
    }
}
