//! Reading a backup, a folder or a tar stream, and holding it to its manifest.
//!
//! Every member is handed on as it is read, because a stream cannot be read twice; whether it was
//! what the manifest says is known at the end. Who writes something from it makes that count only
//! then.

use super::manifest::{Head, Manifest, hex};
use super::stream::read_stream;
use super::{MAX_MEMBERS, Member};
use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

/// Bytes of a manifest: 320 for each of the most members.
pub const MAX_MANIFEST_BYTES: u64 = 64 << 20;

/// Bytes of the head, and of the manifest's hash.
const MAX_SHORT_BYTES: u64 = 4096;

/// Bytes read at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// What is done with a backup that is read.
pub trait Visit {
    /// One member but for the manifest, with its size and its content, all of which must be read.
    ///
    /// # Errors
    /// Ends the reading.
    fn member(&mut self, member: &Member, bytes: u64, content: &mut dyn Read)
    -> anyhow::Result<()>;

    /// What a host says while it is at work.
    fn note(&mut self, _note: &str) {}
}

/// A backup that was read and is as its manifest says.
#[derive(Debug)]
pub struct Whole {
    /// The parsed manifest.
    pub manifest: Manifest,
    /// The manifest and its hash, as they were read.
    pub json: Vec<u8>,
    /// The content of [`crate::member::Member::ManifestSum`].
    pub sum: Vec<u8>,
}

impl Whole {
    /// Bytes of all members that count.
    pub fn bytes(&self) -> u64 {
        self.manifest.files.iter().map(|file| file.bytes).sum()
    }
}

/// Where a backup is.
pub enum Source {
    /// A folder that `hms backup` wrote.
    Folder(PathBuf),
    /// A tar stream, read once and in order.
    Stream(Box<dyn Read + Send>),
}

impl Source {
    /// The folder or the tar file at `path`, or with `-` what comes from stdin.
    ///
    /// # Errors
    /// Where there is none.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            ensure!(
                !io::stdin().is_terminal(),
                "refusing to read a tar stream from a terminal: use `zstd -dc FILE | hms …`, or a \
                 folder or file"
            );
            return Ok(Source::Stream(Box::new(io::stdin())));
        }
        let shown = path.display();
        let found = fs::metadata(path).with_context(|| format!("{shown} cannot be read"))?;
        if found.is_dir() {
            return Ok(Source::Folder(path.into()));
        }
        let file = File::open(path).with_context(|| format!("{shown} cannot be read"))?;
        Ok(Source::Stream(Box::new(file)))
    }

    /// The folder, where it is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Source::Folder(path) => Some(path),
            Source::Stream(_) => None,
        }
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// What is wrong with it, or what `visit` says.
    pub fn read(self, visit: &mut dyn Visit) -> anyhow::Result<Whole> {
        match self {
            Source::Folder(path) => read_folder(&path, visit),
            Source::Stream(stream) => read_stream(stream, visit),
        }
    }
}

/// What was read so far.
#[derive(Default)]
pub struct Seen {
    head: Option<Head>,
    files: BTreeMap<Member, (u64, String)>,
    json: Option<Vec<u8>>,
    sum: Option<Vec<u8>>,
}

impl Seen {
    /// Whether it is known by now what is read.
    pub fn has_head(&self) -> bool {
        self.head.is_some()
    }

    /// Takes one member.
    ///
    /// # Errors
    /// What is wrong with it, or what `visit` says.
    pub fn take(
        &mut self,
        member: Member,
        bytes: u64,
        content: &mut dyn Read,
        visit: &mut dyn Visit,
    ) -> anyhow::Result<()> {
        ensure!(
            self.files.len() < MAX_MEMBERS,
            "it has more than {MAX_MEMBERS} files"
        );
        let twice = match member {
            Member::Manifest => self.json.is_some(),
            Member::ManifestSum => self.sum.is_some(),
            _ => self.files.contains_key(&member),
        };
        ensure!(!twice, "it contains {member} twice");
        match member {
            Member::Manifest => self.json = Some(short(content, bytes, MAX_MANIFEST_BYTES)?),
            Member::ManifestSum => self.sum = Some(short(content, bytes, MAX_SHORT_BYTES)?),
            Member::Head => {
                let head = short(content, bytes, MAX_SHORT_BYTES)?;
                self.head = Some(Head::read(&head)?);
                self.hash(member, bytes, &mut head.as_slice(), visit)?;
            }
            member => self.hash(member, bytes, content, visit)?,
        }
        Ok(())
    }

    fn hash(
        &mut self,
        member: Member,
        bytes: u64,
        content: &mut dyn Read,
        visit: &mut dyn Visit,
    ) -> anyhow::Result<()> {
        let mut hashing = Hashing::new(content);
        let visited = visit.member(&member, bytes, &mut hashing);
        if let Some(failed) = hashing.failed.take() {
            return Err(failed).with_context(|| format!("{member} cannot be read"));
        }
        visited?;
        let (read, sha256) = hashing.end();
        ensure!(
            read == bytes,
            "{member} ends after {read} of {bytes} bytes: the backup is cut short"
        );
        self.files.insert(member, (bytes, sha256));
        Ok(())
    }

    /// Holds all of it to the manifest.
    ///
    /// # Errors
    /// What is missing, damaged or one too many.
    pub fn finish(self) -> anyhow::Result<Whole> {
        let (Some(json), Some(sum)) = (self.json, self.sum) else {
            bail!(
                "it is not complete: {} or its hash, which are written last, are missing; it was \
                 interrupted or cut short",
                Member::Manifest
            );
        };
        let manifest = Manifest::read(&json, &sum)?;
        ensure!(
            self.head.as_ref() == Some(&manifest.head),
            "{} is missing, or is not of this backup",
            Member::Head
        );
        let mut files = self.files;
        for entry in &manifest.files {
            let path = &entry.path;
            let member = Member::parse(path);
            let member = member
                .with_context(|| format!("'{}' is not a file of a backup", path.escape_debug()))?;
            let Some((bytes, sha256)) = files.remove(&member) else {
                bail!("{path} is missing");
            };
            ensure!(
                bytes == entry.bytes && sha256 == entry.sha256,
                "{path} is damaged: it does not match the manifest"
            );
        }
        files.retain(|member, _| !manifest.removed.contains(&member.to_string()));
        if let Some(extra) = files.keys().next() {
            bail!("{extra} is not in the manifest: it is not of this backup");
        }
        Ok(Whole {
            manifest,
            json,
            sum,
        })
    }
}

fn read_folder(root: &Path, visit: &mut dyn Visit) -> anyhow::Result<Whole> {
    let shown = root.display();
    let mut members = Vec::new();
    let mut folders = vec![(String::new(), root.to_owned())];
    while let Some((prefix, folder)) = folders.pop() {
        let entries = fs::read_dir(&folder);
        for entry in entries.with_context(|| format!("{} cannot be listed", folder.display()))? {
            let entry = entry?;
            let name = entry.file_name();
            let path = name.to_str().map(|name| format!("{prefix}{name}"));
            let kind = entry.file_type()?;
            if let (Some(path), true) = (&path, kind.is_dir()) {
                folders.push((format!("{path}/"), entry.path()));
                ensure!(folders.len() < MAX_MEMBERS, "{shown} has too many folders");
                continue;
            }
            let member = path.as_deref().and_then(Member::parse);
            let (Some(member), true) = (member, kind.is_file()) else {
                let name = entry.path().display().to_string();
                bail!("{} is not a file of a backup", name.escape_debug());
            };
            members.push(member);
            ensure!(members.len() <= MAX_MEMBERS, "{shown} has too many files");
        }
    }
    ensure!(
        members.contains(&Member::Head),
        "{shown} is not a backup: it has no {}",
        Member::Head
    );
    // What it is comes first, and what it must be last.
    members.sort();
    let mut seen = Seen::default();
    for member in members {
        let place = member.place(root);
        let file = File::open(&place);
        let mut file = file.with_context(|| format!("{} cannot be read", place.display()))?;
        let bytes = file.metadata()?.len();
        seen.take(member, bytes, &mut file, visit)?;
    }
    seen.finish()
}

/// All of a short member.
pub fn short(content: &mut dyn Read, bytes: u64, most: u64) -> anyhow::Result<Vec<u8>> {
    ensure!(
        bytes <= most,
        "a part of it has {bytes} bytes; the limit is {most}"
    );
    let mut read = Vec::new();
    content.take(bytes).read_to_end(&mut read)?;
    ensure!(read.len() as u64 == bytes, "it is cut short");
    Ok(read)
}

/// Copies all of `content`.
///
/// # Errors
/// Of either side; `to` has what was read until then.
pub fn copy(content: &mut dyn Read, to: &mut dyn io::Write) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = match content.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(chunk.get(..read).unwrap_or_default())?;
    }
}

/// Hashes what is read through it.
pub struct Hashing<R> {
    inner: R,
    hasher: Sha256,
    bytes: u64,
    /// Why it cannot be read, so that nobody takes that for a failure to write.
    failed: Option<io::Error>,
}

impl<R: Read> Hashing<R> {
    /// Hashes and counts every byte that is read through it.
    pub fn new(inner: R) -> Self {
        Hashing {
            inner,
            hasher: Sha256::new(),
            bytes: 0,
            failed: None,
        }
    }

    /// How many bytes there were, and their SHA-256, hexadecimal.
    pub fn end(self) -> (u64, String) {
        (self.bytes, hex(&self.hasher.finalize()))
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = match self.inner.read(out) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                let kind = error.kind();
                self.failed = Some(error);
                return Err(kind.into());
            }
            read => read?,
        };
        self.hasher.update(out.get(..read).unwrap_or_default());
        self.bytes += read as u64;
        Ok(read)
    }
}

/// Only looks at it.
pub struct Verify<'a>(pub &'a mut dyn FnMut(&Member, u64));

impl Visit for Verify<'_> {
    fn member(
        &mut self,
        member: &Member,
        bytes: u64,
        content: &mut dyn Read,
    ) -> anyhow::Result<()> {
        (self.0)(member, bytes);
        copy(content, &mut io::sink())?;
        Ok(())
    }
}
