//! The reads of a store file, on a thread that may meet [`StoreError::WouldWait`].

use super::file::StoreFile;
use super::{Entry, EntryKey, EventsPage, Page, StoreError, StoreLimits, StoredEvent};
use std::sync::Arc;

/// Reads what the last commit left, within the limits.
pub(super) struct Reads {
    pub(super) file: Arc<StoreFile>,
    pub(super) limits: StoreLimits,
}

impl Reads {
    pub(super) fn get(&self, bucket: &str, key: &str) -> Result<Option<Entry>, StoreError> {
        self.limits.check_bucket(bucket)?;
        if !self.limits.may_hold(key) {
            return Ok(None);
        }
        self.file.with(|view| {
            let head = view.head(bucket, key)?;
            head.map(|head| view.entry(head)).transpose()
        })
    }

    pub(super) fn get_many(
        &self,
        bucket: &str,
        keys: &[String],
    ) -> Result<Vec<Option<Entry>>, StoreError> {
        self.limits.check_count(keys.len())?;
        self.limits.check_bucket(bucket)?;
        self.entries(keys.iter().map(|key| (bucket, key.as_str())))
    }

    pub(super) fn read_places(
        &self,
        places: &[EntryKey],
    ) -> Result<Vec<Option<Entry>>, StoreError> {
        self.limits.check_count(places.len())?;
        for place in places {
            self.limits.check_bucket(&place.bucket)?;
        }
        let places = places.iter();
        self.entries(places.map(|at| (at.bucket.as_str(), at.key.as_str())))
    }

    fn entries<'a>(
        &self,
        places: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Vec<Option<Entry>>, StoreError> {
        let limit = self.limits.max_batch_bytes;
        let found = self.file.with(|view| {
            let mut found = Vec::with_capacity(places.len());
            let mut bytes = 0_u64;
            for (bucket, key) in places {
                let head = match self.limits.may_hold(key) {
                    true => view.head(bucket, key)?,
                    false => None,
                };
                bytes = bytes.saturating_add(head.as_ref().map_or(0, |head| head.value_len()));
                // Before the value is loaded: the bound is about the sum.
                if bytes > limit as u64 {
                    return Ok(None);
                }
                found.push(head.map(|head| view.entry(head)).transpose()?);
            }
            Ok(Some(found))
        })?;
        found.ok_or(StoreError::BatchTooLarge { limit })
    }

    pub(super) fn exists(&self, bucket: &str, key: &str) -> Result<bool, StoreError> {
        self.limits.check_bucket(bucket)?;
        if !self.limits.may_hold(key) {
            return Ok(false);
        }
        self.file.with(|view| view.exists(bucket, key))
    }

    pub(super) fn keys(
        &self,
        bucket: &str,
        after: Option<&str>,
        skip: u64,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.limits.check_bucket(bucket)?;
        self.limits.check_key_length(after.unwrap_or_default())?;
        let limit = limit.min(self.limits.max_keys_per_page).max(1);
        let (keys, more) = self
            .file
            .with(|view| view.keys(bucket, after, skip, limit))?;
        Ok(Page { keys, more })
    }

    pub(super) fn buckets(&self, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        self.limits.check_bucket(after.unwrap_or_default())?;
        let limit = limit.clamp(1, self.limits.max_keys_per_page);
        let (keys, more) = self.file.with(|view| view.buckets(after, limit))?;
        Ok(Page { keys, more })
    }

    pub(super) fn events(
        &self,
        after: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<EventsPage, StoreError> {
        let limit = limit.clamp(1, self.limits.max_events_per_page);
        let max_bytes = max_bytes.min(self.limits.max_batch_bytes);
        self.file.with(|view| view.events(after, limit, max_bytes))
    }

    pub(super) fn waiting_events(
        &self,
        limit: usize,
    ) -> Result<Vec<(u64, StoredEvent)>, StoreError> {
        let limit = limit.clamp(1, self.limits.max_events_per_page);
        let max_bytes = self.limits.max_batch_bytes;
        self.file.with(|view| view.waiting_events(limit, max_bytes))
    }
}
