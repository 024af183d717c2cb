//! What lies in the watched folder for a window that is removed. It is noted as taken, so that no
//! restart, and no later try of a deploy that failed, brings the window back: only a file that
//! changes.

use super::folder;
use super::taken::Taken;
use crate::windows::{Registry, WindowName, file};
use serde::Serialize;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// A component that is still in the watched folder although its window was removed.
#[derive(Debug, Serialize)]
pub struct LeftFile {
    /// Its name.
    pub file: String,
    /// The folder.
    pub folder: PathBuf,
    /// When it is deployed again: once it changes, or, where that could not be noted, at the next
    /// start too.
    pub deployed_again: &'static str,
}

impl Registry {
    /// Has the component of `name` in the watched folder count as taken, whatever became of it.
    /// None where there is none.
    pub(in crate::windows) async fn leave_in_folder(&self, name: &WindowName) -> Option<LeftFile> {
        let folder = self.config.watched.clone()?;
        let (dir, wanted) = (folder.clone(), name.clone());
        let find = move || {
            let is_its =
                |file: &OsStr| WindowName::from_file(Path::new(file)).as_ref() == Ok(&wanted);
            let found = folder::read(&dir, folder::MAX_FILES, &is_its).ok()?;
            found.files.into_iter().find(|(file, _)| is_its(file))
        };
        let (found, stamp) = tokio::task::spawn_blocking(find).await.ok().flatten()?;
        let noting = async {
            if (self.taken.get(name).await).is_some_and(|taken| taken.stamp == stamp) {
                return Ok(());
            }
            // What is larger is never deployed.
            let digest = match stamp.bytes <= self.config.max_upload_bytes {
                true => file::digest(&folder.join(&found)).await,
                false => Ok(String::new()),
            };
            let taken = Taken {
                digest: digest.map_err(|error| error.to_string())?,
                stamp,
                release: 0,
            };
            let noted = self.taken.put(name, &taken).await;
            noted.map_err(|error| error.to_string())
        };
        let noted = tokio::time::timeout(self.config.disk_time, noting).await;
        let noted = noted.unwrap_or_else(|_| Err("the disk does not answer".into()));
        if let Err(error) = &noted {
            tracing::warn!(window = %name, error, "it is not noted that its file in the windows folder is not to be deployed again");
        }
        Some(LeftFile {
            file: found.to_string_lossy().into_owned(),
            folder,
            deployed_again: match noted {
                Ok(()) => "when it changes",
                Err(_) => "at the next start",
            },
        })
    }
}
