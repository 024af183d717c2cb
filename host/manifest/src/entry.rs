//! One file: what it asks for, and what of it serves.

use super::{Fault, Manifest};
use hms_api::FileState;
use hms_disk::stamp::FileStamp;
use std::sync::Arc;
use time::OffsetDateTime;

/// One file and what became of it.
#[derive(Debug)]
pub struct FileStatus<M> {
    /// The file name in the folder.
    pub file: String,
    /// What is wrong with the file as it is now; empty where its present text serves.
    pub faults: Vec<Fault>,
    /// What serves, be it the file's present text or its last good one. None where there is none.
    pub live: Option<Arc<M>>,
    /// Since when `faults` and `live` are as they are.
    pub since: OffsetDateTime,
}

impl<M> Clone for FileStatus<M> {
    fn clone(&self) -> Self {
        FileStatus {
            file: self.file.clone(),
            faults: self.faults.clone(),
            live: self.live.clone(),
            since: self.since,
        }
    }
}

/// What a text asks for, or what is wrong with it.
pub(super) type Wanted<M> = Result<Arc<M>, Vec<Fault>>;

/// One file.
pub(super) struct Entry<M> {
    pub stamp: Option<FileStamp>,
    /// It has no place among the files that are followed.
    pub beyond: bool,
    /// None where the file could not be read.
    pub text: Option<Arc<str>>,
    /// What the file's present text asks for.
    pub wanted: Wanted<M>,
    /// The same where its text is good and the check refuses it, which may change.
    pub unplaced: Option<Arc<M>>,
    /// What serves.
    pub live: Option<Arc<M>>,
    /// What was said last about the file.
    pub faults: Vec<Fault>,
    since: OffsetDateTime,
}

/// A file that was removed: what was known of it then.
pub(super) struct Withdrawn {
    pub why: String,
    pub stamp: Option<FileStamp>,
    pub text: Option<Arc<str>>,
}

impl Withdrawn {
    /// Whether the file that is there now is not the one that was to go, so that it stays. One that
    /// cannot be looked at may be the one.
    pub(super) fn is_another(
        &self,
        text: &Option<Arc<str>>,
        stamp: &Option<FileStamp>,
        is_new: bool,
    ) -> bool {
        let same_write = |stamp: &FileStamp| self.stamp.is_some_and(|old| old.same_write(stamp));
        let is_other_file = stamp.is_some_and(|stamp| !same_write(&stamp));
        match text {
            Some(_) if self.text != *text => true,
            // One of the last run has no stamp.
            Some(_) => is_new && self.stamp.is_some() && is_other_file,
            None => is_other_file,
        }
    }
}

impl<M> FileStatus<M> {
    /// Whether the file's present text is in force.
    pub fn state(&self) -> FileState {
        match self.faults.is_empty() {
            true => FileState::Live,
            false => FileState::Refused,
        }
    }
}

impl<M: Manifest> Entry<M> {
    pub(super) fn new(text: Option<Arc<str>>, wanted: Wanted<M>, live: Option<Arc<M>>) -> Entry<M> {
        Entry {
            stamp: None,
            beyond: false,
            text,
            wanted,
            unplaced: None,
            live,
            faults: Vec::new(),
            since: OffsetDateTime::now_utc(),
        }
    }

    pub(super) fn become_(&mut self, file: &str, live: Option<Arc<M>>, faults: Vec<Fault>) {
        if self.live == live && self.faults == faults {
            return;
        }
        let one = M::WORDS.one;
        for fault in &faults {
            let last_good = if live.is_some() {
                "serves on"
            } else {
                "there is none"
            };
            let (line, reason) = (fault.line, &fault.reason);
            tracing::warn!(
                file,
                line,
                reason,
                last_good,
                "{one} refused: {file}:{line}: {reason}"
            );
        }
        if let (true, Some(manifest)) = (faults.is_empty(), &live) {
            manifest.log_live(file);
        }
        self.live = live;
        self.faults = faults;
        self.since = OffsetDateTime::now_utc();
    }

    /// What is wrong with it, as a sentence.
    pub(super) fn said(&self) -> String {
        let faults: Vec<&str> = self.faults.iter().map(|f| f.reason.as_str()).collect();
        faults.join("; ")
    }

    pub(super) fn status(&self, file: &str) -> FileStatus<M> {
        FileStatus {
            file: file.to_string(),
            faults: self.faults.clone(),
            live: self.live.clone(),
            since: self.since,
        }
    }
}
