//! The stream of a backup: tar, with the hashes of its files.

use anyhow::{Context, ensure};
use bytes::Bytes;
use hms_backup::source::Hashing;
use hms_backup::stream::write_note;
use hms_backup::{FileEntry, Head, MAX_MEMBERS, Manifest, Member, Missing, sum_of};
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};
use tar::{Builder, EntryType, Header};
use time::OffsetDateTime;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

/// Bytes sent at a time.
pub(super) const PIECE_BYTES: usize = 64 << 10;

/// Polling interval for a reader that lags. 5 ms: a reader as fast as the disk does not notice.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// Interval of progress notes while nothing else is sent. 2 s.
const NOTE_PAUSE: Duration = Duration::from_secs(2);

/// Pieces that a note may complete: the one that was begun before it, and its own.
const NOTE_PIECES: usize = 2;

/// Sends what is written to the reader, and waits for the reader.
pub(super) struct Sending {
    pieces: Sender<io::Result<Bytes>>,
    shutdown: CancellationToken,
    until: Instant,
    piece: Vec<u8>,
}

impl Sending {
    /// Until the host shuts down, or this moment.
    pub(super) fn new(
        pieces: Sender<io::Result<Bytes>>,
        shutdown: CancellationToken,
        until: Instant,
    ) -> Self {
        Sending {
            pieces,
            shutdown,
            until,
            piece: Vec::with_capacity(PIECE_BYTES),
        }
    }

    /// Whether there is still a reader, and time.
    fn goes_on(&self) -> io::Result<()> {
        let why = if self.pieces.is_closed() {
            "its reader has disconnected"
        } else if self.shutdown.is_cancelled() {
            "the host is shutting down"
        } else if Instant::now() >= self.until {
            "it took more than a day"
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::BrokenPipe, why))
    }

    /// Whether a note can be sent without waiting. Nobody else sends, so it stays so.
    fn has_room(&self) -> bool {
        self.pieces.capacity() >= NOTE_PIECES
    }

    fn send(&mut self) -> io::Result<()> {
        let mut piece = Ok(Bytes::from(std::mem::take(&mut self.piece)));
        loop {
            self.goes_on()?;
            match self.pieces.try_send(piece) {
                Ok(()) => return Ok(()),
                // Not by a send that blocks: the host may end meanwhile.
                Err(TrySendError::Full(back)) => piece = back,
                Err(TrySendError::Closed(_)) => return self.goes_on(),
            }
            std::thread::sleep(LOOK_PAUSE);
        }
    }
}

impl Write for Sending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE_BYTES.saturating_sub(self.piece.len());
        let part = bytes.get(..room).unwrap_or(bytes);
        self.piece.extend_from_slice(part);
        if self.piece.len() >= PIECE_BYTES {
            self.send()?;
        }
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.piece.is_empty() {
            true => self.goes_on(),
            false => self.send(),
        }
    }
}

/// The stream, and what its manifest will say.
pub(super) struct Output {
    tar: Builder<Sending>,
    head: Head,
    files: Vec<FileEntry>,
    sent: BTreeSet<Member>,
    missing: Vec<Missing>,
    removed: Vec<String>,
    noted: Instant,
}

/// What was sent.
pub(super) struct Done {
    pub files: usize,
    pub bytes: u64,
    pub missing: usize,
    /// In seconds since 1970.
    pub ended: i64,
}

impl Output {
    pub(super) fn new(sending: Sending) -> Self {
        Output {
            tar: Builder::new(sending),
            head: Head::now(),
            files: Vec::new(),
            sent: BTreeSet::new(),
            missing: Vec::new(),
            removed: Vec::new(),
            noted: Instant::now(),
        }
    }

    /// Sends the head.
    pub(super) fn begin(&mut self) -> anyhow::Result<()> {
        let json = serde_json::to_vec(&self.head)?;
        self.bytes(Member::Head, &json)?;
        // Before the first store, which may take a while.
        self.tar.get_mut().flush()?;
        Ok(())
    }

    /// Whether the backup is still wanted. Reports progress if nothing was sent for a while, so
    /// that a person sees it and no proxy takes the connection for an idle one.
    pub(super) fn goes_on(&mut self, doing: &dyn Fn() -> String) -> bool {
        if self.noted.elapsed() >= NOTE_PAUSE && self.note(&doing()).is_err() {
            return false;
        }
        self.tar.get_ref().goes_on().is_ok()
    }

    /// Sends a progress note. Never waits for the reader, because old pages and removals wait for a
    /// running copy. A reader that lags misses the note.
    ///
    /// # Errors
    /// If the backup is no longer wanted.
    pub(super) fn note(&mut self, text: &str) -> io::Result<()> {
        self.noted = Instant::now();
        if !self.tar.get_ref().has_room() {
            return self.tar.get_ref().goes_on();
        }
        let note = write_note(text);
        let mut header = Header::new_ustar();
        header.set_path("note")?;
        header.set_entry_type(EntryType::XGlobalHeader);
        header.set_size(note.len() as u64);
        header.set_mode(0o600);
        header.set_cksum();
        self.tar.append(&header, note.as_slice())?;
        self.tar.get_mut().flush()
    }

    /// Whether this member has been sent.
    pub(super) fn has(&self, member: &Member) -> bool {
        self.sent.contains(member)
    }

    /// Sends a member of `bytes`, as of the moment `taken`.
    ///
    /// # Errors
    /// If it has fewer bytes, or the reader has disconnected. The stream is then unusable.
    pub(super) fn file(
        &mut self,
        member: Member,
        bytes: u64,
        taken: OffsetDateTime,
        content: impl Read,
    ) -> anyhow::Result<()> {
        ensure!(
            self.files.len() < MAX_MEMBERS,
            "there are more than {MAX_MEMBERS} files"
        );
        let path = member.to_string();
        let mut header = Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(taken.unix_timestamp()).unwrap_or(0));
        let mut hashing = Hashing::new(content.take(bytes));
        let sent = self.tar.append_data(&mut header, &path, &mut hashing);
        sent.with_context(|| format!("cannot send {path}"))?;
        let (read, sha256) = hashing.end();
        ensure!(read == bytes, "{path} shrank while it was read");
        self.noted = Instant::now();
        if !matches!(member, Member::Manifest | Member::ManifestSum) {
            self.files.push(FileEntry {
                path,
                bytes,
                sha256,
                taken,
            });
            self.sent.insert(member);
        }
        Ok(())
    }

    /// Sends a short member.
    pub(super) fn bytes(&mut self, member: Member, content: &[u8]) -> anyhow::Result<()> {
        let now = OffsetDateTime::now_utc();
        self.file(member, content.len() as u64, now, content)
    }

    /// Records that something could not be copied.
    pub(super) fn lacks(&mut self, member: &Member, why: String) {
        self.lacks_path(member.to_string(), why);
    }

    /// The same for something that is not a member.
    pub(super) fn lacks_path(&mut self, path: String, why: String) {
        tracing::error!(file = %path.escape_debug(), "missing in a backup: {why}");
        self.missing.push(Missing { path, why });
    }

    /// Discards a member that has been sent.
    pub(super) fn withdraw(&mut self, member: &Member) {
        let path = member.to_string();
        self.files.retain(|file| file.path != path);
        self.removed.push(path);
    }

    /// Sends the manifest, and ends the stream.
    pub(super) fn end(mut self) -> anyhow::Result<Done> {
        let ended = OffsetDateTime::now_utc();
        let secrets = self.has(&Member::AdminToken) || self.has(&Member::DevSecret);
        let manifest = Manifest {
            head: self.head.clone(),
            ended,
            complete: self.missing.is_empty(),
            secrets,
            files: std::mem::take(&mut self.files),
            missing: std::mem::take(&mut self.missing),
            removed: std::mem::take(&mut self.removed),
        };
        let json = manifest.to_json();
        self.bytes(Member::Manifest, &json)?;
        self.bytes(Member::ManifestSum, sum_of(&json).as_bytes())?;
        self.tar.into_inner()?.flush()?;
        Ok(Done {
            files: manifest.files.len(),
            bytes: manifest.files.iter().map(|file| file.bytes).sum(),
            missing: manifest.missing.len(),
            ended: ended.unix_timestamp(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::QUEUE;
    use tokio::sync::mpsc;

    #[test]
    fn note_never_waits_for_a_stalled_reader() {
        let (pieces, mut reader) = mpsc::channel(QUEUE);
        let shutdown = CancellationToken::new();
        let patience = Instant::now() + Duration::from_secs(5);
        let mut output = Output::new(Sending::new(pieces, shutdown, patience));
        output.begin().unwrap();
        for number in 0..3 * QUEUE {
            output.note(&format!("note {number}")).unwrap();
        }
        // Something waits to be completed already, as after a member.
        let rest = vec![b'x'; PIECE_BYTES - 1];
        output.tar.get_mut().write_all(&rest).unwrap();
        for _ in 0..3 * QUEUE {
            output.note("note").unwrap();
            output.noted = Instant::now() - NOTE_PAUSE;
            assert!(output.goes_on(&|| "copying".into()));
            drop(reader.try_recv().unwrap().unwrap());
        }
        assert!(Instant::now() < patience, "a note waited");
        drop(reader);
        assert!(output.note("note").is_err());
        assert!(!output.goes_on(&|| "copying".into()));
    }
}
