//! What may be in a backup, and under which name. Nothing else is ever written to a disk: so a
//! backup cannot name a place outside.

use std::fmt;
use std::path::{Path, PathBuf};

/// Bytes of the path of a manifest below its folder, and folders on the way.
const MAX_PATH_BYTES: usize = 1024;
const MAX_PATH_PARTS: usize = 8;

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    /// Says what it is a backup of.
    Head,
    /// The store of a window.
    Store(String),
    /// The records of all windows.
    Records,
    /// A component, by its digest.
    Artifact(String),
    /// The ledger of idempotency keys.
    Ledger,
    /// Where subscriptions to events stand, and what is parked.
    Deliveries,
    /// The API keys, hashed.
    Keys,
    /// The last good texts of routes.
    KeptRoutes,
    /// A manifest of the routes folder, by its path below it.
    Route(String),
    /// The last good texts of grants.
    KeptGrants,
    /// A manifest of the grants folder, by its path below it.
    Grants(String),
    /// The credential of the admin API.
    AdminToken,
    /// The secret that signs development tokens.
    DevSecret,
    /// [`crate::manifest::Manifest`] as JSON.
    Manifest,
    /// The SHA-256 of the manifest file, in hexadecimal.
    ManifestSum,
}

impl Member {
    /// The member of that path, if it is one.
    pub fn parse(path: &str) -> Option<Member> {
        Some(match path {
            "backup.json" => Member::Head,
            "host.redb" => Member::Records,
            "idempotency.redb" => Member::Ledger,
            "events.redb" => Member::Deliveries,
            "keys.json" => Member::Keys,
            "routes.json" => Member::KeptRoutes,
            "grants.json" => Member::KeptGrants,
            "admin.token" => Member::AdminToken,
            "dev-secret" => Member::DevSecret,
            "manifest.json" => Member::Manifest,
            "manifest.json.sha256" => Member::ManifestSum,
            other => return Member::named(other),
        })
    }

    fn named(path: &str) -> Option<Member> {
        let (folder, rest) = path.split_once('/')?;
        match folder {
            "windows" => {
                let name = rest.strip_suffix("/store.redb")?;
                is_window(name).then(|| Member::Store(name.into()))
            }
            "artifacts" => {
                let digest = rest.strip_suffix(".wasm")?;
                is_digest(digest).then(|| Member::Artifact(digest.into()))
            }
            "routes" => Member::route(rest),
            "grants" => Member::grants(rest),
            _ => None,
        }
    }

    /// The manifest at `path` below the routes folder; None where that could lead elsewhere.
    pub fn route(path: &str) -> Option<Member> {
        is_below(path).then(|| Member::Route(path.into()))
    }

    /// The same for the grants folder.
    pub fn grants(path: &str) -> Option<Member> {
        is_below(path).then(|| Member::Grants(path.into()))
    }

    /// Whether it says something of the backup, and is nothing that is restored.
    pub fn is_of_the_backup(&self) -> bool {
        matches!(self, Member::Head | Member::Manifest | Member::ManifestSum)
    }

    /// Where it is in the folder `root`, of a backup or of data.
    pub fn place(&self, root: &Path) -> PathBuf {
        root.join(self.to_string())
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Member::Head => f.write_str("backup.json"),
            Member::Store(name) => write!(f, "windows/{name}/store.redb"),
            Member::Records => f.write_str("host.redb"),
            Member::Artifact(digest) => write!(f, "artifacts/{digest}.wasm"),
            Member::Ledger => f.write_str("idempotency.redb"),
            Member::Deliveries => f.write_str("events.redb"),
            Member::Keys => f.write_str("keys.json"),
            Member::KeptRoutes => f.write_str("routes.json"),
            Member::KeptGrants => f.write_str("grants.json"),
            Member::Grants(path) => write!(f, "grants/{path}"),
            Member::Route(path) => write!(f, "routes/{path}"),
            Member::AdminToken => f.write_str("admin.token"),
            Member::DevSecret => f.write_str("dev-secret"),
            Member::Manifest => f.write_str("manifest.json"),
            Member::ManifestSum => f.write_str("manifest.json.sha256"),
        }
    }
}

/// Whether `path` cannot lead out of its folder.
fn is_below(path: &str) -> bool {
    let part_fits = |part: &str| {
        !part.is_empty() && !part.starts_with('.') && !part.chars().any(char::is_control)
    };
    path.len() <= MAX_PATH_BYTES
        && path.split('/').count() <= MAX_PATH_PARTS
        && path.split('/').all(part_fits)
}

/// As the names of windows are, without those that could be anything but the name of a folder.
fn is_window(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(known)
}

fn is_digest(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
