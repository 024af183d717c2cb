//! What a backup says of itself.

use super::Member;
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

/// The format that this code writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// The first member, by which a reader knows what follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// [`FORMAT`] of whoever wrote it.
    pub format: u32,
    /// The version of the host that it is of.
    pub hms: String,
    /// When the host began to take it.
    #[serde(with = "time::serde::rfc3339")]
    pub begun: OffsetDateTime,
}

/// The last member but for its own hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// What was known before the first member was taken.
    #[serde(flatten)]
    pub head: Head,
    /// When everything had been taken.
    #[serde(with = "time::serde::rfc3339")]
    pub ended: OffsetDateTime,
    /// Whether nothing is in `missing`.
    pub complete: bool,
    /// Whether the admin token and the development secret were taken.
    pub secrets: bool,
    /// Every member but the manifest and its hash.
    pub files: Vec<FileEntry>,
    /// What should be there and is not.
    pub missing: Vec<Missing>,
    /// Members that were sent and do not count: stores that were deleted with their window
    /// meanwhile.
    pub removed: Vec<String>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Relative to the backup, with `/` between its parts.
    pub path: String,
    /// Size of the content.
    pub bytes: u64,
    /// Hexadecimal.
    pub sha256: String,
    /// The moment that it shows.
    #[serde(with = "time::serde::rfc3339")]
    pub taken: OffsetDateTime,
}

/// Something that could not be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// As in [`FileEntry::path`].
    pub path: String,
    /// The error, for people.
    pub why: String,
}

impl Head {
    /// Of a backup that this program begins now.
    pub fn now() -> Self {
        Head {
            format: FORMAT,
            hms: env!("CARGO_PKG_VERSION").to_owned(),
            begun: OffsetDateTime::now_utc(),
        }
    }

    /// Whether `json` is a head, of whatever format.
    pub fn is_one(json: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Any {
            #[serde(rename = "format")]
            _format: u32,
            #[serde(rename = "hms")]
            _hms: String,
        }
        serde_json::from_slice::<Any>(json).is_ok()
    }

    /// Reads it.
    ///
    /// # Errors
    /// Where it is no head of a backup, or of a newer format.
    pub fn read(json: &[u8]) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
            #[serde(default)]
            hms: String,
        }
        let Format { format, hms } = serde_json::from_slice(json)
            .with_context(|| format!("{} cannot be read: it is damaged", Member::Head))?;
        if format > FORMAT {
            bail!(
                "the backup has format {format} (hms {hms}), and this hms {} reads formats up to \
                 {FORMAT}: use a newer hms",
                env!("CARGO_PKG_VERSION")
            );
        }
        serde_json::from_slice(json)
            .with_context(|| format!("{} cannot be read: it is damaged", Member::Head))
    }
}

impl Manifest {
    /// Its text.
    pub fn to_json(&self) -> Vec<u8> {
        // Numbers, texts and times always serialise.
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }

    /// Reads the text `json`, whose hash is `sum`, as `sha256sum` writes it.
    ///
    /// # Errors
    /// Where the two do not go together, or it cannot be read.
    pub fn read(json: &[u8], sum: &[u8]) -> anyhow::Result<Self> {
        if sum != sum_of(json).as_bytes() {
            bail!(
                "{} and {} do not match: one of them is damaged",
                Member::Manifest,
                Member::ManifestSum
            );
        }
        serde_json::from_slice(json).with_context(|| format!("{} cannot be read", Member::Manifest))
    }
}

/// What [`Member::ManifestSum`] says of the manifest `json`: a line that `sha256sum --check` takes.
pub fn sum_of(json: &[u8]) -> String {
    format!("{}  {}\n", hex(&Sha256::digest(json)), Member::Manifest)
}

/// Bytes as lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
