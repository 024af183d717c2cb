//! The last good texts, kept in the data folder, so that a file that is bad when the host starts again still has a route.

use crate::files::write_whole;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Serialize, Deserialize, Default, PartialEq)]
struct Content {
    /// Of which folder: another one's files may have the same names.
    folder: PathBuf,
    /// Text by file.
    routes: BTreeMap<String, String>,
}

pub struct Kept {
    file: PathBuf,
    content: Content,
}

impl Kept {
    /// What is kept for `folder`; nothing where the file is not there or cannot be read, which is said in the log.
    pub fn open(file: PathBuf, folder: &Path) -> Kept {
        let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf());
        let read = fs::read(&file)
            .and_then(|json| serde_json::from_slice::<Content>(&json).map_err(io::Error::other));
        let content = match read {
            Ok(content) if content.folder == folder => content,
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let path = file.display();
                tracing::warn!(%path, %error, "the last good routes cannot be read");
                Content::default()
            }
            _ => Content::default(),
        };
        let routes = content.routes;
        Kept {
            file,
            content: Content { folder, routes },
        }
    }

    pub fn texts(&self) -> BTreeMap<String, String> {
        self.content.routes.clone()
    }

    /// Keeps these texts in place of the others. A failure is said in the log: the routes serve all the same.
    pub fn keep(&mut self, routes: BTreeMap<String, String>) {
        if routes == self.content.routes {
            return;
        }
        self.content.routes = routes;
        if let Err(error) = self.write() {
            let path = self.file.display();
            tracing::warn!(%path, %error, "the last good routes cannot be kept for the next start");
        }
    }

    /// The whole file or nothing: written beside it and moved over it.
    fn write(&self) -> io::Result<()> {
        let json = serde_json::to_vec_pretty(&self.content).map_err(io::Error::other)?;
        write_whole(&self.file, &json)
    }
}
