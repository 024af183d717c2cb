//! Reads the values of secrets, and files of certificates.

use crate::{Secret, SecretSource, Secrets};
use rustix::fs::OFlags;
use std::collections::BTreeMap;
use std::env;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Bytes of one secret: a private key with its chain fits.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// Bytes of a file of certificates: some thousand of them.
const MAX_CERTIFICATES_BYTES: u64 = 4 << 20;

/// Where systemd puts the credentials of a service (systemd.exec(5)).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Where the values of `source` are. `folder` is that of the grants.
///
/// # Errors
/// Where there is no folder of credentials.
pub(crate) fn path(source: &SecretSource, folder: &Path) -> Result<PathBuf, String> {
    match source {
        SecretSource::File(path) => Ok(folder.join(path)),
        SecretSource::Credential(name) => match env::var_os(CREDENTIALS) {
            Some(credentials) => Ok(Path::new(&credentials).join(name)),
            None => Err(format!(
                "${CREDENTIALS} is not set: start the host by systemd with LoadCredential={name}:PATH"
            )),
        },
    }
}

/// The values of all `sources`, and what is wrong with the others, by name. Blocks.
pub(crate) fn read_all(
    sources: &BTreeMap<String, SecretSource>,
    folder: &Path,
) -> (Secrets, BTreeMap<String, String>) {
    let (mut secrets, mut faults) = (Secrets::new(), BTreeMap::new());
    for (name, source) in sources {
        match path(source, folder).and_then(|path| read_secret(&path)) {
            Ok(secret) => drop(secrets.insert(name.clone(), secret)),
            Err(reason) => drop(faults.insert(name.clone(), reason)),
        }
    }
    (secrets, faults)
}

/// The value in a file of at most 64 KiB that only its owner can read. One line feed at its end,
/// which editors and `echo` leave, is not part of it. Blocks.
///
/// # Errors
/// A sentence with the file at fault, and nothing of its content.
pub fn read_secret(path: &Path) -> Result<Secret, String> {
    let shown = path.display();
    let said = |error: io::Error| format!("{shown}: {error}");
    let (file, metadata) = open(path, MAX_SECRET_BYTES)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(format!(
            "{shown} can be read by others (mode {mode:04o}), so it is not used: chmod 600 {shown}"
        ));
    }
    // At its full size at once: a buffer that grows leaves copies behind.
    let mut value = Vec::with_capacity(MAX_SECRET_BYTES as usize + 1);
    let mut file = file.take(MAX_SECRET_BYTES + 1);
    let mut piece = zeroize::Zeroizing::new([0u8; 4096]);
    loop {
        let count = file.read(&mut *piece).map_err(said)?;
        let Some(read) = piece.get(..count).filter(|read| !read.is_empty()) else {
            break;
        };
        value.extend_from_slice(read);
    }
    if value.last() == Some(&b'\n') {
        value.pop();
    }
    match value.len() as u64 {
        0 => Err(format!("{shown} is empty")),
        1..=MAX_SECRET_BYTES => Ok(Secret::new(value)),
        _ => Err(too_large(path, MAX_SECRET_BYTES)),
    }
}

/// The content of a file of certificates, of at most 4 MiB. Blocks.
///
/// # Errors
/// A sentence with the file at fault.
pub fn read_certificates(path: &Path) -> Result<Vec<u8>, String> {
    let (file, _) = open(path, MAX_CERTIFICATES_BYTES)?;
    let mut text = Vec::new();
    let read = file.take(MAX_CERTIFICATES_BYTES + 1).read_to_end(&mut text);
    match read.map_err(|error| format!("{}: {error}", path.display()))? as u64 {
        0..=MAX_CERTIFICATES_BYTES => Ok(text),
        _ => Err(too_large(path, MAX_CERTIFICATES_BYTES)),
    }
}

/// Opens a regular file of at most `most` bytes.
fn open(path: &Path, most: u64) -> Result<(File, Metadata), String> {
    let said = |error: io::Error| format!("{}: {error}", path.display());
    // Does not wait at a pipe for whoever writes into it: nothing else would be read meanwhile.
    let mut open = OpenOptions::new();
    open.read(true).custom_flags(OFlags::NONBLOCK.bits() as i32);
    let file = open.open(path).map_err(said)?;
    let metadata = file.metadata().map_err(said)?;
    if !metadata.is_file() {
        return Err(format!("{} is not a file", path.display()));
    }
    match metadata.len() > most {
        true => Err(too_large(path, most)),
        false => Ok((file, metadata)),
    }
}

fn too_large(path: &Path, most: u64) -> String {
    format!("{} is larger than {most} bytes", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn file(folder: &Path, text: &str, mode: u32) -> PathBuf {
        let path = folder.join("key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn secret_is_read_without_the_line_feed_at_its_end() {
        let folder = tempfile::tempdir().unwrap();
        for (text, value) in [("sk_1\n", "sk_1"), ("sk_1", "sk_1"), ("a\nb\n\n", "a\nb\n")] {
            let path = file(folder.path(), text, 0o600);
            assert_eq!(read_secret(&path).unwrap().expose(), value.as_bytes());
        }
    }

    #[test]
    fn secret_that_others_can_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        for mode in [0o644, 0o640, 0o604, 0o660] {
            let reason = read_secret(&file(folder.path(), "sk_1", mode)).unwrap_err();
            assert!(
                reason.contains("chmod 600") && !reason.contains("sk_1"),
                "{reason}"
            );
        }
        assert!(read_secret(&file(folder.path(), "sk_1", 0o400)).is_ok());
    }

    #[test]
    fn empty_missing_and_oversized_secrets_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read_secret(&folder.path().join("none")).is_err());
        assert!(
            read_secret(folder.path())
                .unwrap_err()
                .contains("not a file")
        );
        let pipe = folder.path().join("pipe");
        let (kind, mode) = (rustix::fs::FileType::Fifo, 0o600.into());
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).unwrap();
        assert!(read_secret(&pipe).unwrap_err().contains("not a file"));
        assert!(
            read_secret(&file(folder.path(), "\n", 0o600))
                .unwrap_err()
                .contains("empty")
        );
        let large = "x".repeat(MAX_SECRET_BYTES as usize + 1);
        assert!(
            read_secret(&file(folder.path(), &large, 0o600))
                .unwrap_err()
                .contains("larger")
        );
    }

    #[test]
    fn certificates_are_read_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            read_certificates(&file(folder.path(), "one\n", 0o644)),
            Ok(b"one\n".to_vec())
        );
        let large = "x".repeat(MAX_CERTIFICATES_BYTES as usize + 1);
        let large = read_certificates(&file(folder.path(), &large, 0o644));
        assert!(
            large
                .unwrap_err()
                .ends_with("key is larger than 4194304 bytes")
        );
        let pipe = folder.path().join("pipe");
        let (kind, mode) = (rustix::fs::FileType::Fifo, 0o600.into());
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).unwrap();
        assert!(read_certificates(&pipe).unwrap_err().contains("not a file"));
        assert!(read_certificates(folder.path()).is_err());
    }

    #[test]
    fn sources_that_cannot_be_read_are_said_by_name_and_the_others_are_there() {
        let folder = tempfile::tempdir().unwrap();
        file(folder.path(), "sk_1", 0o600);
        let sources = BTreeMap::from([
            ("good".to_owned(), SecretSource::File("key".into())),
            ("gone".to_owned(), SecretSource::File("none".into())),
        ]);
        let (secrets, faults) = read_all(&sources, folder.path());
        assert!(secrets.contains_key("good") && secrets.len() == 1);
        assert!(faults["gone"].contains("none"), "{faults:?}");
    }
}
