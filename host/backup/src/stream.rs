//! A backup as one tar stream: nothing but the members by their names, the head first, and notes.

use super::Member;
use super::source::{Seen, Visit, Whole, short};
use anyhow::{anyhow, bail, ensure};
use std::io::{self, ErrorKind, Read};
use tar::EntryType;

/// Bytes of a longer name in a tar, and of a note.
const MAX_NAME_BYTES: u64 = 4096;

/// Bytes by which [`PACKED`] is told from a tar.
const FIRST_BYTES: u64 = 20;

/// How a tar may have been packed: its first bytes, what that is, and how it is undone.
const PACKED: [(&[u8], &str, &str); 9] = [
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "zstd -dc"),
    (b"\x1f\x8b", "compressed with gzip", "gzip -dc"),
    (b"\xfd7zXZ\0", "compressed with xz", "xz -dc"),
    (b"BZh", "compressed with bzip2", "bzip2 -dc"),
    (b"\x04\x22\x4d\x18", "compressed with lz4", "lz4 -dc"),
    (b"LZIP", "compressed with lzip", "lzip -dc"),
    (b"\x1f\x9d", "compressed with compress", "gzip -dc"),
    (b"age-encryption.org/", "encrypted with age", "age -d"),
    (b"-----BEGIN AGE ", "encrypted with age", "age -d"),
];

/// What a stream is instead of a tar.
#[derive(Debug, thiserror::Error)]
#[error(
    "it is {what}, and hms reads plain tar only: use `{undo} FILE | hms backup --verify -`, and \
     `hms restore -` likewise"
)]
pub struct Packed {
    what: &'static str,
    undo: &'static str,
}

/// Reads the tar stream that a host writes.
///
/// # Errors
/// Why it cannot be read on, [`Packed`], what is wrong with it, or what `visit` says.
pub fn read_stream(stream: impl Read, visit: &mut dyn Visit) -> anyhow::Result<Whole> {
    let mut from = Watched {
        inner: stream,
        bytes: 0,
        failed: None,
    };
    let read = look(&mut from).and_then(|first| read_tar(first.chain(&mut from), visit));
    let Watched { bytes, failed, .. } = from;
    match (read, failed) {
        (Ok(whole), _) => Ok(whole),
        // Whatever came of that, the backup itself may be a good one.
        (Err(_), Some(failed)) => {
            Err(anyhow::Error::new(failed).context(format!("it broke off after {bytes} bytes")))
        }
        (Err(error), None) => match error.is::<Malformed>() {
            true => Err(error.context(format!("after {bytes} bytes"))),
            false => Err(error),
        },
    }
}

/// A stream, and why no more of it can be read.
struct Watched<R> {
    inner: R,
    bytes: u64,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out);
        match read {
            Ok(read) => self.bytes += read as u64,
            Err(ref error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(error);
                return Err(kind.into());
            }
        }
        read
    }
}

/// Its first bytes, where these may be of a tar.
fn look(from: &mut dyn Read) -> anyhow::Result<io::Cursor<Vec<u8>>> {
    let mut first = Vec::new();
    from.take(FIRST_BYTES).read_to_end(&mut first)?;
    match PACKED.iter().find(|(magic, ..)| first.starts_with(magic)) {
        Some((_, what, undo)) => bail!(Packed { what, undo }),
        None => Ok(io::Cursor::new(first)),
    }
}

/// No words of the library of tars, which quote what they cannot read.
#[derive(Debug, thiserror::Error)]
enum Malformed {
    #[error("this is not a tar stream, and not a backup of hms")]
    NoTar,
    #[error("the tar stream is damaged or cut short")]
    Damaged,
}

fn read_tar(stream: impl Read, visit: &mut dyn Visit) -> anyhow::Result<Whole> {
    let mut archive = tar::Archive::new(stream);
    let mut seen = Seen::default();
    let mut long_name = None;
    for entry in archive.entries().map_err(|_| Malformed::Damaged)?.raw(true) {
        let malformed = |_| match seen.has_head() {
            true => Malformed::Damaged,
            false => Malformed::NoTar,
        };
        let mut entry = entry.map_err(malformed)?;
        let bytes = entry.header().entry_size().map_err(malformed)?;
        match entry.header().entry_type() {
            EntryType::Regular => {}
            EntryType::GNULongName => {
                let name = short(&mut entry, bytes, MAX_NAME_BYTES)?;
                long_name = Some(name.into_iter().take_while(|byte| *byte != 0).collect());
                continue;
            }
            EntryType::XGlobalHeader => {
                let note = short(&mut entry, bytes, MAX_NAME_BYTES)?;
                if let Some(note) = read_note(&note) {
                    visit.note(note);
                }
                continue;
            }
            _ => {
                let name = entry.path_bytes().into_owned();
                bail!(
                    "'{}' is not a regular file: this is not a backup of hms",
                    name.escape_ascii()
                );
            }
        }
        let name: Vec<u8> = match long_name.take() {
            Some(name) => name,
            None => entry.path_bytes().into_owned(),
        };
        let member = std::str::from_utf8(&name).ok().and_then(Member::parse);
        let Some(member) = member else {
            bail!(
                "'{}' is not a file of a backup: this is not a backup of hms",
                name.escape_ascii()
            );
        };
        ensure!(
            seen.has_head() || member == Member::Head,
            "this is not a backup of hms: its first file is not {}",
            Member::Head
        );
        seen.take(member, bytes, &mut entry, visit)
            .map_err(|error| match error.downcast_ref::<io::Error>() {
                Some(io) if io.kind() == ErrorKind::UnexpectedEof => anyhow!(Malformed::Damaged),
                _ => error,
            })?;
    }
    seen.finish()
}

/// A note in the form of a global header of pax (POSIX.1-2001), which other readers pass over:
/// `LENGTH comment=TEXT\n`.
pub fn write_note(text: &str) -> Vec<u8> {
    let rest = format!(" comment={text}\n");
    let mut length = rest.len();
    // The length counts its own digits.
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}").into_bytes()
}

fn read_note(bytes: &[u8]) -> Option<&str> {
    let (_, text) = std::str::from_utf8(bytes).ok()?.split_once(" comment=")?;
    text.strip_suffix('\n')
}
