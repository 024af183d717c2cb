//! The last good texts, kept in the data folder, so that a file that is bad when the host starts
//! again still serves, and so that all do where the folder itself cannot be read then.

use hms_disk::files::write_whole;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Serialize, Deserialize, Default, PartialEq)]
struct Content {
    /// Of which folder, with all links resolved: another one's files may have the same names.
    folder: PathBuf,
    /// The same as it was named, absolute: what is known of a folder that cannot be reached.
    #[serde(default)]
    named: PathBuf,
    /// Under the word for several of the kind: text by file.
    #[serde(flatten)]
    texts: BTreeMap<String, BTreeMap<String, String>>,
}

pub(super) struct LastGood {
    file: PathBuf,
    dir: PathBuf,
    /// The word for several of the kind.
    many: &'static str,
    content: Content,
}

impl LastGood {
    /// What is kept for `folder`; nothing where the file is not there or cannot be read, which is
    /// said in the log.
    pub(super) fn open(file: PathBuf, folder: &Path, many: &'static str) -> LastGood {
        let read = fs::read(&file)
            .and_then(|json| serde_json::from_slice::<Content>(&json).map_err(io::Error::other));
        let content = match read {
            Ok(content) if is_of(&content, folder) => content,
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let path = file.display();
                tracing::warn!(%path, %error, "cannot read the last good {many}");
                Content::default()
            }
            _ => Content::default(),
        };
        let dir = folder.to_owned();
        LastGood {
            file,
            dir,
            many,
            content,
        }
    }

    pub(super) fn texts(&self) -> BTreeMap<String, String> {
        let texts = self.content.texts.get(self.many);
        texts.cloned().unwrap_or_default()
    }

    /// Keeps these texts in place of the others. A failure is said in the log: they serve all the
    /// same. To be called only when the folder was read.
    pub(super) fn keep(&mut self, texts: BTreeMap<String, String>) {
        let named = absolute(&self.dir);
        let content = Content {
            folder: fs::canonicalize(&self.dir).unwrap_or_else(|_| named.clone()),
            named,
            texts: BTreeMap::from([(self.many.to_owned(), texts)]),
        };
        if content == self.content {
            return;
        }
        self.content = content;
        self.write_or_say();
    }

    /// Forgets one text, whether the folder was read or not.
    pub(super) fn forget(&mut self, file: &str) {
        let texts = self.content.texts.get_mut(self.many);
        if texts.is_some_and(|texts| texts.remove(file).is_some()) {
            self.write_or_say();
        }
    }

    fn write_or_say(&self) {
        if let Err(error) = self.write() {
            let path = self.file.display();
            let many = self.many;
            tracing::warn!(%path, %error, "cannot save the last good {many} for the next start");
        }
    }

    /// The whole file or nothing: written beside it and moved over it.
    fn write(&self) -> io::Result<()> {
        let json = serde_json::to_vec_pretty(&self.content).map_err(io::Error::other)?;
        write_whole(&self.file, &json)
    }
}

fn is_of(content: &Content, folder: &Path) -> bool {
    match fs::canonicalize(folder) {
        Ok(folder) => content.folder == folder,
        Err(_) => content.named == absolute(folder),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
