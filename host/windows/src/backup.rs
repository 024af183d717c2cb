//! What a backup takes of the windows: their stores, the records, and the components that the
//! records name.

use super::records::parse_entries;
use super::release::artifacts::Pin;
use super::{ChangeError, Registry};
use hms_store::{Scratch, Snapshot, StoreError, StoreId};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The records of all windows at one moment, and the components that existed then, which stay until
/// this is dropped.
pub struct RecordsSnapshot {
    /// A copy of `host.redb`.
    pub records: Snapshot,
    /// The digests of the components, in order.
    pub artifacts: Vec<String>,
    /// Missing components that a record names, with the window.
    pub lost: Vec<(String, String)>,
    held: Vec<Pin>,
}

impl Registry {
    /// The windows that have a store, with or without a record, and the identity of each store.
    /// Blocks.
    ///
    /// # Errors
    ///
    /// If their folder cannot be listed.
    pub fn stored(&self) -> Result<BTreeMap<String, StoreId>, StoreError> {
        self.stores.stored()
    }

    /// A copy of the store of `window`; None if it has none, or no longer has one. Blocks.
    ///
    /// # Errors
    ///
    /// Why there is no copy.
    pub fn snapshot_store(
        &self,
        window: &str,
        scratch: &mut Scratch<'_>,
    ) -> Result<Option<Snapshot>, StoreError> {
        self.stores.snapshot(window, scratch)
    }

    /// A copy of the records. The components that they name exist, and stay. Blocks.
    ///
    /// # Errors
    ///
    /// Why there is no copy.
    pub fn snapshot_records(
        self: &Arc<Self>,
        scratch: &mut Scratch<'_>,
    ) -> Result<RecordsSnapshot, ChangeError> {
        // Nothing is collected between the two: whatever a record in the copy names still exists
        // and can be pinned.
        let (mut records, held) = self.artifacts.hold_all(|| self.records.snapshot(scratch))?;
        let mut artifacts: Vec<String> = held.iter().map(|pin| pin.digest().to_owned()).collect();
        artifacts.sort();
        let mut lost = Vec::new();
        // What an unreadable record needs is unknown; all components are taken anyway.
        for (name, record) in parse_entries(&mut records)? {
            for release in record.into_iter().flat_map(|record| record.releases) {
                if artifacts.binary_search(&release.digest).is_err() {
                    lost.push((release.digest, name.to_string()));
                }
            }
        }
        lost.sort();
        lost.dedup_by(|a, b| a.0 == b.0);
        Ok(RecordsSnapshot {
            records,
            artifacts,
            lost,
            held,
        })
    }

    /// A folder for temporary files: the host empties it at startup.
    pub fn scratch_folder(&self) -> PathBuf {
        self.artifacts.incoming_folder()
    }

    /// The component of that digest.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open_artifact(&self, digest: &str) -> io::Result<File> {
        File::open(self.artifacts.wasm_path(digest))
    }
}

impl RecordsSnapshot {
    /// The copy, and the pin that keeps the components.
    pub fn into_parts(self) -> (Snapshot, HeldArtifacts) {
        (self.records, HeldArtifacts(self.held))
    }
}

/// Keeps components where they are until it is dropped.
pub struct HeldArtifacts(#[expect(dead_code, reason = "held for its end")] Vec<Pin>);
