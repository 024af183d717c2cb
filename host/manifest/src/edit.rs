//! Changing the folder through the admin API: checked as a whole before anything is written.

use super::files::{Files, parse};
use super::folder::MAX_MANIFEST_BYTES;
use super::set::LOOK_TIME;
use super::{Fault, FileStatus, Manifest, ManifestSet, Words};
use hms_disk::files::{self, write_whole};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

/// Bytes of a manifest's name.
const MAX_NAME: usize = 100;

/// Why an edit was not made. The folder is as it was.
#[derive(Debug)]
pub enum EditError {
    /// That is no name.
    Name(String),
    /// The text has these faults.
    Refused(Vec<Fault>),
    /// It claims what another file has.
    Claimed(Vec<Fault>),
    /// There is none of that name.
    Unknown(String),
    /// The folder has as many manifests as are followed.
    Full(usize),
    /// Why the folder cannot be read.
    Unreadable(String),
    /// Written, and not live, with why.
    NotLive(String),
    /// A look at the folder was under way for so long.
    Busy(Duration),
    /// The disk does not answer: the change is made once it does, or not at all.
    Unanswered,
    /// The disk failed.
    Io {
        /// The file.
        path: PathBuf,
        /// Its fault.
        error: io::Error,
    },
}

impl EditError {
    /// What the operator is told, in the `words` of the kind of manifests.
    pub fn said(&self, words: &Words) -> String {
        let (one, many, folder) = (words.one, words.many, words.folder);
        match self {
            EditError::Name(name) => format!(
                "'{name}' is not a valid name for a {one}: use letters, digits, '-', '_' and inner \
                 dots, at most {MAX_NAME}"
            ),
            EditError::Refused(_) => "the manifest is refused".into(),
            EditError::Claimed(_) => "the manifest claims what another file has".into(),
            EditError::Unknown(name) => format!("there is no {one} '{name}'"),
            EditError::Full(most) => format!(
                "the folder already has {most} manifests, the most that the host follows: remove \
                 some; nothing was written"
            ),
            EditError::Unreadable(why) => format!(
                "the {folder} cannot be read ({why}): nothing was written, and the {many} stay as \
                 they are"
            ),
            EditError::NotLive(why) => format!(
                "the manifest is written but not live: the {folder} has become unreadable \
                 ({why}); the manifest goes live once the folder can be read"
            ),
            EditError::Busy(time) => format!(
                "reading the {folder} has taken longer than {} s: nothing was written; try again \
                 once its disk answers",
                time.as_secs()
            ),
            EditError::Unanswered => format!(
                "the disk of the {folder} does not answer: the change is made once it does, or not \
                 at all; {} says which",
                words.request
            ),
            EditError::Io { path, error } => format!("{}: {error}", path.display()),
        }
    }
}

impl<M: Manifest> ManifestSet<M> {
    /// What `text` would be as the manifest `name`. Blocks on the file system.
    ///
    /// # Errors
    /// That it is refused, and why.
    pub fn parse(&self, name: &str, text: &str) -> Result<M, EditError> {
        self.parse_as(&self.file_or_new(name), name, text)
    }

    /// The file of the manifest `name`, which may be in a folder beside, as the last look at the
    /// folder found it; else the one to make.
    fn file_or_new(&self, name: &str) -> String {
        let there = self.get(name).map(|(status, _)| status.file);
        there.unwrap_or_else(|| format!("{name}.yaml"))
    }

    fn parse_as(&self, file: &str, name: &str, text: &str) -> Result<M, EditError> {
        check_name(name)?;
        if text.len() as u64 > MAX_MANIFEST_BYTES {
            let reason = format!("it is larger than {MAX_MANIFEST_BYTES} bytes");
            return Err(EditError::Refused(vec![Fault::whole(reason)]));
        }
        parse(self.check(), file, text).map_err(EditError::Refused)
    }

    /// What a [`ManifestSet::put`] of `text` would be refused for, as far as the last look at the
    /// folder shows it. Writes nothing. Blocks on the file system.
    ///
    /// # Errors
    /// Those of the edit, except where the disk fails.
    pub fn try_put(&self, name: &str, text: &str) -> Result<(), EditError> {
        let manifest = self.parse(name, text)?;
        let files = self.files_in_time()?;
        let (file, _) = self.place(&files, name)?;
        unclaimed(&files, &file, &manifest, text)
    }

    /// The file of the manifest `name`, and whether it is there already.
    fn place(&self, files: &Files<M>, name: &str) -> Result<(String, bool), EditError> {
        if let Some(fault) = &files.folder_fault {
            return Err(EditError::Unreadable(fault.clone()));
        }
        let there = files.file_of(name);
        let is_there = there.is_some();
        let file = there.unwrap_or_else(|| format!("{name}.yaml"));
        match files.has_place(&file, self.most()) {
            true => Ok((file, is_there)),
            false => Err(EditError::Full(self.most())),
        }
    }

    /// Checks `text` and makes it the manifest `name`; live when this returns. Whether the file is
    /// new. Blocks on the file system.
    pub fn put(&self, name: &str, text: &str) -> Result<(FileStatus<M>, bool), EditError> {
        let known = self.file_or_new(name);
        let mut manifest = self.parse_as(&known, name, text)?;
        let mut files = self.files_in_time()?;
        // What changed on the disk meanwhile may claim the same.
        self.reload_locked(&mut files);
        let (file, is_there) = self.place(&files, name)?;
        // What it names is relative to the folder of its file.
        if file != known {
            manifest = self.parse_as(&file, name, text)?;
        }
        unclaimed(&files, &file, &manifest, text)?;
        let path = self.dir().join(&file);
        if M::FOLDER_IS_OPTIONAL
            && let Err(error) = fs::create_dir_all(self.dir())
        {
            return Err(EditError::Io { path, error });
        }
        write_whole(&path, text.as_bytes()).map_err(|error| EditError::Io { path, error })?;
        files.come_back(&file);
        self.reload_locked(&mut files);
        if let Some(fault) = &files.folder_fault {
            return Err(EditError::NotLive(fault.clone()));
        }
        let gone = || EditError::NotLive("somebody removed the file".into());
        let status = files.status_of(&file).ok_or_else(gone)?;
        Ok((status, !is_there))
    }

    /// Takes the manifest `name` out, at once, and removes its file. Gives why the disk does not
    /// let that, where it does not: then it serves no more all the same, and the removal is tried
    /// again with each look at the folder, unless somebody changes the file. Blocks on the file
    /// system.
    pub fn remove(&self, name: &str) -> Result<Option<String>, EditError> {
        check_name(name)?;
        let mut files = self.files_in_time()?;
        let file = files.file_of(name);
        let file = file.ok_or_else(|| EditError::Unknown(name.into()))?;
        match files::remove(&self.dir().join(&file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let why = error.to_string();
                self.withdraw(&mut files, &file, &why);
                Ok(Some(why))
            }
            _ => {
                self.reload_locked(&mut files);
                // Then the look did not see that the file is gone, if it is.
                let why = files.folder_fault.clone();
                if let Some(why) = &why {
                    self.withdraw(&mut files, &file, why);
                }
                Ok(why)
            }
        }
    }
}

/// That no other file has what `manifest` claims.
fn unclaimed<M: Manifest>(
    files: &Files<M>,
    file: &str,
    manifest: &M,
    text: &str,
) -> Result<(), EditError> {
    match files.claimed(file, manifest) {
        Some((other, claim)) => Err(EditError::Claimed(vec![Fault {
            line: M::line_of_claims(text),
            column: 1,
            reason: format!("{claim} is claimed by {other} already"),
        }])),
        None => Ok(()),
    }
}

/// Runs an `edit` of a set over the folder `dir`, for as long as its disk may take.
///
/// # Errors
/// Those of the edit, and [`EditError::Unanswered`].
pub async fn in_time<T: Send + 'static>(
    dir: &Path,
    edit: impl FnOnce() -> Result<T, EditError> + Send + 'static,
) -> Result<T, EditError> {
    let edit = tokio::task::spawn_blocking(edit);
    // It may wait for a look first.
    let Ok(edited) = tokio::time::timeout(2 * LOOK_TIME, edit).await else {
        return Err(EditError::Unanswered);
    };
    edited.unwrap_or_else(|error| {
        let error = io::Error::other(error);
        let path = dir.to_path_buf();
        Err(EditError::Io { path, error })
    })
}

/// It becomes a file name.
fn check_name(name: &str) -> Result<(), EditError> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let fits = (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with(['.', '-'])
        && !name.ends_with('.');
    fits.then_some(())
        .ok_or_else(|| EditError::Name(name.into()))
}
