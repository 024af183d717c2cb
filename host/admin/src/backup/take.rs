//! What a backup contains, in which order, and why in that order.
//!
//! Each store is copied at its own moment. The order keeps the whole consistent:
//!
//! 1. The state of deliveries, before the stores: what it calls done was done when the stores were
//!    copied. What was done in between is delivered again, which is promised to be harmless.
//! 2. The stores, each copied and then sent: a slow reader holds the space of one copy and no pages
//!    of a store.
//! 3. The records, and then any new stores, so every window in the records has its store, and a
//!    release never meets data that a later one wrote.
//! 4. The components, which stay in place from the moment of the records on.
//! 5. The ledger of idempotency keys, after the stores: the ledger knows every request that a store
//!    has seen, so nothing is executed twice.
//! 6. API keys, routes and grants as they are in effect; secrets of the host itself. Values of
//!    windows' secrets are in no backup.

use super::output::{Done, Output};
use crate::token;
use anyhow::Context;
use hms_backup::Member;
use hms_backup::source::Hashing;
use hms_core::units::Size;
use hms_events::Events;
use hms_gateway::Gateway;
use hms_gateway::plugins::auth::dev_secret;
use hms_grants::GrantsFolder;
use hms_manifest::Saved;
use hms_store::{Scratch, Snapshot, StoreError, StoreId};
use hms_windows::{ChangeError, RecordsSnapshot, Registry};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use time::OffsetDateTime;
use tokio::runtime::Handle;

/// How often the records are taken again because of new stores. 10: nobody creates windows so fast.
const MAX_ROUNDS: usize = 10;

/// A backup to be taken.
pub(super) struct Take {
    pub data: PathBuf,
    pub windows: Arc<Registry>,
    pub gateway: Arc<Gateway>,
    pub grants: Arc<GrantsFolder>,
    pub events: Option<Arc<Events>>,
    pub runtime: Handle,
    pub secrets: bool,
}

/// A copy, and its moment.
struct Made {
    snapshot: Snapshot,
    taken: OffsetDateTime,
}

impl Take {
    /// Takes and sends everything. What cannot be read is recorded and left out. Blocks.
    ///
    /// # Errors
    /// If the stream cannot be completed: its reader has disconnected, or the host shuts down.
    pub(super) fn run(self, mut output: Output) -> anyhow::Result<Done> {
        output.begin()?;
        self.deliveries(&mut output)?;
        let records = self.stores_and_records(&mut output)?;
        let (held, taken) = match records {
            Some((records, taken)) => {
                let artifacts = records.artifacts.clone();
                for (digest, window) in &records.lost {
                    let why = format!("a release of {window} needs it, but it does not exist");
                    output.lacks(&Member::Artifact(digest.clone()), why);
                }
                let (records, held) = records.into_parts();
                send(&mut output, Member::Records, records, taken)?;
                (Some(held), artifacts)
            }
            None => (None, Vec::new()),
        };
        for digest in taken {
            self.artifact(&mut output, digest)?;
        }
        drop(held);
        self.ledger(&mut output)?;
        self.keys_and_manifests(&mut output)?;
        if self.secrets {
            let files = [
                (Member::AdminToken, token::path(&self.data)),
                (Member::DevSecret, self.data.join(dev_secret::FILE)),
            ];
            for (member, path) in files {
                self.file(&mut output, member, &path)?;
            }
        }
        output.end()
    }

    fn deliveries(&self, output: &mut Output) -> anyhow::Result<()> {
        let Some(events) = &self.events else {
            return Ok(());
        };
        let folder = self.windows.scratch_folder();
        let made = copied(output, &Member::Deliveries, &folder, |scratch| {
            events.snapshot(scratch).map(Some)
        });
        match made? {
            Ok(Some(Made { snapshot, taken })) => send(output, Member::Deliveries, snapshot, taken),
            Ok(None) => Ok(()),
            Err(error) => {
                output.lacks(&Member::Deliveries, error.to_string());
                Ok(())
            }
        }
    }

    fn stores_and_records(
        &self,
        output: &mut Output,
    ) -> anyhow::Result<Option<(RecordsSnapshot, OffsetDateTime)>> {
        let folder = self.windows.scratch_folder();
        let mut tried = BTreeMap::new();
        let mut round = 0;
        loop {
            self.new_stores(output, &mut tried)?;
            let taken = OffsetDateTime::now_utc();
            let mut go_on = |_| output.goes_on(&|| "copying the records".into());
            let made = self.windows.snapshot_records(&mut Scratch {
                folder: &folder,
                go_on: &mut go_on,
            });
            let records = match made {
                Ok(records) => records,
                Err(ChangeError::Store(StoreError::GivenUp)) => {
                    output.note("it was abandoned")?;
                    anyhow::bail!("it was abandoned");
                }
                Err(error) => {
                    output.lacks(&Member::Records, error.to_string());
                    return Ok(None);
                }
            };
            let now = self.stored()?;
            round += 1;
            if now.keys().any(|name| !tried.contains_key(name)) && round < MAX_ROUNDS {
                continue;
            }
            for name in now.keys().filter(|name| !tried.contains_key(*name)) {
                let why =
                    "it was created during the backup, like many others: take the backup again";
                output.lacks(&Member::Store(name.clone()), why.into());
            }
            for (name, id) in tried {
                let member = Member::Store(name.clone());
                if !output.has(&member) || now.get(&name) == Some(&id) {
                    continue;
                }
                // Deleted with its window since it was sent: the next of that name begins with an
                // empty store.
                output.withdraw(&member);
                if now.contains_key(&name) {
                    let why = "it was deleted and recreated meanwhile: take the backup again";
                    output.lacks(&member, why.into());
                }
            }
            return Ok(Some((records, taken)));
        }
    }

    fn stored(&self) -> anyhow::Result<BTreeMap<String, StoreId>> {
        let stored = self.windows.stored();
        stored.context("cannot list the folder of the windows")
    }

    /// Sends every store that has not been tried yet.
    fn new_stores(
        &self,
        output: &mut Output,
        tried: &mut BTreeMap<String, StoreId>,
    ) -> anyhow::Result<()> {
        let folder = self.windows.scratch_folder();
        for (name, id) in self.stored()? {
            if tried.contains_key(&name) {
                continue;
            }
            let member = Member::Store(name.clone());
            let made = copied(output, &member, &folder, |scratch| {
                self.windows.snapshot_store(&name, scratch)
            });
            match made? {
                Ok(Some(Made { snapshot, taken })) => send(output, member, snapshot, taken)?,
                // It is gone again.
                Ok(None) => continue,
                Err(error) => output.lacks(&member, error.to_string()),
            }
            tried.insert(name, id);
        }
        Ok(())
    }

    /// A component, if its digest matches its name.
    fn artifact(&self, output: &mut Output, digest: String) -> anyhow::Result<()> {
        let member = Member::Artifact(digest.clone());
        let looked_at = || -> io::Result<u64> {
            let mut hashing = Hashing::new(self.windows.open_artifact(&digest)?);
            io::copy(&mut hashing, &mut io::sink())?;
            match hashing.end() {
                (bytes, sha256) if sha256 == digest => Ok(bytes),
                _ => Err(io::Error::other(
                    "it is damaged: deploy the same component again",
                )),
            }
        };
        let file = looked_at().and_then(|bytes| Ok((bytes, self.windows.open_artifact(&digest)?)));
        match file {
            Ok((bytes, file)) => output.file(member, bytes, OffsetDateTime::now_utc(), file),
            Err(error) => {
                output.lacks(&member, error.to_string());
                Ok(())
            }
        }
    }

    fn ledger(&self, output: &mut Output) -> anyhow::Result<()> {
        let folder = self.windows.scratch_folder();
        let made = copied(output, &Member::Ledger, &folder, |scratch| {
            let made = self.gateway.snapshot_ledger(&self.runtime, scratch);
            made.map_err(|reason| StoreError::Scratch { reason })
        });
        match made? {
            Ok(Some(Made { snapshot, taken })) => send(output, Member::Ledger, snapshot, taken),
            Ok(None) => Ok(()),
            Err(error) => {
                output.lacks(&Member::Ledger, error.to_string());
                Ok(())
            }
        }
    }

    fn keys_and_manifests(&self, output: &mut Output) -> anyhow::Result<()> {
        match self.gateway.api_keys().content() {
            Ok(Some(keys)) => output.bytes(Member::Keys, &keys)?,
            Ok(None) => {}
            Err(error) => output.lacks(&Member::Keys, error.to_string()),
        }
        manifests(output, "routes", self.gateway.saved_routes(), Member::route)?;
        self.file(output, Member::KeptRoutes, &self.data.join("routes.json"))?;
        let grants = self.grants.files().saved();
        manifests(output, "grants", grants, Member::grants)?;
        self.file(output, Member::KeptGrants, &self.data.join("grants.json"))
    }

    /// A short file, which is always replaced as a whole. A missing one is not recorded.
    fn file(&self, output: &mut Output, member: Member, path: &Path) -> anyhow::Result<()> {
        match fs::read(path) {
            Ok(content) => output.bytes(member, &content),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => {
                output.lacks(&member, error.to_string());
                Ok(())
            }
        }
    }
}

/// Lets `make` copy a store, with progress. The outer error ends the backup, the inner one concerns
/// this store.
fn copied<F>(
    output: &mut Output,
    member: &Member,
    folder: &Path,
    make: F,
) -> anyhow::Result<Result<Option<Made>, StoreError>>
where
    F: FnOnce(&mut Scratch<'_>) -> Result<Option<Snapshot>, StoreError>,
{
    let mut taken = OffsetDateTime::now_utc();
    let mut go_on = |bytes| {
        if bytes == 0 {
            // The view is that of now or of just before.
            taken = OffsetDateTime::now_utc();
        }
        output.goes_on(&|| format!("copying {member}: {}", Size::of(bytes).rounded()))
    };
    let made = make(&mut Scratch {
        folder,
        go_on: &mut go_on,
    });
    match made {
        Err(StoreError::GivenUp) => {
            // Says why.
            output.note("it was abandoned")?;
            anyhow::bail!("it was abandoned");
        }
        made => Ok(made.map(|made| made.map(|snapshot| Made { snapshot, taken }))),
    }
}

/// The manifests of a folder, under the name `root` of the backup, as they were seen last.
fn manifests(
    output: &mut Output,
    root: &str,
    (files, more): (BTreeMap<String, Saved>, usize),
    member: impl Fn(&str) -> Option<Member>,
) -> anyhow::Result<()> {
    for (path, text) in files {
        let shown = format!("{root}/{path}");
        match (member(&path), text) {
            (Some(member), Ok(text)) => output.bytes(member, text.as_bytes())?,
            (_, Err(why)) => output.lacks_path(shown, why),
            (None, Ok(_)) => {
                let why = "a backup cannot contain a file of this name: rename it";
                output.lacks_path(shown, why.into());
            }
        }
    }
    if more > 0 {
        let why = format!("{more} more manifests are not read: remove some");
        output.lacks_path(format!("{root}/…"), why);
    }
    Ok(())
}

fn send(
    output: &mut Output,
    member: Member,
    snapshot: Snapshot,
    taken: OffsetDateTime,
) -> anyhow::Result<()> {
    let bytes = snapshot.bytes();
    output.file(member, bytes, taken, snapshot.into_file())
}
