//! The reads of a store file, on a thread that may meet [`StoreError::WouldWait`].

use super::file::StoreFile;
use super::{Entry, Page, StoreError, StoreLimits};
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
        let limit = self.limits.max_batch_bytes;
        let found = self.file.with(|view| {
            let mut found = Vec::with_capacity(keys.len());
            let mut bytes = 0_u64;
            for key in keys {
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
}
