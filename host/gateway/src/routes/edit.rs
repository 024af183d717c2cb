//! Changing the folder through the admin API: checked as a whole before anything is written.

use super::RouteSet;
use super::files::route_name;
use super::status::RouteStatus;
use crate::routes::manifest::{MAX_MANIFEST_BYTES, Route};
use hms_disk::files::{self, write_whole};
use hms_manifest::{Fault, line_of};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Bytes of a route's name.
const MAX_NAME: usize = 100;

/// Why an edit was not made. The folder is as it was.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    #[error(
        "'{0}' is no name for a route: letters, digits, '-', '_' and inner dots, at most {MAX_NAME}"
    )]
    Name(String),
    #[error("the manifest is refused")]
    Refused(Vec<Fault>),
    #[error("the manifest claims what another file has")]
    Claimed(Vec<Fault>),
    #[error("there is no route '{0}'")]
    Unknown(String),
    #[error(
        "the folder has as many manifests as the host follows, {0}: remove some; nothing was written"
    )]
    Full(usize),
    #[error(
        "the routes folder cannot be read ({0}): nothing was written, and the routes stay as they are"
    )]
    Unreadable(String),
    #[error(
        "the manifest is written and not live: the routes folder cannot be read since ({0}); it is taken once it can be"
    )]
    NotLive(String),
    #[error(
        "the routes folder has been read for longer than {} s: nothing was written; try again once \
         its disk answers", .0.as_secs()
    )]
    Busy(Duration),
    #[error(
        "the disk of the routes folder does not answer: the change is made once it does, or not at \
         all; GET /routes says which"
    )]
    Unanswered,
    #[error("{}: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
}

impl RouteSet {
    /// Checks `text` and makes it the manifest of the route `name`; live when this returns. Whether
    /// the file is new. Blocks on the file system.
    pub fn put(&self, name: &str, text: &str) -> Result<(RouteStatus, bool), EditError> {
        check_name(name)?;
        if text.len() as u64 > MAX_MANIFEST_BYTES {
            let reason = format!("it is larger than {MAX_MANIFEST_BYTES} bytes");
            return Err(EditError::Refused(vec![Fault::whole(reason)]));
        }
        let route = Route::parse(name, text).map_err(EditError::Refused)?;
        let mut files = self.files_in_time()?;
        // What changed on the disk meanwhile may claim the same.
        self.reload_locked(&mut files);
        if let Some(fault) = &files.folder_fault {
            return Err(EditError::Unreadable(fault.clone()));
        }
        let there = file_of(&files.status(), name);
        let file = there.clone().unwrap_or_else(|| format!("{name}.yaml"));
        if !files.has_place(&file, self.most()) {
            return Err(EditError::Full(self.most()));
        }
        if let Some((other, claim)) = files.claimed(&file, &route) {
            let reason = format!("{claim} is claimed by {other} already");
            let line = line_of(text, "uri");
            return Err(EditError::Claimed(vec![Fault {
                line,
                column: 1,
                reason,
            }]));
        }
        let path = self.dir().join(&file);
        write_whole(&path, text.as_bytes()).map_err(|error| EditError::Io { path, error })?;
        files.come_back(&file);
        self.reload_locked(&mut files);
        if let Some(fault) = &files.folder_fault {
            return Err(EditError::NotLive(fault.clone()));
        }
        let status = files
            .status()
            .into_iter()
            .find(|status| status.file == file);
        let gone = || EditError::NotLive("somebody removed the file".into());
        let status = status.ok_or_else(gone)?;
        let status = match files.upstream_state(&file) {
            Some(state) => status.with(&state),
            None => status,
        };
        Ok((status, there.is_none()))
    }

    /// Takes the route `name` out, at once, and removes its file. Gives why the disk does not let
    /// that, where it does not: then the route serves no more all the same, and the removal is
    /// tried again with each look at the folder, unless somebody changes the file. Blocks on the
    /// file system.
    pub fn remove(&self, name: &str) -> Result<Option<String>, EditError> {
        check_name(name)?;
        let mut files = self.files_in_time()?;
        let file = file_of(&files.status(), name);
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

fn file_of(files: &[RouteStatus], name: &str) -> Option<String> {
    let found = files.iter().find(|status| route_name(&status.file) == name);
    found.map(|status| status.file.clone())
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
