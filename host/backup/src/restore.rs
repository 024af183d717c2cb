//! A data folder made of a backup: wholly, or with a mark that says it is not.
//!
//! The mark is the first file that is written and the last that goes. While it is there no host
//! serves from the folder, and the next restore begins anew.

use super::Member;
use super::place::check_restore;
use super::save::Written;
use super::source::{Source, Visit, Whole};
use anyhow::{Context, bail, ensure};
use hms_disk::data::{DataFolder, LOCK, RESTORING};
use hms_disk::files::is_manifest;
use hms_disk::files::{
    make_folders, remove, remove_folders, sync_folder, write_whole, write_whole_private,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Bytes of all routes of a backup together, and of all its grants, which are held in memory until
/// everything else is in its place. 64 MiB.
pub const MAX_MANIFESTS_BYTES: u64 = 64 << 20;

/// What may be in a data folder that is empty all the same: the lock of a host that ended, what
/// mke2fs(8) makes, and the mark.
const NOTHING: [&str; 4] = [LOCK, "lost+found", RESTORING, ".restoring.new"];

/// What a restore makes in a data folder.
const PARTS: [&str; 14] = [
    "windows",
    "artifacts",
    "routes",
    "grants",
    "host.redb",
    "idempotency.redb",
    "events.redb",
    "keys.json",
    "routes.json",
    ".routes.json.new",
    "grants.json",
    ".grants.json.new",
    "admin.token",
    "dev-secret",
];

/// How a backup is restored.
pub struct Restore<'a> {
    /// The data folder to make.
    pub data: &'a Path,
    /// Where the manifests of routes go; by default `DATA/routes`.
    pub routes: Option<&'a Path>,
    /// Where those of grants go; by default `DATA/grants`.
    pub grants: Option<&'a Path>,
    /// Whether one that misses something is taken.
    pub incomplete: bool,
    /// Called for each file, as it begins, and for each note.
    pub tell: &'a mut dyn FnMut(&str, Option<u64>),
}

/// A data folder that was made.
#[derive(Debug)]
pub struct Restored {
    /// The backup that was restored.
    pub whole: Whole,
    /// Where the manifests of routes are.
    pub routes: PathBuf,
    /// Where those of grants are; none where the backup has none.
    pub grants: Option<PathBuf>,
}

impl Restore<'_> {
    /// Makes the data folder. On the disk when this returns; where it fails the folder is as it was
    /// found: not there, or empty.
    ///
    /// # Errors
    /// Where there is something in the folder already, it is inside of a backup, or the backup is
    /// not whole.
    pub fn run(self, source: Source) -> anyhow::Result<Restored> {
        let data = self.data;
        let folders = [("--routes", self.routes), ("--grants", self.grants)];
        check_restore(data, folders, source.folder())?;
        let mark = data.join(RESTORING);
        // Before anything is made or closed in a folder that is somebody else's.
        if data.exists() && !mark.exists() {
            check_empty(data)?;
        }
        let folder = DataFolder::take_unfinished(data)?;
        let begins_anew = mark.exists();
        let restored = self.fill(source, &mark);
        match restored.is_ok() {
            true => sync_above(data, folder.made()),
            // Else something could not be removed, and the next restore does it.
            false if !mark.exists() => folder.give_back(begins_anew),
            false => {}
        }
        restored
    }

    fn fill(self, source: Source, mark: &Path) -> anyhow::Result<Restored> {
        let data = self.data;
        if mark.exists() {
            (self.tell)(
                "removing what an interrupted restore left in the data folder",
                None,
            );
            clear(data)?;
        }
        check_empty(data)?;
        let place =
            |given: Option<&Path>, name| given.map_or_else(|| data.join(name), Path::to_owned);
        let routes = Manifests::new("routes", Member::KeptRoutes, place(self.routes, "routes"));
        let grants = Manifests::new("grants", Member::KeptGrants, place(self.grants, "grants"));
        write_whole_private(mark, b"a restore into this folder has not ended\n")
            .with_context(|| format!("{} cannot be written", mark.display()))?;
        let mut filling = Filling {
            data,
            written: Written::default(),
            routes,
            grants,
            tell: self.tell,
        };
        let made = filling.fill(source, self.incomplete);
        let cleared = match made.is_err() {
            true => {
                filling.routes.remove();
                filling.grants.remove();
                clear(data)
            }
            false => Ok(()),
        };
        // Last, whichever it is, and not while something is left.
        let unmarked = cleared.and_then(|()| {
            remove(mark).with_context(|| format!("{} cannot be removed", mark.display()))
        });
        match (made, unmarked) {
            (Ok(whole), Ok(())) => Ok(Restored {
                whole,
                grants: filling.grants.is_there().then_some(filling.grants.folder),
                routes: filling.routes.folder,
            }),
            (Ok(_), Err(left)) => Err(left),
            (Err(error), Ok(())) => Err(error),
            (Err(error), Err(left)) => Err(error.context(format!("{left:#}"))),
        }
    }
}

struct Filling<'a> {
    data: &'a Path,
    written: Written,
    routes: Manifests,
    grants: Manifests,
    tell: &'a mut dyn FnMut(&str, Option<u64>),
}

/// The manifests of one kind, and the folder that they go to.
struct Manifests {
    /// `routes` or `grants`.
    many: &'static str,
    /// Their last good texts.
    kept: Member,
    folder: PathBuf,
    /// By path.
    texts: BTreeMap<String, Vec<u8>>,
    bytes: u64,
    /// What was made in the folder: files, and folders with how many were made above.
    made: Vec<(PathBuf, Option<usize>)>,
}

impl Filling<'_> {
    fn fill(&mut self, source: Source, incomplete: bool) -> anyhow::Result<Whole> {
        let whole = source.read(self)?;
        let manifest = &whole.manifest;
        let complete = manifest.complete && manifest.missing.is_empty();
        if !complete && !incomplete {
            let missing: Vec<String> = manifest
                .missing
                .iter()
                .map(|missing| format!("{} ({})", missing.path, missing.why))
                .collect();
            bail!(
                "the backup is intact but incomplete: it lacks {}. --allow-incomplete restores the \
                 rest; a window whose store is missing then starts with an empty one",
                missing.join(", ")
            );
        }
        for path in &manifest.removed {
            if let Some(member) = Member::parse(path) {
                let place = member.place(self.data);
                fs::remove_file(&place).with_context(|| format!("{}", place.display()))?;
                let _ = place.parent().map(fs::remove_dir);
            }
        }
        self.routes.put()?;
        self.routes.say_where_they_are(self.data)?;
        // A backup of an older host has none.
        if self.grants.is_there() {
            self.grants.put()?;
            self.grants.say_where_they_are(self.data)?;
        }
        self.written.sync()?;
        Ok(whole)
    }
}

impl Manifests {
    fn new(many: &'static str, kept: Member, folder: PathBuf) -> Manifests {
        Manifests {
            many,
            kept,
            folder,
            texts: BTreeMap::new(),
            bytes: 0,
            made: Vec::new(),
        }
    }

    fn is_there(&self) -> bool {
        !self.texts.is_empty()
    }

    fn take(&mut self, path: &str, bytes: u64, content: &mut dyn Read) -> anyhow::Result<()> {
        let many = self.many;
        self.bytes = self.bytes.saturating_add(bytes);
        ensure!(
            self.bytes <= MAX_MANIFESTS_BYTES,
            "the {many} of the backup exceed {MAX_MANIFESTS_BYTES} bytes"
        );
        let mut text = Vec::new();
        content.read_to_end(&mut text)?;
        self.texts.insert(path.to_owned(), text);
        Ok(())
    }

    /// Writes the manifests, where none has another text and none is there that the backup has not.
    fn put(&mut self) -> anyhow::Result<()> {
        let (folder, many) = (self.folder.clone(), self.many);
        let shown = folder.display();
        let mut there = BTreeSet::new();
        list(&folder, "", &mut there).with_context(|| format!("{shown} cannot be listed"))?;
        for path in &there {
            let Some(text) = self.texts.get(path) else {
                bail!(
                    "the {many} folder {shown} has {}, which is not in the backup: choose an empty \
                     folder with --{many}",
                    path.escape_debug()
                );
            };
            let now = fs::read(folder.join(path)).with_context(|| format!("{shown}/{path}"))?;
            ensure!(
                now == *text,
                "the {many} folder {shown} has a different {}: choose an empty folder with \
                 --{many}",
                path.escape_debug()
            );
        }
        let mut make = |folder: &Path| {
            let made = make_folders(folder, 0o777)
                .with_context(|| format!("cannot create {}", folder.display()))?;
            self.made.push((folder.into(), Some(made)));
            sync_above(folder, made);
            anyhow::Ok(())
        };
        make(&folder)?;
        for path in self.texts.keys() {
            folder.join(path).parent().map_or(Ok(()), &mut make)?;
        }
        // What is there already is the same, and may be a link or not ours to write.
        for (path, text) in &self.texts {
            if there.contains(path) {
                continue;
            }
            let place = folder.join(path);
            write_whole(&place, text)
                .with_context(|| format!("{} cannot be written", place.display()))?;
            self.made.push((place, None));
        }
        Ok(())
    }

    /// Takes back what was made in the folder.
    fn remove(&self) {
        for (path, folders) in self.made.iter().rev() {
            match folders {
                Some(made) => remove_folders(path, *made),
                None => drop(fs::remove_file(path)),
            }
        }
    }

    /// The last good texts belong to a folder, by its path.
    fn say_where_they_are(&self, data: &Path) -> anyhow::Result<()> {
        let file = self.kept.place(data);
        let json = match fs::read(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            read => read.with_context(|| format!("{} cannot be read", file.display()))?,
        };
        // What the host itself cannot read it passes over, and says so.
        let Ok(mut kept) = serde_json::from_slice::<Value>(&json) else {
            return Ok(());
        };
        let place = fs::canonicalize(&self.folder)
            .with_context(|| format!("cannot inspect {}", self.folder.display()))?;
        if let (Some(folder), Some(path)) = (kept.get_mut("folder"), place.to_str()) {
            *folder = path.into();
        }
        let json = serde_json::to_vec_pretty(&kept).unwrap_or(json);
        write_whole_private(&file, &json)
            .with_context(|| format!("{} cannot be written", file.display()))
    }
}

impl Visit for Filling<'_> {
    fn member(
        &mut self,
        member: &Member,
        bytes: u64,
        content: &mut dyn Read,
    ) -> anyhow::Result<()> {
        (self.tell)(&member.to_string(), Some(bytes));
        if member.is_of_the_backup() {
            std::io::copy(content, &mut std::io::sink())?;
            return Ok(());
        }
        match member {
            Member::Route(path) => self.routes.take(path, bytes, content),
            Member::Grants(path) => self.grants.take(path, bytes, content),
            member => self.written.write(self.data, member, content),
        }
    }
}

/// # Errors
/// Where something is in the folder.
fn check_empty(data: &Path) -> anyhow::Result<()> {
    let shown = data.display();
    for entry in fs::read_dir(data).with_context(|| format!("{shown} cannot be listed"))? {
        let name = entry?.file_name();
        let is_nothing = NOTHING.iter().any(|known| name == *known);
        ensure!(
            is_nothing,
            "the data folder {shown} is not empty (it has {}), and a restore overwrites nothing: \
             choose a new folder with --data",
            name.display()
        );
    }
    Ok(())
}

/// Makes the names of so many folders durable, from `path` upwards. A folder above that cannot be
/// opened for it is its owner's to keep.
fn sync_above(path: &Path, made: usize) {
    for above in path.ancestors().skip(1).take(made) {
        let _ = sync_folder(above);
    }
}

/// Removes what a restore has made.
fn clear(data: &Path) -> anyhow::Result<()> {
    for part in PARTS {
        let path = data.join(part);
        let removed = match path.is_dir() {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        match removed {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed.with_context(|| format!("{} cannot be removed", path.display()))?,
        }
    }
    Ok(())
}

/// The manifests below `folder` by their paths: what the host passes over, such as `.git` or a
/// README of a repository, is not asked for. None where there is no folder.
fn list(folder: &Path, prefix: &str, files: &mut BTreeSet<String>) -> std::io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_bytes().starts_with(b".") {
            continue;
        }
        let path = format!("{prefix}{}", name.to_string_lossy());
        match entry.file_type()?.is_dir() {
            true => list(&entry.path(), &format!("{path}/"), files)?,
            false if is_manifest(&name) => drop(files.insert(path)),
            false => {}
        }
    }
    Ok(())
}
