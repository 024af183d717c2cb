//! Reads the values of secrets, and files of certificates.

use crate::{Secret, SecretSource, Secrets};
use hms_core::printable::printable;
use hms_disk::files::folder_of;
use hms_manifest::Fault;
use parking_lot::Mutex;
use rustix::fs::OFlags;
use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak, mpsc};
use std::thread;
use std::time::Duration;

/// How long an edit of a file waits for the disk of what it names. 2 s: then it is in force without
/// what was not read, and the next look brings that.
pub(crate) const READ_TIME: Duration = Duration::from_secs(2);

/// Bytes of one secret: a private key with its chain fits.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// Bytes of a file of certificates: some thousand of them.
const MAX_CERTIFICATES_BYTES: u64 = 4 << 20;

/// Where systemd puts the credentials of a service (systemd.exec(5)).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The files that grants name: where they are, and where none may be. Clones are cheap enough for
/// one per client.
#[derive(Debug, Clone, Default)]
pub struct NamedFiles {
    folder: PathBuf,
    /// Which folder the data folder is, by whatever path it is reached. None where it is not known.
    data: Option<(PathBuf, FolderId)>,
    /// A check that was too late, for as long as its disk does not answer.
    late: Arc<Mutex<Weak<()>>>,
}

/// Device and inode.
type FolderId = (u64, u64);

/// A file as a grants file names it, and where it does so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// As written.
    pub path: PathBuf,
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
}

impl NamedFiles {
    /// Those of the grants in `folder`, wherever they are.
    pub fn of(folder: impl Into<PathBuf>) -> Self {
        NamedFiles {
            folder: folder.into(),
            data: None,
            late: Arc::default(),
        }
    }

    /// The same outside of the host's data folder: its files, such as the admin token, are no
    /// window's to know. One that is not there keeps nothing out. Blocks.
    pub fn outside_of(self, data: &Path) -> Self {
        let data = fs::metadata(data).map(|found| (data.to_owned(), id(&found)));
        NamedFiles {
            data: data.ok(),
            ..self
        }
    }

    /// Those of the grants file `name`, to whose folder what it names is relative. A file that is
    /// followed beside the folder goes by its whole path.
    #[must_use]
    pub(crate) fn of_file(&self, name: &str) -> NamedFiles {
        let folder = match Path::new(name).is_absolute() {
            true => folder_of(name.as_ref()).to_owned(),
            false => self.folder.clone(),
        };
        NamedFiles {
            folder,
            data: self.data.clone(),
            late: self.late.clone(),
        }
    }

    /// The folder of the grants.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the value of `source` is.
    ///
    /// # Errors
    /// Where there is no folder of credentials.
    pub(crate) fn path(&self, source: &SecretSource) -> Result<PathBuf, String> {
        match source {
            SecretSource::File(path) => Ok(self.folder.join(path)),
            SecretSource::Credential(name) => match env::var_os(CREDENTIALS) {
                Some(credentials) => Ok(Path::new(&credentials).join(name)),
                None => Err(format!(
                    "${CREDENTIALS} is not set: start the host by systemd with \
                     LoadCredential={name}:PATH"
                )),
            },
        }
    }

    /// The values of all `sources`, and what is wrong with the others, by name. Blocks.
    pub(crate) fn read_all(
        &self,
        sources: &BTreeMap<String, SecretSource>,
    ) -> (Secrets, BTreeMap<String, String>) {
        let (mut secrets, mut faults) = (Secrets::new(), BTreeMap::new());
        for (name, source) in sources {
            let modes = match source {
                SecretSource::File(_) => OWN_MODES,
                SecretSource::Credential(_) => CREDENTIAL_MODES,
            };
            let read = self.path(source).and_then(|path| self.value(&path, modes));
            match read {
                Ok(secret) => drop(secrets.insert(name.clone(), secret)),
                Err(reason) => drop(faults.insert(name.clone(), reason)),
            }
        }
        (secrets, faults)
    }

    /// The value in a file of at most 64 KiB that only its owner can read. One line feed at its
    /// end, which editors and `echo` leave, is not part of it. `path` is relative to the folder.
    /// Blocks.
    ///
    /// # Errors
    /// A sentence with the file at fault, and nothing of its content.
    pub fn read_secret(&self, path: &Path) -> Result<Secret, String> {
        self.value(&self.folder.join(path), OWN_MODES)
    }

    fn value(&self, path: &Path, modes: &[u32]) -> Result<Secret, String> {
        self.check(path)?;
        read_value(path, modes)
    }

    /// The content of a file of certificates, of at most 4 MiB. `path` is relative to the folder.
    /// Blocks.
    ///
    /// # Errors
    /// A sentence with the file at fault.
    pub fn read_certificates(&self, path: &Path) -> Result<Vec<u8>, String> {
        let path = self.folder.join(path);
        self.check(&path)?;
        read_certificates(&path)
    }

    /// What is wrong with the places of `named`. None where their disk does not answer in time: a
    /// file that cannot be looked at now is looked at again when it is read.
    pub(crate) fn faults(&self, named: &[NamedFile]) -> Option<Vec<Fault>> {
        if self.data.is_none() || named.is_empty() {
            return Some(Vec::new());
        }
        // Whoever reads the files holds up the folder: one disk that hangs costs one wait.
        if self.late.lock().strong_count() > 0 {
            return None;
        }
        let (files, named) = (self.clone(), named.to_vec());
        let (done, checked) = mpsc::channel();
        let fault = move |file: &NamedFile| {
            let path = files.folder.join(&file.path);
            files.check(&path).err().map(|reason| Fault {
                line: file.line,
                column: file.column,
                reason: printable(&reason).into_owned(),
            })
        };
        let waits = Arc::new(());
        let late = Arc::downgrade(&waits);
        thread::spawn(move || {
            let _waits = waits;
            // One that is too late is nobody's.
            done.send(named.iter().filter_map(fault).collect::<Vec<_>>())
        });
        let answer = checked.recv_timeout(READ_TIME).ok();
        if answer.is_none() {
            *self.late.lock() = late;
        }
        answer
    }

    /// That `path` leads out of the data folder, or was never in it, once its links are followed.
    fn check(&self, path: &Path) -> Result<(), String> {
        let Some((data, forbidden)) = &self.data else {
            return Ok(());
        };
        // Of one that is not there, the folder in which it would be.
        let real = path
            .ancestors()
            .find_map(|path| fs::canonicalize(path).ok());
        let real = real.unwrap_or_default();
        // By what they are, not by name: one folder may be mounted in two places.
        let is_data = |folder: &Path| fs::metadata(folder).is_ok_and(|it| id(&it) == *forbidden);
        match real.ancestors().any(is_data) {
            false => Ok(()),
            true => Err(format!(
                "{} is in the data folder {}, whose files are the host's alone: put what a window \
                 is granted elsewhere, such as beside the grants files",
                path.display(),
                data.display()
            )),
        }
    }
}

fn id(metadata: &Metadata) -> FolderId {
    (metadata.dev(), metadata.ino())
}

/// The modes of a file that only its owner can read.
const OWN_MODES: &[u32] = &[0o400, 0o600];

/// The same of a credential: for a service with `User=`, systemd adds an access control list, whose
/// mask is shown in place of the rights of the group (acl(5)).
const CREDENTIAL_MODES: &[u32] = &[0o400, 0o600, 0o440];

fn read_value(path: &Path, modes: &[u32]) -> Result<Secret, String> {
    let shown = path.display();
    let said = |error: io::Error| format!("{shown}: {error}");
    let (file, metadata) = open(path, MAX_SECRET_BYTES)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if !modes.contains(&mode) {
        let why = match mode & 0o077 {
            0 => "is not a file of mode 0400 or 0600",
            _ => "can be read by others",
        };
        return Err(format!(
            "{shown} {why} (mode {mode:04o}), so it is not used: chmod 600 {shown}"
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

fn read_certificates(path: &Path) -> Result<Vec<u8>, String> {
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

    fn read_secret(path: &Path) -> Result<Secret, String> {
        NamedFiles::default().read_secret(path)
    }

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
    fn secret_of_any_other_mode_is_refused_and_a_credential_may_have_systemds() {
        let folder = tempfile::tempdir().unwrap();
        for mode in [0o700, 0o500, 0o4400, 0o440] {
            let reason = read_secret(&file(folder.path(), "sk_1", mode)).unwrap_err();
            let shown = format!("(mode {mode:04o})");
            assert!(
                reason.contains(&shown) && reason.contains("chmod 600"),
                "{reason}"
            );
        }
        let path = file(folder.path(), "sk_1", 0o440);
        assert!(read_value(&path, CREDENTIAL_MODES).is_ok());
        let path = file(folder.path(), "sk_1", 0o444);
        assert!(read_value(&path, CREDENTIAL_MODES).is_err());
    }

    #[test]
    fn file_in_the_data_folder_is_refused_by_whatever_way_it_is_reached() {
        let dir = tempfile::tempdir().unwrap();
        let [grants, data] = ["windows", "data"].map(|name| dir.path().join(name));
        for folder in [&grants, &data, &data.join("sub")] {
            fs::create_dir(folder).unwrap();
        }
        file(&data, "admin", 0o600);
        file(&data.join("sub"), "admin", 0o600);
        file(&grants, "sk_1", 0o600);
        std::os::unix::fs::symlink(&data, grants.join("link")).unwrap();
        std::os::unix::fs::symlink("link/key", grants.join("other")).unwrap();
        let files = NamedFiles::of(&grants).outside_of(&data);
        let inside = data.join("sub/key");
        for path in [
            "../data/key",
            "../windows/../data/key",
            "link/key",
            "link/sub/key",
            "other",
            "link/not-there-yet",
            inside.to_str().unwrap(),
        ] {
            let path = Path::new(path);
            let reason = files.read_secret(path).unwrap_err();
            assert!(reason.contains("is in the data folder"), "{reason}");
            assert!(files.read_certificates(path).is_err(), "{path:?}");
        }
        assert!(files.read_secret(Path::new("key")).is_ok());
        let missing = files.read_secret(Path::new("none")).unwrap_err();
        assert!(missing.contains("No such file"), "{missing}");
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
        let (secrets, faults) = NamedFiles::of(folder.path()).read_all(&sources);
        assert!(secrets.contains_key("good") && secrets.len() == 1);
        assert!(faults["gone"].contains("none"), "{faults:?}");
    }
}
