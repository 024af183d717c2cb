//! What was last deployed from the folder for each window, or was there when the window was
//! removed, stored in `host.redb`. So a start can tell a new file from one that was deployed
//! before, whatever the clock says.

use crate::{ChangeError, WindowName};
use hms_disk::stamp::FileStamp;
use hms_store::{Op, Store};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const BUCKET: &str = "watched";

/// Names read at a time.
const PAGE: usize = 1000;

/// A file as it was when it was deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// SHA-256, hexadecimal.
    pub digest: String,
    pub stamp: FileStamp,
    /// The window's newest release at that time.
    pub release: u64,
}

/// The table.
pub(crate) struct TakenFiles {
    store: Arc<dyn Store>,
}

impl TakenFiles {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        TakenFiles { store }
    }

    /// The entry of that window. None also if it cannot be read: the window's history is then used.
    pub(crate) async fn get(&self, window: &WindowName) -> Option<Taken> {
        let entry = self.store.get(BUCKET, window.as_str()).await.ok()??;
        serde_json::from_slice(&entry.value).ok()
    }

    /// Durable once the future resolves.
    pub(crate) async fn put(&self, window: &WindowName, taken: &Taken) -> Result<(), ChangeError> {
        let value =
            serde_json::to_vec(taken).map_err(|error| ChangeError::Internal(error.to_string()))?;
        let set = Op::Set {
            bucket: BUCKET.into(),
            key: window.as_str().into(),
            value,
        };
        self.store.write(vec![set]).await?;
        Ok(())
    }

    /// Removes all windows except those for which `keep` is true, so that the table does not grow
    /// with every name that ever existed.
    pub(crate) async fn retain(&self, keep: impl Fn(&str) -> bool) -> Result<(), ChangeError> {
        let mut after: Option<String> = None;
        loop {
            let page = self.store.keys(BUCKET, after.as_deref(), 0, PAGE).await?;
            let gone = page.keys.iter().filter(|name| !keep(name));
            let gone = gone.map(|name| Op::Delete {
                bucket: BUCKET.into(),
                key: name.clone(),
            });
            let gone: Vec<Op> = gone.collect();
            if !gone.is_empty() {
                self.store.write(gone).await?;
            }
            after = page.keys.last().cloned();
            if !page.more {
                return Ok(());
            }
        }
    }
}
