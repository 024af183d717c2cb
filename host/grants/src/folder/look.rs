//! What a grants file names: the values of secrets, and whether certificate files have changed.

use crate::{GrantsFile, NamedFiles, OutboundGrant, Secrets};
use hms_disk::stamp::FileStamp;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// The PEM files of a window's grants as they were when its clients were last made anew; none for
/// one that is not there.
pub(super) type PemFiles = BTreeMap<PathBuf, Option<FileStamp>>;

/// Secrets and certificate files as they were read.
pub(super) struct Looked {
    pub(super) secrets: Secrets,
    pub(super) faults: BTreeMap<String, String>,
    pub(super) pem: PemFiles,
}

/// Reads what a grants file names. Blocks.
pub(super) type Look = fn(&GrantsFile, &NamedFiles) -> Looked;

pub(super) fn look(file: &GrantsFile, named: &NamedFiles) -> Looked {
    let (secrets, faults) = named.read_all(&file.grants.secrets);
    // As they are now. Whoever makes clients of them reads them later: a change in between is seen
    // by the next look.
    let paths = file.grants.outbound.iter().flat_map(OutboundGrant::files);
    let stamp = |path: PathBuf| {
        let stamp = fs::metadata(&path).ok();
        let stamp = stamp.map(|metadata| FileStamp::of(&metadata));
        (path, stamp)
    };
    Looked {
        secrets,
        faults,
        pem: paths.map(|path| stamp(named.folder().join(path))).collect(),
    }
}
