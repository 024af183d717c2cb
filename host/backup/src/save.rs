//! A backup as a folder: the files as they come, and the manifest last, so that half of one is
//! never taken for a whole one.

use super::Member;
use super::place::{check_target, resolve};
use super::source::{Visit, Whole, copy};
use anyhow::{Context, ensure};
use hms_disk::files::{sync_folder, write_whole_private};
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A folder that a backup is written into. Until [`Save::finish`] it has no manifest, and dropping
/// this removes what was written.
pub struct Save<'a> {
    root: PathBuf,
    /// Whether the folder itself was made for this.
    made: bool,
    written: Written,
    finished: bool,
    /// Called for each file, as it begins, and for each note.
    tell: &'a mut dyn FnMut(&str, Option<u64>),
}

impl<'a> Save<'a> {
    /// Takes the folder `root`, which must be empty, and makes it (mode 0700) where there is none.
    ///
    /// # Errors
    /// Where it is not empty, cannot be made, or is inside of another backup or of a data folder.
    pub fn new(root: &Path, tell: &'a mut dyn FnMut(&str, Option<u64>)) -> anyhow::Result<Self> {
        let shown = root.display();
        check_target(&resolve(root)?, None)?;
        let made = match DirBuilder::new().mode(0o700).create(root) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error).with_context(|| format!("cannot create {shown}")),
        };
        let mut entries =
            fs::read_dir(root).with_context(|| format!("{shown} cannot be listed"))?;
        ensure!(
            entries.next().is_none(),
            "{shown} is not empty: choose a new or empty folder for each backup"
        );
        Ok(Save {
            root: root.into(),
            made,
            written: Written::default(),
            finished: false,
            tell,
        })
    }

    /// Makes it count, once it was read to its end: writes the manifest. All of it is on the disk
    /// when this returns.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn finish(mut self, whole: &Whole) -> anyhow::Result<()> {
        for path in &whole.manifest.removed {
            if let Some(member) = Member::parse(path) {
                let place = member.place(&self.root);
                fs::remove_file(&place).with_context(|| format!("{}", place.display()))?;
                // The folder of its window.
                let _ = place.parent().map(fs::remove_dir);
            }
        }
        self.written.sync()?;
        for (member, content) in [
            (Member::Manifest, &whole.json),
            (Member::ManifestSum, &whole.sum),
        ] {
            let place = member.place(&self.root);
            write_whole_private(&place, content)
                .with_context(|| format!("{} cannot be written", place.display()))?;
            self.written.files.push(place);
        }
        if let Some(parent) = self.root.parent() {
            sync_folder(parent)?;
        }
        self.finished = true;
        Ok(())
    }
}

impl Visit for Save<'_> {
    fn member(
        &mut self,
        member: &Member,
        bytes: u64,
        content: &mut dyn Read,
    ) -> anyhow::Result<()> {
        (self.tell)(&member.to_string(), Some(bytes));
        self.written.write(&self.root, member, content)
    }

    fn note(&mut self, note: &str) {
        (self.tell)(note, None);
    }
}

impl Drop for Save<'_> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        // Nothing else: another backup may have begun in the same folder.
        self.written.undo(&self.root);
        if self.made {
            let _ = fs::remove_dir(&self.root);
        }
    }
}

/// Members written as files, and the folders that have names to be made durable.
#[derive(Default)]
pub struct Written {
    files: Vec<PathBuf>,
    folders: BTreeSet<PathBuf>,
}

impl Written {
    /// Writes a new file, mode 0600, and the folders above it up to `root`, mode 0700. Its content
    /// is on the disk when this returns.
    ///
    /// # Errors
    /// When the disk does not take it, or there is a file already.
    pub fn write(
        &mut self,
        root: &Path,
        member: &Member,
        content: &mut dyn Read,
    ) -> anyhow::Result<()> {
        let place = member.place(root);
        let broken = || format!("{} cannot be written", place.display());
        let mut file = self.create(root, &place).with_context(broken)?;
        self.files.push(place.clone());
        copy(content, &mut file).with_context(broken)?;
        file.sync_all().with_context(broken)
    }

    fn create(&mut self, root: &Path, place: &Path) -> io::Result<File> {
        let above = place
            .ancestors()
            .skip(1)
            .take_while(|folder| *folder != root);
        self.folders.extend(above.map(Path::to_owned));
        self.folders.insert(root.into());
        if let Some(folder) = place.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
        }
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(place)
    }

    /// Removes the files, and the folders below `root` that are empty then.
    fn undo(&self, root: &Path) {
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
        // Those within others come after them.
        for folder in self.folders.iter().rev().filter(|folder| *folder != root) {
            let _ = fs::remove_dir(folder);
        }
    }

    /// Makes all names durable.
    ///
    /// # Errors
    /// When the disk does not take them.
    pub fn sync(&self) -> anyhow::Result<()> {
        for folder in self.folders.iter().filter(|folder| folder.exists()) {
            sync_folder(folder).with_context(|| format!("{}", folder.display()))?;
        }
        Ok(())
    }
}
